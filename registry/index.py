"""A hash multimap of eight bytes a slot: which rows may be meant by a key. What it proposes must be verified.

Open addressing with linear probing, in 1024 tables so that growing one is a pause of milliseconds. An entry
comes and goes in one step and a grown table takes the former's place in one step: readers in other threads need no lock.
"""

import heapq
from array import array
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)

_SHARD_BITS = 10
_SHARDS = 1 << _SHARD_BITS
_SHARD = _SHARDS - 1
_LOW = 0xFFFFFFFF
_SMALLEST = 8
_NOTHING = array("Q", [0])
_GONE = 1 << 32
"""Stands where an entry was, so that what was put behind it is still found."""


class Index:
    """Keys to numbers from 1 to 2^32-1, by 42 bits of Python's hash, which is keyed per process: nobody can aim collisions.

    A slot holds 32 of these bits and the number; 0 is free. At most two of three slots are taken.
    """

    __slots__ = ("_live", "_tables", "_used")

    def __init__(self) -> None:
        self._tables = [_NOTHING] * _SHARDS
        self._used = [0] * _SHARDS
        """Slots that are not free."""
        self._live = [0] * _SHARDS

    def __len__(self) -> int:
        return sum(self._live)

    def first(self, key: Hashable) -> int:
        """Return the number that is meant, most often; 0: there is none."""
        hashed = hash(key)
        table = self._tables[hashed & _SHARD]
        tag = hashed >> _SHARD_BITS & _LOW
        last = len(table) - 1
        slot = tag & last
        while True:
            entry = table[slot]
            if entry >> 32 == tag and entry & _LOW:
                return entry & _LOW
            if not entry:
                return 0
            slot = slot + 1 & last

    def candidates(self, key: Hashable) -> list[int]:
        """List all numbers that may be meant; most often none or one."""
        hashed = hash(key)
        table = self._tables[hashed & _SHARD]
        tag = hashed >> _SHARD_BITS & _LOW
        last = len(table) - 1
        slot = tag & last
        found: list[int] = []
        while entry := table[slot]:
            if entry >> 32 == tag and entry & _LOW:
                found.append(entry & _LOW)
            slot = slot + 1 & last
        return found

    def add_all(self, keys: Iterable[K], number: int) -> Sequence[K]:
        """Add an entry for each key that nothing else may be meant by, and return the other keys."""
        tables, used = self._tables, self._used
        left: list[K] = []
        for key in keys:
            hashed = hash(key)
            shard = hashed & _SHARD
            table = tables[shard]
            if (used[shard] + 1) * 3 > len(table) * 2:
                table = self._grow(shard)
            tag = hashed >> _SHARD_BITS & _LOW
            last = len(table) - 1
            slot = tag & last
            while entry := table[slot]:
                if entry >> 32 == tag and entry & _LOW:
                    left.append(key)
                    break
                slot = slot + 1 & last
            else:
                table[slot] = tag << 32 | number
                used[shard] += 1
                self._live[shard] += 1
        return left

    def add(self, key: Hashable, number: int) -> None:
        """Add an entry beside those there are."""
        hashed = hash(key)
        shard = hashed & _SHARD
        table = self._tables[shard]
        if (self._used[shard] + 1) * 3 > len(table) * 2:
            table = self._grow(shard)
        tag = hashed >> _SHARD_BITS & _LOW
        _put(table, tag << 32 | number)
        self._used[shard] += 1
        self._live[shard] += 1

    def remove(self, key: Hashable, number: int) -> None:
        """Remove one such entry. Raises KeyError when there is none."""
        shard = hash(key) & _SHARD
        self._tables[shard][self._slot(key, number)] = _GONE
        self._live[shard] -= 1
        if not self._live[shard]:
            self._tables[shard] = _NOTHING
            self._used[shard] = 0

    def replace(self, key: Hashable, number: int, by: int) -> None:
        """Let a key mean another number, in one step. Raises KeyError when there is no such entry."""
        table = self._tables[hash(key) & _SHARD]
        slot = self._slot(key, number)
        table[slot] = table[slot] & ~_LOW | by

    def _slot(self, key: Hashable, number: int) -> int:
        hashed = hash(key)
        table = self._tables[hashed & _SHARD]
        tag = hashed >> _SHARD_BITS & _LOW
        wanted = tag << 32 | number
        last = len(table) - 1
        slot = tag & last
        while entry := table[slot]:
            if entry == wanted:
                return slot
            slot = slot + 1 & last
        raise KeyError(key)

    def _grow(self, shard: int) -> "array[int]":
        """Make room for one more by another table: of twice the size, unless what fills this one are entries gone."""
        size = _SMALLEST
        while self._live[shard] * 2 >= size:
            size *= 2
        table = array("Q", bytes(8 * size))
        last = size - 1
        for entry in filter(None, self._tables[shard]):
            if entry & _LOW:
                slot = entry >> 32 & last
                while table[slot]:
                    slot = slot + 1 & last
                table[slot] = entry
        self._tables[shard] = table
        self._used[shard] = self._live[shard]
        return table


def _put(table: "array[int]", entry: int) -> None:
    last = len(table) - 1
    slot = entry >> 32 & last
    while table[slot]:
        slot = slot + 1 & last
    table[slot] = entry


class Claimants:
    """The ids of all who claim one value: the first one is known at once, however many there are."""

    __slots__ = ("_heap", "_present")

    def __init__(self, *claimants: str) -> None:
        self._present = set(claimants)
        self._heap = sorted(claimants)

    def __len__(self) -> int:
        return len(self._present)

    def add(self, claimant: str) -> None:
        """Add a claimant."""
        if claimant not in self._present:
            self._present.add(claimant)
            heapq.heappush(self._heap, claimant)
            if len(self._heap) > 2 * len(self._present) + 8:  # those who left and came back stand in it twice
                self._heap = sorted(self._present)

    def discard(self, claimant: str) -> None:
        """Remove a claimant."""
        self._present.discard(claimant)

    def first(self) -> str:
        """Return the first by id. For the writing thread only."""
        while self._heap[0] not in self._present:
            heapq.heappop(self._heap)
        return self._heap[0]

    def all(self) -> tuple[str, ...]:
        """List all, by id."""
        return tuple(sorted(self._present))
