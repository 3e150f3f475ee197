"""A local append-only store for the bodies of senders that never send again, while Kafka is away.

A record is on disk (fsync) before its sender gets the 200, and is replayed in order when Kafka is back. Appends that come
together share one fsync. What was being replayed when the process died is replayed once more, with the same canonical ids.
A segment that is damaged is kept as `*.torn`; a torn record at its end was never acknowledged. What the broker refuses for good
is kept as `*.aside`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from ingress.errors import NotDurable, TooLarge
from ingress.segments import TORN, SegmentWriter, Spooled, frame, read, set_aside
from ingress.slots import Slot, abandoned_slot, own_slot

log = logging.getLogger(__name__)

_WINDOW = 500
_RETRY_S = 0.25
_ADOPT_EVERY_S = 10.0
_EVERYTHING = 2**62
_STOPS = "the broker is away and the spool takes no more"

Deliver = Callable[[str, bytes, bytes, list[tuple[str, bytes]]], Awaitable[None]]


class Spool:
    """The spool of one process, in a slot of its own below `root`. Bounded: beyond `max_bytes` it takes no more."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._slot: Slot | None = None
        self._adopted: Slot | None = None
        self._looking: asyncio.Future[Slot | None] | None = None
        self._takes = False
        self._disk_fails = False
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
        self.set_aside = 0

    @property
    def is_usable(self) -> bool:
        """Whether it would take another record, as far as is known."""
        return self._takes and not self._disk_fails and self.bytes < self._max_bytes

    @property
    def oldest_s(self) -> float:
        """For how long it has not been empty, in seconds."""
        return time.time() - self._since if self.pending else 0.0

    async def start(self, deliver: Deliver) -> None:
        """Take a free slot, find what an earlier process left there, and begin to replay it through `deliver`."""
        self._slot = slot = await asyncio.to_thread(own_slot, self._root)
        self._writer = SegmentWriter(slot.folder, slot.last_number)
        self._take_on(slot)
        self._takes = True
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._replay(deliver))]

    async def stop(self) -> None:
        """Write what is waiting, then let the slot go. What is not replayed yet stays for the next process."""
        self._takes = False
        while self._waiting and self._tasks:  # noqa: ASYNC110  the writer is at it
            await asyncio.sleep(0.01)
        async with self._writing:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._writer.close()
        if self._looking is not None:  # its thread cannot be cancelled, and what it finds would stay locked
            (found,) = await asyncio.gather(self._looking, return_exceptions=True)
            self._adopted = found if isinstance(found, Slot) else None
        for slot in (self._slot, self._adopted):
            if slot is not None:
                slot.lock.close()
        self._slot = self._adopted = None

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once the record is on disk. Raises NotDurable when the spool is full or the disk fails."""
        framed = frame(Spooled(topic, key, headers, value))
        if not self._takes or self.bytes + len(framed) > self._max_bytes:
            self.refused += 1
            raise NotDurable("the broker is away and the spool is full" if self._takes else _STOPS)
        if not self.pending:
            self._since = time.time()
            log.warning("spooling: records wait on this machine until the broker takes them")
        self.pending += 1
        self.bytes += len(framed)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((framed, done))
        self._work.set()
        await done

    def _take_on(self, slot: Slot) -> None:
        """Add what a process that is no more left in a slot."""
        for segment, size, records in slot.found:
            self._segments.append(segment)
            self.bytes += size
            self.pending += records
        if slot.found:
            self._since = slot.found[0][0].stat().st_mtime
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
        except Exception as error:  # noqa: BLE001  whatever it is, nobody may wait for ever
            log.critical("the spool cannot be written: %s", error)
            self._disk_fails = True
            self.pending -= len(batch)
            self.bytes -= len(frames)
            self.refused += len(batch)
            for _, done in batch:
                if not done.done():
                    done.set_exception(NotDurable("the broker is away and the spool cannot be written"))
            return
        self._disk_fails = False
        if not self._segments or self._segments[-1] != segment:
            self._segments.append(segment)
        self.spooled += len(batch)
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    async def _replay(self, deliver: Deliver) -> None:
        looked = 0.0
        while True:
            try:
                while self._segments:
                    await self._replay_window(self._segments[0], deliver)
                if time.monotonic() - looked > _ADOPT_EVERY_S:
                    looked = time.monotonic()
                    await self._adopt()
            except NotDurable:
                log.debug("the broker takes nothing yet")
            except Exception:  # the next attempt may do better, and nothing is lost meanwhile
                log.exception("replaying the spool failed")
            await asyncio.sleep(_RETRY_S)

    async def _replay_window(self, segment: Path, deliver: Deliver) -> None:
        """Replay the next records of the oldest segment; remove it when all of it is in Kafka."""
        growing = segment == self._writer.path
        end = self._writer.size if growing else _EVERYTHING  # what is beyond is not on disk yet
        records, position = await asyncio.to_thread(read, segment, self._position, _WINDOW, end)
        if records:
            await self._deliver(segment, records, deliver)
            self._position = position
            self.pending -= len(records)
            return
        async with self._writing:
            if read(segment, position, 1)[0]:
                return  # written since it was read
            if segment == self._writer.path:
                self._writer.close()
            self._remove(segment, position)

    async def _deliver(self, segment: Path, records: list[Spooled], deliver: Deliver) -> None:
        """Return when all of them are in Kafka, or aside. Raises NotDurable, and then all of them are to come again."""

        async def send(each: Spooled) -> None:
            await deliver(each.topic, each.key, each.value, each.headers)

        outcomes = await asyncio.gather(*map(send, records), return_exceptions=True)
        refused = [each for each, outcome in zip(records, outcomes, strict=True) if isinstance(outcome, TooLarge)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, TooLarge):
                raise outcome
        hopeless: list[Spooled] = []
        for each in refused:
            try:
                await send(each)  # alone: it may have been refused for the company it was in
            except TooLarge:
                hopeless.append(each)
        if hopeless:
            path = await asyncio.to_thread(set_aside, segment, hopeless)
            self.set_aside += len(hopeless)
            log.critical(
                "the broker refuses %d acknowledged records as too large; they are kept in %s: raise max.message.bytes of %s, "
                "rename the file to *.spool and restart", len(hopeless), path, hopeless[0].topic,
            )  # fmt: skip
        self.replayed += len(records) - len(hopeless)

    async def _adopt(self) -> None:
        """Look after what a process left that died and was never started again."""
        if self._adopted is not None:
            self._adopted.lock.close()
        self._looking = asyncio.ensure_future(asyncio.to_thread(abandoned_slot, self._root))
        self._adopted = await asyncio.shield(self._looking)
        self._looking = None
        if self._adopted is not None:
            self._take_on(self._adopted)

    def _remove(self, segment: Path, read_to: int) -> None:
        """Let go of a segment that has been replayed. Nothing is being written meanwhile."""
        size = segment.stat().st_size
        if read_to < size:
            kept = segment.rename(segment.with_suffix(TORN))
            log.error("the last %d bytes of %s cannot be read; it is kept", size - read_to, kept)
        else:
            segment.unlink()
        self._segments.popleft()
        self._position = 0
        self.bytes -= size
        if not self._segments:  # whatever a failing disk did to the counts, they are right again
            self.pending = len(self._waiting)
            self.bytes = sum(len(framed) for framed, _ in self._waiting)
        if not self.pending:
            log.warning("the spool is empty again; %d records were replayed since the start", self.replayed)
