"""The files of the spool: frames of length, CRC-32 (big-endian) and `[topic, key, headers, value]` in MessagePack."""

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

SUFFIX = ".spool"
TORN = ".torn"
ASIDE = ".aside"
"""Frames the broker refuses for good. Named `.spool` again they are replayed at the next start."""
SEGMENT_BYTES = 16 * 1024 * 1024

_HEAD = struct.Struct(">II")


class Spooled(msgspec.Struct, frozen=True, array_like=True):
    """One record as it stands in a segment."""

    topic: str
    key: bytes
    headers: list[tuple[str, bytes]]
    value: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Spooled)


def frame(record: Spooled) -> bytes:
    """Return a record's bytes in a segment."""
    body = _ENCODER.encode(record)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def read(segment: Path, position: int, limit: int, end: int = 2**62) -> tuple[list[Spooled], int]:
    """Read at most `limit` whole records from `position` on, about a segment's bytes; return them and where the next begins.

    Ends at `end`, and before a record that is torn or does not match its checksum: it was never acknowledged.
    """
    records: list[Spooled] = []
    end = min(end, position + SEGMENT_BYTES)
    with segment.open("rb") as file:
        file.seek(position)
        while len(records) < limit and position < end:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                break
            length, checksum = _HEAD.unpack(head)
            body = file.read(length) if length <= os.fstat(file.fileno()).st_size else b""
            if len(body) < length or zlib.crc32(body) != checksum:
                break
            try:
                records.append(_DECODER.decode(body))
            except msgspec.MsgspecError:
                break
            position += _HEAD.size + length
    return records, position


def count(segment: Path) -> int:
    """Return how many records `read` will find."""
    found = position = 0
    while records := (part := read(segment, position, 1000))[0]:
        found, position = found + len(records), part[1]
    return found


def make_folder(folder: Path) -> None:
    """Make a folder that is still there after a power cut."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(exist_ok=True)
            sync(each.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(segment: Path, records: list[Spooled]) -> Path:
    """Keep records of a segment on disk, out of the way of the others; return the file."""
    path = segment.with_suffix(ASIDE)
    with path.open("ab") as file:
        file.write(b"".join(map(frame, records)))
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)
    return path


class SegmentWriter:
    """Appends frames to numbered segments of a directory. Every `append` is on disk when it returns."""

    def __init__(self, directory: Path, last_number: int) -> None:
        self._directory = directory
        self._number = last_number
        self._file: BinaryIO | None = None
        self.path: Path | None = None
        """The segment that still grows."""
        self.size = 0
        """Its bytes on disk."""

    def append(self, frames: bytes) -> Path:
        """Write and fsync; return the segment. Raises OSError, and then leaves no half record behind."""
        file, path = self._file, self.path
        if file is None or path is None:
            file, path = self._begin()
        try:
            _write_all(file, frames)
            os.fsync(file.fileno())
        except OSError:
            try:
                os.ftruncate(file.fileno(), self.size)
            finally:
                self.close()  # nothing may ever follow what is half written
            raise
        self.size += len(frames)
        if self.size >= SEGMENT_BYTES:
            self.close()
        return path

    def close(self) -> None:
        """End the segment: the next append begins another."""
        if self._file is not None:
            self._file.close()
        self._file = self.path = None

    def _begin(self) -> tuple[BinaryIO, Path]:
        self._number += 1
        path = self._directory / f"{self._number:010}{SUFFIX}"
        file = path.open("ab", buffering=0)
        try:
            sync(self._directory)  # the name must survive a power cut as well
        except OSError:
            file.close()
            raise
        self._file, self.path, self.size = file, path, 0
        return file, path


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
