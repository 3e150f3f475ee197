"""A hash multimap in eight bytes an entry: which rows may be meant by a key. What it proposes must be verified.

Entries are sorted 64-bit numbers in 65,536 small arrays, so nothing ever has to be rehashed. An array is never changed but
replaced by another: a reader in another thread sees it before or after, never in between.
"""

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

_BUCKETS = 1 << 16
_LAST = _BUCKETS - 1
_HIGH = 0xFFFFFFFF << 32
_LOW = 0xFFFFFFFF
_EMPTY = array("Q")
K = TypeVar("K", bound=Hashable)


class Index:
    """Keys to ordinals of rows, by 48 bits of Python's hash, which is keyed per process: nobody can aim collisions."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [_EMPTY] * _BUCKETS

    def first(self, key: Hashable) -> int:
        """Return the row that is meant, most often; -1: none is."""
        number = hash(key)
        bucket = self._buckets[number & _LAST]
        wanted = (number << 16) & _HIGH
        at = bisect_left(bucket, wanted)
        if at == len(bucket):
            return -1
        found = bucket[at] - wanted
        return found if found <= _LOW else -1

    def candidates(self, key: Hashable) -> list[int]:
        """List all rows that may be meant; most often none or one."""
        number = hash(key)
        bucket = self._buckets[number & _LAST]
        wanted = (number << 16) & _HIGH
        behind = bisect_left(bucket, wanted + _LOW + 1)
        return [entry & _LOW for entry in bucket[bisect_left(bucket, wanted) : behind]]

    def add_all(self, keys: Iterable[K], ordinal: int) -> Sequence[K]:
        """Add an entry for each key that no other row may be meant by, and return the other keys."""
        buckets = self._buckets
        left: list[K] = []
        for key in keys:
            number = hash(key)
            bucket = buckets[number & _LAST]
            wanted = (number << 16) & _HIGH
            at = bisect_left(bucket, wanted)
            if at < len(bucket) and bucket[at] - wanted <= _LOW:
                left.append(key)
                continue
            changed = bucket[:]
            changed.insert(at, wanted | ordinal)
            buckets[number & _LAST] = changed
        return left

    def add(self, key: Hashable, ordinal: int) -> None:
        """Add an entry beside those there are."""
        number = hash(key)
        bucket = self._buckets[number & _LAST]
        wanted = (number << 16) & _HIGH
        changed = bucket[:]
        changed.insert(bisect_left(bucket, wanted | ordinal), wanted | ordinal)
        self._buckets[number & _LAST] = changed

    def remove(self, key: Hashable, ordinal: int) -> None:
        """Remove one such entry. Raises ValueError when there is none."""
        number = hash(key)
        changed = self._buckets[number & _LAST][:]
        changed.remove((number << 16) & _HIGH | ordinal)
        self._buckets[number & _LAST] = changed or _EMPTY

    def replace(self, key: Hashable, ordinal: int, by: int) -> None:
        """Let a key mean another row, in one step. Raises ValueError when there is no such entry."""
        number = hash(key)
        high = (number << 16) & _HIGH
        changed = self._buckets[number & _LAST][:]
        changed.remove(high | ordinal)
        changed.insert(bisect_left(changed, high | by), high | by)
        self._buckets[number & _LAST] = changed

    def __len__(self) -> int:
        return sum(map(len, self._buckets))


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
