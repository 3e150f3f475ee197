"""Which offset of a partition may be committed while its tasks finish in any order."""

import base64
import binascii
import zlib
from collections import deque
from collections.abc import Iterable

_MARK = "v1:"
METADATA_BITS = 22_000
"""Finished offsets that fit into the 4,096 bytes a broker takes as commit metadata, whatever their pattern."""

_METADATA_BYTES = METADATA_BITS // 8 + 1


class Window:
    """The open offsets of one partition. Only the contiguous finished prefix is ever committed.

    What finished beyond it is written into the commit's metadata: after a crash the next owner of the partition does
    not repeat it. Not safe for several threads.
    """

    __slots__ = ("_base", "_done", "_next", "_open", "_skip", "closed", "leaving")

    def __init__(self, skip: Iterable[int] = ()) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self._skip = set(skip)
        self._base = -1
        self._next = -1
        self.leaving = False
        """The partition is about to be let go: nothing of it is held in memory any more."""
        self.closed = False
        """The partition belongs to another worker now: what still finishes here is neither committed nor retried."""

    def take(self, offset: int) -> bool:
        """Add the next offset read. False when it needs no work: it is here already, or was finished before a crash."""
        if offset < self._base:  # the topic was made anew
            self._open.clear()
            self._done.clear()
            self._skip.clear()
        elif offset < self._next:
            return False
        if not self._open:
            self._base = offset
        self._next = offset + 1
        self._open.append(offset)
        if offset not in self._skip:
            return True
        self._skip.discard(offset)
        self.done(offset)
        return False

    def done(self, offset: int) -> None:
        """Mark an offset finished: everything it was to cause is acknowledged by the broker."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._done.discard(self._open.popleft())
        self._base = self._open[0] if self._open else self._next

    @property
    def position(self) -> int:
        """The offset to commit, i.e. the first one that is not finished; -1 before anything was read."""
        return self._base

    @property
    def span(self) -> int:
        """Offsets from the first unfinished one to the newest read."""
        return self._next - self._base

    def metadata(self) -> str:
        """Describe what is finished beyond `position`, for the commit; at most 4,096 characters."""
        bits = bytearray()
        for offset in sorted(self._done):
            place = offset - self._base
            if place >= METADATA_BITS:
                break
            if place >> 3 >= len(bits):
                bits.extend(bytes((place >> 3) + 1 - len(bits)))
            bits[place >> 3] |= 1 << (place & 7)
        return _MARK + base64.b64encode(zlib.compress(bits)).decode() if bits else ""


def finished_beyond(position: int, metadata: str | None) -> set[int]:
    """Read what `Window.metadata` wrote for a commit at `position`. Foreign or damaged text means nothing finished."""
    if not metadata or not metadata.startswith(_MARK):
        return set()
    try:
        bits = zlib.decompressobj().decompress(base64.b64decode(metadata[len(_MARK) :], validate=True), _METADATA_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        return set()
    return {position + 8 * index + bit for index, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1}
