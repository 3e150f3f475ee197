"""The registry as a process last read it, in a file: a door that starts while Kafka is away can still tell who is who.

Only a stand-in: once Kafka answers, the topic is read from its beginning and replaces it, so nothing depends on how old it is
but who may speak until then. It holds what the topic holds: digests and sealed secrets, readable by the owner alone.
"""

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

import msgspec

log = logging.getLogger(__name__)

Record = tuple[bytes, bytes | None]
"""Key and value as they stand in the topic; None is a removal."""
COPIES = 64
_HEAD = struct.Struct(">II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Record]).decode


class LocalCopy:
    """The copy of one process: `begin`, `append` what is read, `complete` at the end of the topic, then `append` changes.

    Until `complete` the former copy stays. A batch torn by a crash ends the copy before it. Errors of the disk are logged and
    switch it off: a copy is never worth the work it stands in for. Not safe for several threads.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self._path = path
        self._lock = lock
        self._file: IO[bytes] | None = None
        self._complete = False

    @classmethod
    def own(cls, folder: Path) -> Self | None:
        """Take a copy below `folder` that no other process holds; None where the disk does not let us."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(COPIES):
                lock = (folder / f"{number:02}.lock").open("wb")
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.close()
                else:
                    return cls(folder / f"{number:02}.copy", lock)
        except OSError as error:
            log.warning("no local copy of the registry below %s: %s", folder, error)
        return None

    def close(self) -> None:
        """Let another process have it."""
        self._drop()
        self._lock.close()

    def begin(self) -> None:
        """Start a new copy beside the one there is."""
        self._drop()
        with self._told():
            descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=1 << 20)
            self._complete = False

    def append(self, records: Iterable[Record]) -> None:
        """Add records in their order."""
        if self._file is None:
            return
        body = _encode(list(records))
        with self._told():
            self._file.write(_HEAD.pack(len(body), zlib.crc32(body)) + body)
            if self._complete:
                self._file.flush()

    def complete(self) -> None:
        """Put the new copy in the place of the former one, durably."""
        if self._file is None:
            return
        with self._told():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._new.rename(self._path)
            self._complete = True

    def load(self, apply: Callable[[bytes, bytes | None], None]) -> int:
        """Hand every record of the last complete copy over, in order; returns how many there were."""
        count = 0
        for batch in self._batches():
            for key, value in batch:
                apply(key, value)
            count += len(batch)
        return count

    def _batches(self) -> Iterator[list[Record]]:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                while len(head := file.read(_HEAD.size)) == _HEAD.size:
                    length, checksum = _HEAD.unpack(head)
                    body = file.read(length) if length <= size else b""
                    if len(body) < length or zlib.crc32(body) != checksum:
                        log.warning("the local copy of the registry ends in a torn batch")
                        return
                    yield _decode(body)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the local copy of the registry cannot be read further: %s", error)

    @property
    def _new(self) -> Path:
        return self._path.with_suffix(".new")

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._told():
                file.close()

    def _told(self) -> "_Told":
        return _Told(self)

    def switch_off(self, error: OSError) -> None:
        """Go without a copy from now on."""
        log.warning("the registry's local copy %s is no longer kept: %s", self._path, error)
        self._file = None


class _Told:
    """Turns an error of the disk into a warning, and the copy off."""

    def __init__(self, copy: LocalCopy) -> None:
        self._copy = copy

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, OSError):
            return False
        self._copy.switch_off(error)
        return True
