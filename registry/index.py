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
_FREE = (0,)
_NOTHING = array("Q", _FREE)
_GONE = 1 << 32
"""Stands where an entry was, so that what was put behind it is still found."""


class Index:
    """Keys to numbers from 1 to 2^32-1, by 42 bits of Python's hash, which is keyed per process: nobody can aim collisions.

    A slot holds 32 of these bits and the number; 0 is free. At most two of three slots are taken, so a search in vain ends soon.
    """

    __slots__ = ("_gone", "_room", "_tables")

    def __init__(self) -> None:
        self._tables = [_NOTHING] * _SHARDS
        self._room = [0] * _SHARDS
        """How many free slots may still be taken."""
        self._gone = [0] * _SHARDS
        """How many slots hold nothing but the place of an entry that is gone."""

    def __len__(self) -> int:
        return sum(map(self._live, range(_SHARDS)))

    def _live(self, shard: int) -> int:
        return len(self._tables[shard]) * 2 // 3 - self._room[shard] - self._gone[shard]

    def first(self, key: Hashable) -> int:
        """Return the number that is meant, most often; 0: there is none."""
        hashed = hash(key)
        table = self._tables[hashed & _SHARD]
        tag = hashed >> _SHARD_BITS & _LOW
        slot = tag & len(table) - 1
        entry = table[slot]
        while entry:
            if entry >> 32 == tag and entry & _LOW:
                return entry & _LOW
            slot = slot + 1 & len(table) - 1
            entry = table[slot]
        return 0

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
        tables, room = self._tables, self._room
        left: list[K] = []
        for key in keys:
            hashed = hash(key)
            shard = hashed & _SHARD
            table = tables[shard] if room[shard] else self._grow(shard)
            tag = hashed >> _SHARD_BITS & _LOW
            slot = tag & len(table) - 1
            if table[slot]:
                slot = _free(table, tag, slot)
                if slot < 0:
                    left.append(key)
                    continue
            table[slot] = tag << 32 | number
            room[shard] -= 1
        return left

    def add(self, key: Hashable, number: int) -> None:
        """Add an entry beside those there are."""
        hashed = hash(key)
        shard = hashed & _SHARD
        table = self._tables[shard] if self._room[shard] else self._grow(shard)
        tag = hashed >> _SHARD_BITS & _LOW
        last = len(table) - 1
        slot = tag & last
        while table[slot]:
            slot = slot + 1 & last
        table[slot] = tag << 32 | number
        self._room[shard] -= 1

    def remove(self, key: Hashable, number: int) -> None:
        """Remove one such entry. Raises KeyError when there is none."""
        shard = hash(key) & _SHARD
        self._tables[shard][self._slot(key, number)] = _GONE
        self._gone[shard] += 1
        if not self._live(shard):
            self._tables[shard] = _NOTHING
            self._room[shard] = self._gone[shard] = 0

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
        """Make room by another table: of twice the size, unless it is entries gone that fill this one."""
        live = self._live(shard)
        size = _SMALLEST
        while live * 2 >= size:
            size *= 2
        table = array("Q", _FREE) * size
        last = size - 1
        for entry in filter(None, self._tables[shard]):
            if entry != _GONE:
                slot = entry >> 32 & last
                while table[slot]:
                    slot = slot + 1 & last
                table[slot] = entry
        self._tables[shard] = table
        self._room[shard] = size * 2 // 3 - live
        self._gone[shard] = 0
        return table


def _free(table: "array[int]", tag: int, slot: int) -> int:
    """Return the next free slot; -1: an entry with the same tag stands before it."""
    last = len(table) - 1
    while entry := table[slot]:
        if entry >> 32 == tag and entry != _GONE:
            return -1
        slot = slot + 1 & last
    return slot


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
