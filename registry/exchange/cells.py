"""Cells of a CSV that a spreadsheet must not run: what looks like a formula is written behind an apostrophe.

A cell that begins with `=`, `+`, `-`, `@`, or one of their full-width forms is a formula to a spreadsheet, and a device's name
may come from a stranger (OWASP, CSV injection). `inert` puts an apostrophe before such a text; `plain` takes exactly those
away again, so every text comes back as it was: `=1` is written `'=1`, `'=1` is written `''=1`, `'tis` stays.
"""

_ACTIVE = frozenset("=+-@\t\r\n＝＋－＠")
_AFTER_MARK = _ACTIVE | {"'"}
_MARK = "'"


def inert(text: str) -> str:
    """Return the text as a cell that is shown, never run."""
    first = text[:1]
    if first in _ACTIVE or (first == _MARK and text[1:2] in _AFTER_MARK):
        return _MARK + text
    return text


def plain(cell: str) -> str:
    """Return the text of a cell that `inert` made, or a person's cell as it stands."""
    return cell[1:] if cell[:1] == _MARK and cell[1:2] in _AFTER_MARK else cell
