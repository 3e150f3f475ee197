"""Faust over record chunks: one Faust message per partition and fetch, whose value is the list of fetched records.

Stock Faust spends about 80 µs on each record, two asyncio tasks per message; a chunk pays that once for thousands. The offset of
a chunk is its last record's. An agent over chunks runs with concurrency 1, reads `stream.noack().events()`, and acknowledges a
chunk only after everything made of it is durable: a plain `async for` acknowledges it even when the body raises.

Faust's own commit bookkeeping counts the offsets inside a chunk as gaps, finds them twice and commits one chunk per
commit interval; for chunked topics `processors.progress` replaces it, and does not rely on Faust to bring back what it dropped.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, cast

from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from processors.progress import Progress


class ChunkConsumer(driver.Consumer):
    """Yields chunks for chunked topics, single messages for the rest (table changelogs)."""

    is_chunked: Callable[[str], bool] = staticmethod(lambda _: False)
    """Set by `chunk_transport`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._progress: dict[TP, Progress] = {}
        super().__init__(*args, **kwargs)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was read of them: an acknowledgement that comes late must not be committed."""
        for tp in revoked:
            self._progress.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin at the committed offset, whatever was fetched while the partitions were handed out."""
        self._progress = {tp: Progress() for tp in assigned if self.is_chunked(tp.topic)}
        await super().on_partitions_assigned(assigned, generation_id)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  Faust's signature
        """Yield what one fetch brought. What comes while partitions are handed out is dropped, and read again."""
        await self._rewind()
        generation = self.app.consumer_generation_id
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            self._drop(records)
            await self.perform_seek()  # a rebalance is under way: what was fetched will be fetched again
            return
        for tp, fetched in records.items():
            if not fetched:
                continue
            current = self.app.consumer_generation_id == generation and self.flow_active
            is_wanted = current and (active is None or tp in active)
            if self.is_chunked(tp.topic):
                progress = self._progress.get(tp)
                if progress is None:
                    continue  # no longer ours
                if not is_wanted or progress.must_rewind or self.app.rebalancing:
                    progress.must_rewind = True
                    continue
                progress.hand(fetched[0].offset, fetched[-1].offset)
                yield tp, self._to_chunk(tp, fetched)
            elif is_wanted:
                for record in fetched:
                    yield tp, self._to_message(tp, record)

    def _drop(self, records: Any) -> None:
        for tp in records:
            if tp in self._progress:
                self._progress[tp].must_rewind = True

    async def _rewind(self) -> None:
        """Go back to the committed offset, or to the beginning, where something may have been dropped.

        Here and nowhere else: between two fetches, so that what the next one brings begins there.
        """
        if self.app.rebalancing or not self.flow_active:
            return
        due = {
            tp: each for tp, each in self._progress.items() if each.must_rewind and tp in self._get_active_partitions()
        }
        if not due:
            return
        try:
            committed = await self._thread.call_thread(self._to_committed, list(due))
        except IllegalStateError:
            return  # one was revoked at this moment
        for tp, offset in committed.items():
            if self._progress.get(tp) is due[tp]:
                due[tp].rewound()
                self._read_offset[tp] = self._committed_offset[tp] = offset or None

    async def _to_committed(self, tps: list[TP]) -> dict[TP, int]:
        """Seek in the consumer's own thread. Faust's way leaves a partition without a commit where it stands.

        Asks the group's coordinator only: a question to the partition's leader would wait behind the long poll of a fetch.
        """
        consumer = self._thread._ensure_consumer()  # noqa: SLF001  Faust has no public name for it
        found = {}
        for tp in tps:
            partition = driver.ensure_aiokafka_TP(tp)
            found[tp] = await consumer.committed(partition) or 0
            consumer.seek(partition, found[tp])  # one that is no longer there is reset to the earliest
        return found

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Look for streams that stand still, as Faust does, which would end the worker over one without a position yet."""
        with suppress(AssertionError):
            super().verify_event_path(now, tp)

    def ack(self, message: Message) -> bool:
        """Note that a chunk is done. Called once for each, in the loop of the agents."""
        if not self.is_chunked(message.topic):
            acknowledged: bool = super().ack(message)
            return acknowledged
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        progress = self._progress.get(message.tp)
        if progress is not None:
            progress.acknowledge(message.offset)
            self._acked[message.tp].append(message.offset)
        return True

    def _to_chunk(self, tp: TP, fetched: list[Any]) -> ConsumerMessage:
        last = fetched[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            (last.timestamp or 0) / 1000,
            last.timestamp_type,
            [],
            None,
            cast("Any", fetched),
            last.checksum,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self.is_chunked(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset to commit, if there may be a new one."""
        if not self.is_chunked(tp.topic):
            offset: int | None = super()._new_offset(tp)
            return offset
        progress = self._progress.get(tp)
        if progress is None or not self._acked[tp]:
            return None
        self._acked[tp].clear()
        return progress.done if progress.done > 0 else None


def chunk_transport(is_chunked: Callable[[str], bool]) -> type[Any]:
    """Make a transport class whose consumer reads the topics for which `is_chunked` holds in chunks."""
    consumer = type("BoundChunkConsumer", (ChunkConsumer,), {"is_chunked": staticmethod(is_chunked)})
    return type("ChunkTransport", (driver.Transport,), {"Consumer": consumer})
