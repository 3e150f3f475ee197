"""Makes bodies durable: awaits the broker's acknowledgement, with a deadline no request outlives.

Delivery reports are served from the event loop: a callback thread would cost a wake-up of the loop for each one.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Any, Protocol

from fleetline.settings import Settings
from ingress.errors import NotDurable

log = logging.getLogger(__name__)

DEADLINE_S = 4.3
"""Two LoRaWAN networks give up after 5 s and never send again (sources.md 0.1), so nobody waits longer than this."""
_MESSAGE_TIMEOUT_MS = 4000
_POLL_S = 0.001


class Producer(Protocol):
    """What the endpoint needs: the real one below, and an in-memory one in tests."""

    @property
    def is_available(self) -> bool:
        """Whether the broker is believed to be reachable."""

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once the record is durable. Raises NotDurable otherwise; the record may then still arrive late."""

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""


class KafkaProducer:
    """An idempotent `acks=all` producer behind `append`.

    A record answered with NotDurable may still reach the topic: the sender repeats it, and the repetition has the same
    canonical ids. While the broker is known to be away, requests fail at once, except one at a time that probes it.
    """

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Producer as RdKafka

        self._rdkafka = RdKafka(
            {
                **settings.kafka_config(),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 0.5,
                "message.timeout.ms": _MESSAGE_TIMEOUT_MS,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 256 * 1024,
                "socket.nagle.disable": True,
                "error_cb": self._on_error,
            }
        )
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._outstanding = 0
        self._away = False
        self._wake = asyncio.Event()
        self._reports: asyncio.Task[None] | None = None

    @property
    def is_available(self) -> bool:
        """Whether the broker is believed to be reachable."""
        return not self._away

    async def start(self) -> None:
        """Begin to serve delivery reports."""
        self._reports = asyncio.create_task(self._serve_reports())

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""
        await asyncio.to_thread(self._rdkafka.flush, DEADLINE_S)
        if self._reports is not None:
            self._reports.cancel()
            await asyncio.gather(self._reports, return_exceptions=True)

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once every in-sync replica has the record. Raises NotDurable after the deadline at the latest."""
        if self._away and self._outstanding:
            raise NotDurable("the broker is away")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def on_delivery(error: Any, _: Any) -> None:
            self._outstanding -= 1
            if error is None:
                self._away = False
                if not done.done():
                    done.set_result(None)
            elif not done.done():
                done.set_exception(NotDurable(str(error)))

        try:
            self._rdkafka.produce(topic, value, key, on_delivery=on_delivery, headers=headers)
        except BufferError:
            raise NotDurable("the send queue is full") from None
        except Exception as error:
            # librdkafka refuses locally: an unknown topic, a record over message.max.bytes.
            raise NotDurable(str(error)) from error
        if not self._outstanding:
            self._wake.set()
        self._outstanding += 1
        self._waiting.append((loop.time() + DEADLINE_S, done))
        await done

    async def is_reachable(self) -> bool:
        """Ask the broker for its metadata; for the readiness probe."""
        if not self._away:
            return True
        try:
            await asyncio.to_thread(self._rdkafka.list_topics, timeout=1.0)
        except Exception as error:  # noqa: BLE001  whatever it is, the broker cannot be used
            log.info("broker not reachable: %s", error)
            return False
        self._away = False
        return True

    async def _serve_reports(self) -> None:
        loop = asyncio.get_running_loop()
        waiting = self._waiting
        while True:
            self._rdkafka.poll(0)
            while waiting and (waiting[0][1].done() or waiting[0][0] <= loop.time()):
                _, future = waiting.popleft()
                if not future.done():
                    future.set_exception(NotDurable("no acknowledgement in time"))
            if self._outstanding or waiting:
                await asyncio.sleep(_POLL_S)
            else:
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), 0.5)
                except TimeoutError:
                    continue

    def _on_error(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  its public name
            if not self._away:
                log.warning("every broker is away; answering 503 until one is back")
            self._away = True
        else:
            log.info("kafka: %s", error)


class MemoryProducer:
    """Keeps records in a list: the same contract without a broker, for tests and dry runs."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]] = []
        self.is_available = True
        self.appended_at: list[float] = []

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Keep the record, or raise NotDurable while `is_available` is off."""
        await asyncio.sleep(0)
        if not self.is_available:
            raise NotDurable("switched off")
        self.records.append((topic, key, value, headers))
        self.appended_at.append(time.monotonic())

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def is_reachable(self) -> bool:
        """Whether it is switched on."""
        return self.is_available
