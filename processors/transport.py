"""Faust over record chunks: one Faust message per partition and fetch, whose value is the list of fetched records.

Stock Faust spends about 80 µs on each record, two asyncio tasks per message; a chunk pays that once for thousands. The offset of
a chunk is its last record's. An agent over chunks runs with concurrency 1, reads `stream.noack().events()`, and acknowledges a
chunk only after everything made of it is durable: a plain `async for` acknowledges it even when the body raises.

Faust's own commit bookkeeping counts the offsets inside a chunk as gaps, finds them twice and commits one chunk per
commit interval; for chunked topics the bookkeeping here replaces it: commit what follows the last acknowledged chunk.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage


class ChunkConsumer(driver.Consumer):
    """Yields chunks for chunked topics, single messages for the rest (table changelogs)."""

    is_chunked: Callable[[str], bool] = staticmethod(lambda _: False)
    """Set by `chunk_transport`."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  Faust's signature
        """Yield what one fetch brought. Chunks of partitions that were revoked meanwhile are left out."""
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()  # a rebalance is under way: what was fetched will be fetched again
            return
        generation = self.app.consumer_generation_id
        for tp, fetched in records.items():
            if not fetched or (active is not None and tp not in active):
                continue
            if self.app.consumer_generation_id != generation or not self.flow_active:
                return
            if self.is_chunked(tp.topic):
                yield tp, self._to_chunk(tp, fetched)
            else:
                for record in fetched:
                    yield tp, self._to_message(tp, record)

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
        """Return the offset to commit. Chunks of a partition are acknowledged in order, so the last one counts."""
        if not self.is_chunked(tp.topic):
            offset: int | None = super()._new_offset(tp)
            return offset
        acknowledged = self._acked[tp]
        if not acknowledged:
            return None
        last: int = max(acknowledged)
        acknowledged.clear()
        self._acked_index[tp].clear()
        return last + 1


def chunk_transport(is_chunked: Callable[[str], bool]) -> type[Any]:
    """Make a transport class whose consumer reads the topics for which `is_chunked` holds in chunks."""
    consumer = type("BoundChunkConsumer", (ChunkConsumer,), {"is_chunked": staticmethod(is_chunked)})
    return type("ChunkTransport", (driver.Transport,), {"Consumer": consumer})
