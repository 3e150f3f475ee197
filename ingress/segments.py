"""The files of the spool: frames of length, CRC-32 (big-endian) and `[topic, key, headers, value]` in MessagePack."""

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

SUFFIX = ".spool"
TORN = ".torn"
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


def read(segment: Path, position: int, limit: int) -> tuple[list[Spooled], int]:
    """Read at most `limit` whole records from `position` on; return them and where the next one begins.

    Ends before a record that is torn or does not match its checksum: it was never acknowledged, or is being written now.
    """
    records: list[Spooled] = []
    with segment.open("rb") as file:
        file.seek(position)
        while len(records) < limit:
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
        file = self._file or self._begin()
        path = self.path
        assert path is not None
        try:
            _write_all(file, frames)
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), self.size)
            self.close()
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

    def _begin(self) -> BinaryIO:
        self._number += 1
        self.path = self._directory / f"{self._number:010}{SUFFIX}"
        self._file = self.path.open("ab", buffering=0)
        self.size = 0
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the name must survive a power cut as well
        finally:
            os.close(descriptor)
        return self._file


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
