"""Ids in order, for listing page by page: changed in place at the cost of a short list, however many there are."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

_SHORT = 1000


class SortedIds:
    """A set of texts in order. Not safe for several threads."""

    __slots__ = ("_firsts", "_parts")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        ordered = sorted(ids)
        self._parts = [ordered[at : at + _SHORT] for at in range(0, len(ordered), _SHORT)]
        self._firsts = [part[0] for part in self._parts]

    def add(self, id: str) -> None:  # noqa: A002
        """Add an id that is not there."""
        if not self._parts:
            self._parts, self._firsts = [[id]], [id]
            return
        at = max(bisect_right(self._firsts, id) - 1, 0)
        part = self._parts[at]
        insort(part, id)
        if len(part) > 2 * _SHORT:
            self._parts[at : at + 1] = [part[:_SHORT], part[_SHORT:]]
            self._firsts.insert(at + 1, part[_SHORT])
        self._firsts[at] = self._parts[at][0]

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove an id. Raises KeyError when it is not there."""
        at = bisect_right(self._firsts, id) - 1
        if at < 0:
            raise KeyError(id)
        part = self._parts[at]
        place = bisect_left(part, id)
        if place == len(part) or part[place] != id:
            raise KeyError(id)
        del part[place]
        if part:
            self._firsts[at] = part[0]
        else:
            del self._parts[at], self._firsts[at]

    def after(self, id: str, limit: int) -> list[str]:  # noqa: A002
        """List the first `limit` ids behind `id`; all of them begin behind the empty one."""
        found: list[str] = []
        for at in range(max(bisect_right(self._firsts, id) - 1, 0), len(self._parts)):
            part = self._parts[at]
            begin = 0 if found else bisect_right(part, id)
            found += part[begin : begin + limit - len(found)]
            if len(found) >= limit:
                break
        return found

    def all(self) -> list[str]:
        """List all."""
        return [id for part in self._parts for id in part]  # noqa: A001

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __bool__(self) -> bool:
        return bool(self._parts)
