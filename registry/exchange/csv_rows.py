"""CSV as spreadsheets write it: a byte order mark, CRLF, `;` or tabs for separators, line breaks within quotes."""

import re
from collections.abc import Iterable, Iterator

from registry.errors import RegistryRefused
from registry.exchange.cells import plain
from registry.exchange.columns import COLUMNS, NAMED, NOTHING, Target, device_row, is_known, shown, target_of
from registry.exchange.csv_records import Feed, Record, Records, TooLong
from registry.exchange.lines import Line, split_lines
from registry.exchange.reading import Heading, Read, Unreadable

SEPARATORS = (",", ";", "\t")
MOST_COLUMNS = 1_000
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE = re.compile(r"sep=([,;|\t])\n", re.IGNORECASE)
_NO_UTF8 = "no UTF-8; save the file as `CSV UTF-8`"
_COLUMN_OF = {attribute: column for column, attribute in NAMED.items()}


def read_csv(source: Iterable[bytes], longest: int) -> Iterator[Read]:
    """Read the heading and then each row; the separator is the one with which the heading makes most sense."""
    feed = Feed(_from_first_text(split_lines(source, longest)), longest)
    try:
        separator, record = _first_record(feed)
        targets = _targets(record)
    except RegistryRefused as error:
        yield Unreadable(line=feed.taken[0][0] if feed.taken else 1, size=feed.size, reason=str(error))
        return
    known = tuple(_COLUMN_OF.get(name, field) for field, name in targets if field and is_known((field, name)))
    others = tuple(name for field, name in targets if not is_known((field, name)))
    yield Heading(columns=known, attributes=others, separator=separator)
    for each in Records(feed, separator):
        if isinstance(each, Unreadable):
            yield each
        elif any(cell and not cell.isspace() for cell in each.cells):
            yield _row(each, targets)


def _from_first_text(lines: Iterator[Line]) -> Iterator[Line]:
    """Leave out empty lines before the heading, and the byte order mark."""
    for number, line in lines:
        if line is not None and line.startswith(_UTF16):
            raise RegistryRefused(f"the file is UTF-16, {_NO_UTF8}")
        text = line.removeprefix(_BOM) if line is not None and number == 1 else line
        if text is None or text.strip():
            yield number, text
            break
    yield from lines


def _first_record(feed: Feed) -> tuple[str, Record]:
    """Return the separator and the heading. A spreadsheet may say the separator in a line `sep=;` of its own."""
    stated = _stated_separator(feed)
    found: dict[str, Record] = {}
    reason = ""
    for separator in (stated,) if stated else SEPARATORS:
        record = next(Records(feed, separator), None)
        if isinstance(record, Record):
            found[separator] = record
        elif record is not None:
            reason = record.reason
        feed.put_back(feed.taken)
    best = max(found, key=lambda each: _sense(found[each]), default="")
    if not best or (reason and not any(map(_makes_sense, found[best].cells))):
        raise RegistryRefused(reason or "the file is empty")
    again = next(Records(feed, best))
    assert isinstance(again, Record)
    return best, again


def _stated_separator(feed: Feed) -> str:
    feed.begin()
    try:
        first = next(feed, "")
    except TooLong:  # said when it is read as the heading
        first = ""
    said = _SEPARATOR_LINE.fullmatch(first)
    if said is None:
        feed.put_back(feed.taken)
        return ""
    return said[1]


def _sense(heading: Record) -> tuple[int, int]:
    return sum(_makes_sense(cell) for cell in heading.cells), len(heading.cells)


def _makes_sense(cell: str) -> bool:
    try:
        return is_known(target_of(cell))
    except RegistryRefused:
        return False


def _targets(heading: Record) -> list[Target]:
    """Return what each column fills; one without a heading fills nothing."""
    if not heading.is_text:
        raise RegistryRefused(_NO_UTF8)
    if len(heading.cells) > MOST_COLUMNS:
        raise RegistryRefused(f"more than {MOST_COLUMNS} columns; NDJSON holds any number of attributes")
    targets = [target_of(cell) if cell.strip() else NOTHING for cell in heading.cells]
    filled = [target for target in targets if target[0]]
    for target in filled:
        if filled.count(target) > 1:
            raise RegistryRefused(f"two columns are {shown(target[1] or target[0])}")
    if not any(is_known(target) for target in filled):
        raise RegistryRefused(
            f"no column of a device in the first line: it holds their names, of {', '.join(COLUMNS)}, attributes.<name>"
        )
    return targets


def _row(record: Record, targets: list[Target]) -> Read:
    try:
        return device_row(record.line, record.size, list(_said(record, targets)))
    except RegistryRefused as error:
        return Unreadable(line=record.line, size=record.size, reason=str(error))


def _said(record: Record, targets: list[Target]) -> Iterator[tuple[Target, str]]:
    """Yield what the cells say; an empty one says nothing."""
    cells = record.cells
    if not record.is_text:
        raise RegistryRefused(_NO_UTF8)
    if record.again and len(cells) != len(targets):
        raise RegistryRefused("the row lies behind a quote that is not closed, and has not a cell for every column")
    for position, cell in enumerate(cells):
        text = cell.strip()
        if not text:
            continue
        if position >= len(targets):
            raise RegistryRefused(f"{len(cells)} cells, but {len(targets)} columns")
        target = targets[position]
        if target[0]:
            yield target, plain(text)
        elif target is NOTHING:
            raise RegistryRefused(f"cell {position + 1} says {shown(text)}, but its column has no name")
