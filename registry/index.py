"""A hash multimap in eight bytes an entry: which rows may be meant by a key. What it proposes must be verified.

Entries are sorted 64-bit numbers in 65,536 small arrays, so nothing ever has to be rehashed. An array is never changed but
replaced by another: a reader in another thread sees it before or after, never in between.
"""

import heapq
from array import array
from bisect import bisect_left
from collections.abc import Hashable

_BUCKETS = 1 << 16
_LAST = _BUCKETS - 1
_HIGH = 0xFFFFFFFF << 32
_LOW = 0xFFFFFFFF
_EMPTY = array("Q")


class Index:
    """Keys to ordinals of rows, by 48 bits of Python's hash, which is keyed per process: nobody can aim collisions."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets = [_EMPTY] * _BUCKETS

    def candidates(self, key: Hashable) -> tuple[int, ...]:
        """List the rows that may be meant; most often none or one."""
        number = hash(key)
        bucket = self._buckets[number & _LAST]
        wanted = (number << 16) & _HIGH
        at = bisect_left(bucket, wanted)
        try:
            first = bucket[at]
        except IndexError:
            return ()
        if first & _HIGH != wanted:
            return ()
        found = [first & _LOW]
        for entry in bucket[at + 1 :]:
            if entry & _HIGH != wanted:
                break
            found.append(entry & _LOW)
        return tuple(found)

    def add(self, key: Hashable, ordinal: int) -> None:
        """Add an entry, even if there is one like it."""
        number = hash(key)
        bucket = self._buckets[number & _LAST]
        wanted = (number << 16) & _HIGH
        changed = bucket[:]
        changed.insert(bisect_left(bucket, wanted), wanted | ordinal)
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
        changed[changed.index(high | ordinal)] = high | by
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
