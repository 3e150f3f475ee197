"""A stream of bytes as numbered lines, none of which is ever held when it is too long."""

from collections.abc import Iterable, Iterator

Line = tuple[int, bytes | None]
"""(number from 1, the line without its end); None: it was longer than allowed."""


def split_lines(source: Iterable[bytes], longest: int) -> Iterator[Line]:
    """Split at LF, CRLF or CR, wherever the pieces of the stream begin and end. A last line needs no end."""
    number = 1
    held: list[bytes] = []  # the line so far
    size = 0
    for piece in _whole_ends(source):
        parts = piece.splitlines()
        unended = b"" if piece[-1:] in (b"\n", b"\r") else parts.pop()
        for part in parts:
            size += len(part)
            if size > longest:
                yield number, None
            else:
                yield number, b"".join((*held, part)) if held else part
            number += 1
            held, size = [], 0
        if unended:
            size += len(unended)
            if size > longest:
                held = []
            else:
                held.append(unended)
    if size:
        yield number, None if size > longest else b"".join(held)


def _whole_ends(source: Iterable[bytes]) -> Iterator[bytes]:
    """Drop the LF of a CRLF that was cut in two: the CR has ended the line already. Empty pieces are left out."""
    after_cr = False
    for piece in source:
        if not piece:
            continue
        rest = piece[1:] if after_cr and piece[:1] == b"\n" else piece
        after_cr = piece[-1:] == b"\r"
        if rest:
            yield rest
