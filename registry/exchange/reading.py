"""Files as rows: one for every row of the file, readable or not. Nothing a file may hold raises."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, get_args

import msgspec

from registry.exchange.columns import DeviceRow

Format = Literal["csv", "ndjson"]
FORMATS: tuple[Format, ...] = get_args(Format)
LONGEST_ROW = 512 * 1024
"""Bytes. A device with a hundred attributes of ordinary length is a hundredth of it; Kafka takes a megabyte by default."""
_BOM = b"\xef\xbb\xbf"


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A row that says nothing that could be understood, and why."""

    line: int
    reason: str
    size: int = 0


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What the first line of a CSV was taken for: columns of devices by their names, and attributes."""

    columns: tuple[str, ...]
    attributes: tuple[str, ...]
    separator: str


Read = Heading | DeviceRow | Unreadable


def read_rows(source: Iterable[bytes], form: Format, longest: int = LONGEST_ROW) -> Iterator[Read]:
    """Read a stream row by row: a Heading first if it has one, then each row; rows without any content are none.

    Holds one row at a time (of CSV, up to `csv_rows.MOST_LINES` lines while a quote is open). A CSV whose first line cannot be
    one ends with one Unreadable, for nothing after it can be understood.
    """
    from registry.exchange.csv_rows import read_csv
    from registry.exchange.json_rows import read_ndjson

    return read_csv(source, longest) if form == "csv" else read_ndjson(source, longest)


def told_apart(source: Iterable[bytes]) -> tuple[Format, Iterator[bytes]]:
    """Tell the format by the first character that is no white space: `{` begins NDJSON. Returns the whole stream again."""
    pieces = iter(source)
    seen: list[bytes] = []
    start, size = b"", 0
    for piece in pieces:
        seen.append(piece)
        size += len(piece)
        start = (start + piece).removeprefix(_BOM).lstrip()
        if start and not _BOM.startswith(start):
            return ("ndjson" if start.startswith((b"{", b"[")) else "csv"), chain(seen, pieces)
        if size > LONGEST_ROW:
            break
    return "csv", chain(seen, pieces)
