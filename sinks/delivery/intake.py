"""Reading the delivery topics: a thread that owns the consumer and hands batches to the event loop.

Records of a retry tier sleep here until their tier's delay has passed since they were written; their partition is
paused meanwhile. All records of one tier wait equally long, so the first one of a partition is always the next one due.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sinks.delivery.limits import Limits
from sinks.delivery.offsets import finished_beyond
from sinks.delivery.policy import TIERS

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

Partition = tuple[str, int]
Skips = Mapping[Partition, set[int]]
Position = tuple[Partition, int, str]
"""A partition, the offset to commit and the commit's metadata."""

_BATCH = 200
_POLL_S = 0.1
_NAP_S = 0.005
_STARVED_S = 60.0
_LEAST_SLEEP_S = 0.25
"""Sleeping records are looked at this often at most: each look may cost the broker a fetch."""
_RELEASE_S = 10.0


class Intake:
    """Reads while there is room and hands over what is due, in order per partition.

    `queued()` says how many tasks wait to be sent. `take(messages)` and `assigned(skips)` run in the event loop;
    `release(partitions)` is awaited there when partitions go to another worker and returns what to commit before they do;
    `lose(partitions)` is called when they are gone already.
    """

    def __init__(
        self,
        settings: "Settings",
        limits: Limits,
        *,
        queued: Callable[[], int],
        take: Callable[[Sequence[Any]], None],
        assigned: Callable[[Skips], None],
        release: Callable[[set[Partition]], Awaitable[list[Position]]],
        lose: Callable[[set[Partition]], None],
    ) -> None:
        from confluent_kafka import Consumer

        self._topics = settings.topics
        self._delays = {self._topics.deliveries_retry(tier): seconds for tier, seconds in TIERS}
        self._limits = limits
        self._queued = queued
        self._take = take
        self._assigned = assigned
        self._release = release
        self._lose = lose
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery-intake", daemon=True)
        self._sleeping: dict[Partition, deque[Any]] = {}
        self._wakes: dict[Partition, float] = {}
        self.polled_at = time.monotonic()
        """When the consumer was last served; liveness."""
        self.handed = 0
        """Messages handed over so far; written by the thread only."""
        self.taken = 0
        self.finished = 0
        """Messages that arrived there, and those whose work has ended; written by the event loop only."""
        self.failed: Exception | None = None
        self._consumer = Consumer(
            {
                **settings.kafka_config(),
                "group.id": f"{settings.topic_prefix}delivery",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": 10_000,
                "topic.metadata.refresh.interval.ms": 5000,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 16_384,
            },
            logger=log,
        )

    def start(self) -> None:
        """Join the group and start reading; returns at once."""
        self._thread.start()

    def count_finished(self) -> None:
        """Note that the work of one message has ended. In the event loop only."""
        self.finished += 1

    async def stop(self) -> None:
        """Stop reading. Returns when the thread has ended, which takes a fraction of a second."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def commit(self, positions: Sequence[Position], *, wait: bool = False) -> None:
        """Commit positions. What cannot be committed now is committed with the next one."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition(topic, number, offset, metadata) for (topic, number), offset, metadata in positions]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:
            log.warning("offsets not committed: %s", error)

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._topics.deliveries, *self._delays],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not self._stopping.is_set():
                self._step()
        except Exception as error:
            self.failed = error
            log.exception("deliveries are no longer read; this component must be restarted")

    def _step(self) -> None:
        room = self._room()
        if room <= 0 and time.monotonic() - self.polled_at < _STARVED_S:
            time.sleep(_NAP_S)
            return
        if room <= 0:
            self._serve_only()
            return
        self.polled_at = time.monotonic()
        batch = min(room, _BATCH)
        due = self._wake(batch)
        first = self._consumer.poll(0 if due else _POLL_S)
        if first is not None:
            for message in (first, *(self._consumer.consume(batch - 1, 0) if batch > 1 else ())):
                self._sort(message, due)
        self._hand_over(due)

    def _room(self) -> int:
        """Return how many more messages fit: into memory, and into the queue with those still on their way there."""
        memory = self._limits.window - (self.handed - self.finished)
        return min(memory, self._limits.queue - self._queued() - (self.handed - self.taken))

    def _hand_over(self, due: list[Any]) -> None:
        if due:
            self.handed += len(due)
            self._loop.call_soon_threadsafe(self._taken, due)

    def _taken(self, due: list[Any]) -> None:
        self._take(due)
        self.taken += len(due)

    def _serve_only(self) -> None:
        """Stay in the group although nothing can be taken (the broker takes no retries, for one)."""
        held = self._consumer.assignment()
        self._consumer.pause(held)
        message = self._consumer.poll(0)
        self.polled_at = time.monotonic()
        if message is not None and message.error() is None:
            due: list[Any] = []
            self._sort(message, due)
            self._hand_over(due)
        self._consumer.resume([each for each in held if (each.topic, each.partition) not in self._sleeping])

    def _sort(self, message: Any, due: list[Any]) -> None:
        """Add a message to what is due, or lay it down to sleep behind those of its partition that sleep already."""
        from confluent_kafka import KafkaException

        error = message.error()
        if error is not None:
            if error.fatal():
                raise KafkaException(error)
            log.warning("reading deliveries: %s", error.str())
            return
        topic = message.topic()
        delay = self._delays.get(topic)
        if delay is None:
            due.append(message)
            return
        partition = (topic, message.partition())
        sleepers = self._sleeping.get(partition)
        if sleepers is None:
            wait = message.timestamp()[1] / 1000 + delay - time.time()
            if wait <= 0:
                due.append(message)
                return
            sleepers = self._sleeping[partition] = deque()
            self._wakes[partition] = time.monotonic() + min(max(wait, _LEAST_SLEEP_S), delay)
            self._pause(partition)
        sleepers.append(message)

    def _wake(self, room: int) -> list[Any]:
        """Return sleepers that are due; a partition nobody sleeps in any more is read again."""
        now, clock = time.monotonic(), time.time()
        due: list[Any] = []
        for partition in [each for each, wake in self._wakes.items() if wake <= now]:
            delay = self._delays[partition[0]]
            sleepers = self._sleeping[partition]
            wait = 0.0
            while sleepers and len(due) < room:
                wait = sleepers[0].timestamp()[1] / 1000 + delay - clock
                if 0 < wait <= delay:
                    break
                wait = 0.0
                due.append(sleepers.popleft())
            if sleepers:
                self._wakes[partition] = now + (max(wait, _LEAST_SLEEP_S) if wait else 0.0)
            else:
                del self._sleeping[partition], self._wakes[partition]
                self._resume(partition)
        return due

    def _pause(self, partition: Partition) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.pause([TopicPartition(*partition)])

    def _resume(self, partition: Partition) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.resume([TopicPartition(*partition)])

    def _on_assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """Learn what was finished beyond the committed offsets; reading starts after that."""
        from confluent_kafka import KafkaException

        skips: dict[Partition, set[int]] = {}
        try:
            for each in consumer.committed(list(partitions), timeout=10.0):
                skips[each.topic, each.partition] = finished_beyond(each.offset, each.metadata)
        except KafkaException as error:
            log.warning("what was finished beyond the committed offsets is not known, it is repeated: %s", error)
            skips = {(each.topic, each.partition): set() for each in partitions}
        self._loop.call_soon_threadsafe(self._assigned, skips)
        log.info(
            "%d partitions taken over, %d tasks beyond their offsets are done",
            len(skips),
            sum(map(len, skips.values())),
        )

    def _on_revoke(self, _: Any, partitions: Sequence[Any]) -> None:
        gone = self._let_go(partitions)
        if self._stopping.is_set():
            return
        releasing = asyncio.run_coroutine_threadsafe(_awaited(self._release(gone)), self._loop)
        try:
            self.commit(releasing.result(_RELEASE_S), wait=True)
        except TimeoutError:
            releasing.cancel()
            self._loop.call_soon_threadsafe(self._lose, gone)
            log.warning("deliveries of %d partitions did not come to rest in time; they are repeated", len(gone))

    def _on_lost(self, _: Any, partitions: Sequence[Any]) -> None:
        gone = self._let_go(partitions)
        log.warning("%d partitions were taken away; what was on the way is repeated", len(gone))
        self._loop.call_soon_threadsafe(self._lose, gone)

    def _let_go(self, partitions: Sequence[Any]) -> set[Partition]:
        """Wake nobody of these partitions any more: asleep is not handed over, the next owner reads them again."""
        gone = {(each.topic, each.partition) for each in partitions}
        for partition in gone & self._sleeping.keys():
            del self._sleeping[partition], self._wakes[partition]
        return gone


async def _awaited(awaitable: Awaitable[list[Position]]) -> list[Position]:
    return await awaitable
