"""A local append-only store for the bodies of senders that never send again, while Kafka is away.

A record is on disk (fsync) before its sender gets the 200, and is replayed in order when Kafka is back. Appends that come
together share one fsync. What was being replayed when the process died is replayed once more, with the same canonical ids.
A segment that is damaged is kept as `*.torn`; a torn record at its end was never acknowledged.
"""

import asyncio
import fcntl
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from ingress.errors import NotDurable
from ingress.segments import SUFFIX, TORN, SegmentWriter, Spooled, frame, read

log = logging.getLogger(__name__)

_WINDOW = 500
_RETRY_S = 0.25
_SLOTS = 64
_ALL = 2**62

Deliver = Callable[[str, bytes, bytes, list[tuple[str, bytes]]], Awaitable[None]]


class Spool:
    """The spool of one process, in a slot of its own below `root`. Bounded: beyond `max_bytes` it takes no more."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._slot: BinaryIO | None = None
        self._segments: deque[Path] = deque()
        self._position = 0
        self._writer = SegmentWriter(root, 0)
        self._writing = asyncio.Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._since = 0.0
        self.pending = 0
        """Records that are not in Kafka yet."""
        self.bytes = 0
        self.spooled = 0
        self.replayed = 0
        self.refused = 0

    @property
    def is_usable(self) -> bool:
        """Whether it would take another record."""
        return self._slot is not None and self.bytes < self._max_bytes

    @property
    def oldest_s(self) -> float:
        """For how long it has not been empty, in seconds."""
        return time.time() - self._since if self.pending else 0.0

    async def start(self, deliver: Deliver) -> None:
        """Take a free slot, find what an earlier process left there, and begin to replay it through `deliver`."""
        await asyncio.to_thread(self._open)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._replay(deliver))]

    async def stop(self) -> None:
        """Write what is waiting, then let the slot go. What is not replayed yet stays for the next process."""
        while self._waiting and self._tasks:  # noqa: ASYNC110  the writer is at it
            await asyncio.sleep(0.01)
        async with self._writing:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._writer.close()
        if self._slot is not None:
            self._slot.close()
            self._slot = None

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once the record is on disk. Raises NotDurable when the spool is full or the disk fails."""
        framed = frame(Spooled(topic, key, headers, value))
        if not self.is_usable or self.bytes + len(framed) > self._max_bytes:
            self.refused += 1
            raise NotDurable("the broker is away and the spool is full")
        if not self.pending:
            self._since = time.time()
            log.warning("spooling: records wait on this machine until the broker takes them")
        self.pending += 1
        self.bytes += len(framed)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((framed, done))
        self._work.set()
        await done

    def _open(self) -> None:
        """Lock the first slot that is free. One that holds records comes first, so that nothing is left behind."""
        slots = [self._root / f"{number:02}" for number in range(_SLOTS)]
        for slot in sorted(slots, key=lambda each: (not any(each.glob(f"*{SUFFIX}")), each)):
            slot.mkdir(parents=True, exist_ok=True)
            lock = (slot / "lock").open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self._slot = lock
            self._find(slot)
            return
        raise NotDurable(f"more than {_SLOTS} processes spool below {self._root}")

    def _find(self, slot: Path) -> None:
        self._segments = deque(sorted(slot.glob(f"*{SUFFIX}")))
        numbers = [int(each.stem) for each in slot.iterdir() if each.suffix in (SUFFIX, TORN) and each.stem.isdecimal()]
        self._writer = SegmentWriter(slot, max(numbers, default=0))
        for segment in self._segments:
            self.bytes += segment.stat().st_size
            self.pending += len(read(segment, 0, _ALL)[0])
        if self._segments:
            self._since = self._segments[0].stat().st_mtime
            log.warning("the spool holds %d records of an earlier process; they are replayed", self.pending)

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            async with self._writing:
                self._work.clear()
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        frames = b"".join([framed for framed, _ in batch])
        try:
            segment = await asyncio.to_thread(self._writer.append, frames)
        except OSError as error:
            log.critical("the spool cannot be written: %s", error)
            self.pending -= len(batch)
            self.bytes -= len(frames)
            self.refused += len(batch)
            for _, done in batch:
                if not done.done():
                    done.set_exception(NotDurable("the broker is away and the spool cannot be written"))
            return
        if not self._segments or self._segments[-1] != segment:
            self._segments.append(segment)
        self.spooled += len(batch)
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    async def _replay(self, deliver: Deliver) -> None:
        while True:
            try:
                while self._segments:
                    await self._replay_window(self._segments[0], deliver)
            except NotDurable:
                log.debug("the broker takes nothing yet")
            except Exception:  # the next attempt may do better, and nothing is lost meanwhile
                log.exception("replaying the spool failed")
            await asyncio.sleep(_RETRY_S)

    async def _replay_window(self, segment: Path, deliver: Deliver) -> None:
        """Replay the next records of the oldest segment; remove it when all of it is in Kafka."""
        records, position = await asyncio.to_thread(read, segment, self._position, _WINDOW)
        if records:
            sending = [deliver(each.topic, each.key, each.value, each.headers) for each in records]
            outcomes = await asyncio.gather(*sending, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            self._position = position
            self.pending -= len(records)
            self.replayed += len(records)
            return
        async with self._writing:
            if segment == self._writer.path:
                if position < self._writer.size:
                    return  # written since it was read
                self._writer.close()
            self._remove(segment, position)

    def _remove(self, segment: Path, read_to: int) -> None:
        self._segments.popleft()
        self._position = 0
        size = segment.stat().st_size
        self.bytes -= size
        if read_to < size:
            kept = segment.rename(segment.with_suffix(TORN))
            log.error("the last %d bytes of %s cannot be read; it is kept", size - read_to, kept)
        else:
            segment.unlink()
        if not self.pending:
            log.warning("the spool is empty again; %d records were replayed since the start", self.replayed)
