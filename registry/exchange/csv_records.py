"""CSV records out of lines: quotes may go over several lines, and one that is never closed takes nothing else with it."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec

from registry.exchange.lines import Line
from registry.exchange.reading import Unreadable

MOST_LINES = 50
"""Of one record. Beyond it, a quote counts as never closed."""
_OPEN_QUOTE = "a quote is opened and not closed as it should be; within quotes, a quote is written twice"


class Record(msgspec.Struct, frozen=True):
    """The cells of one record. `again`: it begins where another record's open quote was; it may be the inside of a cell."""

    line: int
    size: int
    cells: list[str]
    is_text: bool
    again: bool


class TooLong(Exception):
    """The record goes on for longer than one may."""


class Feed:
    """Lines for the csv module, which asks for one more as long as a quote is open. They can be put back."""

    def __init__(self, lines: Iterator[Line], longest: int) -> None:
        self._lines = lines
        self.longest = longest
        self._back: deque[Line] = deque()
        self._again = 0
        self.taken: list[Line] = []
        self.size = 0
        self.is_text = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= MOST_LINES:
            raise TooLong
        line = self._back.popleft() if self._back else next(self._lines)
        self.taken.append(line)
        text = line[1]
        self.size += self.longest if text is None else len(text)
        if text is None or self.size > self.longest:
            raise TooLong
        try:
            return text.decode() + "\n"
        except UnicodeDecodeError:
            self.is_text = False
            return text.decode(errors="surrogateescape") + "\n"

    def begin(self) -> None:
        """Start a record."""
        self.taken, self.size, self.is_text = [], 0, True

    def put_back(self, lines: Sequence[Line]) -> None:
        """Give lines out again, next."""
        self._back.extendleft(reversed(lines))

    def doubt(self, lines: Sequence[Line]) -> None:
        """Give lines out again that were within an open quote."""
        self.put_back(lines)
        self._again = max([self._again, *(number for number, _ in lines)])

    @property
    def is_again(self) -> bool:
        """Tell whether this record begins in a line that was within another's open quote."""
        return self.taken[0][0] <= self._again


class Records:
    """The records of a feed. Iterating never raises for what they hold."""

    def __init__(self, feed: Feed, separator: str) -> None:
        self._feed = feed
        self._reader = csv.reader(feed, delimiter=separator, strict=True)

    def __iter__(self) -> Iterator[Record | Unreadable]:
        return self

    def __next__(self) -> Record | Unreadable:
        feed = self._feed
        feed.begin()
        try:
            cells = next(self._reader)
        except TooLong:
            return self._given_up(f"the row is longer than {feed.longest} bytes")
        except csv.Error as error:
            return self._given_up(_OPEN_QUOTE if "end of data" in str(error) else f"no CSV: {error}")
        return Record(feed.taken[0][0], feed.size, cells, feed.is_text, feed.is_again)

    def _given_up(self, reason: str) -> Unreadable:
        first, *others = self._feed.taken
        if others:
            self._feed.taken = [first]
            self._feed.doubt(others)
            reason = _OPEN_QUOTE
        return Unreadable(line=first[0], size=len(first[1] or b""), reason=reason)
