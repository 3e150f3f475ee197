"""What a connector reads in Kafka: the raw topic of its source from where it left off, and the state it saved."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fleetline.settings import Settings
from schemas import topics as names
from sources.contract import Request
from sources.raw_record import header_value, request_from_raw

log = logging.getLogger(__name__)

_AT_ONCE = 500
_WAIT_S = 0.5
_TIMEOUT_S = 10.0
_QUEUED_KB = 16 * 1024
_T = TypeVar("_T")


class TopicReader:
    """Reads a topic to its present end, and the next time from there. Joins no group, commits nothing.

    Connects for each reading: between two of them nothing is fetched and nothing is held. All calls of the client are made
    in one thread of its own, so a cancelled reading never closes it under another call.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        self._config = {
            **settings.kafka_config(),
            "group.id": f"{settings.topic_prefix}pull-reader",  # demanded by the client; never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",  # what retention has taken is gone; the rest is read
            "queued.max.messages.kbytes": _QUEUED_KB,
            "log_level": 2,  # what matters is raised
        }
        self._topic = topic
        self._next: dict[int, int] = {}
        self._open: set[int] = set()
        self._consumer: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pull-reader")

    async def batches(self, since_us: int) -> AsyncIterator[Sequence[Any]]:
        """Yield the records between the last reading and the present end; the first time those written since `since_us`.

        Raises KafkaException when the broker cannot be reached at the beginning. When it goes away later, this waits.
        """
        try:
            await self._call(lambda: self._begin(since_us))
            while self._open:
                batch = await self._call(self._step)
                yield batch
        finally:
            self._thread.submit(self._end)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=True)

    async def _call(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _begin(self, since_us: int) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self._consumer = consumer = Consumer(self._config, logger=log)
        found = consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic].partitions
        new = [TopicPartition(self._topic, each, since_us // 1000) for each in found if each not in self._next]
        ends = {each.partition: consumer.get_watermark_offsets(each, timeout=_TIMEOUT_S)[1] for each in new}
        for each in consumer.offsets_for_times(new, timeout=_TIMEOUT_S) if new else ():
            self._next[each.partition] = each.offset if each.offset >= 0 else ends[each.partition]
        self._open = set(found)
        consumer.assign([TopicPartition(self._topic, each, self._next[each]) for each in found])

    def _step(self) -> Sequence[Any]:
        from confluent_kafka import KafkaError, KafkaException

        records = []
        for message in self._consumer.consume(_AT_ONCE, _WAIT_S):
            error = message.error()
            if error is None:
                self._next[message.partition()] = message.offset() + 1
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                self._next[message.partition()] = message.offset()  # less than before: the topic was made anew
                self._open.discard(message.partition())
            elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(error)
            else:
                log.info("reading %s: %s", self._topic, error)
        return records

    def _end(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()


async def requests_of(reader: TopicReader, tenant_id: str, since_us: int) -> AsyncIterator[Sequence[Request]]:
    """Yield the tenant's requests of a raw topic."""
    async for records in reader.batches(since_us):
        yield [
            request_from_raw(each.headers(), each.value() or b"", each.topic(), each.partition(), each.offset())
            for each in records
            if header_value(each.headers(), names.TENANT) == tenant_id
        ]


async def last_value(settings: Settings, topic: str, key: bytes) -> bytes:
    """Return the latest value under a key of a compacted topic; nothing when there is none."""
    reader, value = TopicReader(settings, topic), b""
    try:
        async for records in reader.batches(0):
            for each in records:
                if each.key() == key:
                    value = each.value() or b""
    finally:
        await asyncio.to_thread(reader.close)
    return value
