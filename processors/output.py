"""Where the processors write: a producer that is flushed before a chunk is acknowledged."""

import asyncio
import logging
from typing import Any

from fleetline.settings import Settings

log = logging.getLogger(__name__)

FLUSH_TIMEOUT_S = 60.0

Headers = list[tuple[str, bytes]]


class NotFlushed(RuntimeError):
    """Something produced was not acknowledged. The chunk must not be: end the worker, the next one reads it again."""


class Output:
    """An idempotent `acks=all` producer. Only failures call back, so a record costs no Python callback."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Producer

        self._failure = ""
        self._producer = Producer(
            {
                **settings.kafka_config(),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 512 * 1024,
                "delivery.timeout.ms": int(FLUSH_TIMEOUT_S * 1000),
            }
        )

    def _on_failure(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failure = f"{message.topic()}: {error}"

    def produce(
        self, topic: str, key: bytes, value: bytes, headers: Headers | None = None, partition: int = -1
    ) -> None:
        """Hand a record over; blocks while the queue is full, so nothing is ever dropped for want of room."""
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
            except BufferError:
                self._producer.poll(0.1)
                self._raise_failure()
            else:
                return

    async def flush(self) -> None:
        """Return once everything handed over is acknowledged by all in-sync replicas. Raises NotFlushed otherwise."""
        left = self._producer.flush(0) if len(self._producer) else 0
        if left:
            left = await asyncio.get_running_loop().run_in_executor(None, self._producer.flush, FLUSH_TIMEOUT_S)
        self._check(left)

    def wait(self) -> None:
        """Do what `flush` does, in a thread that may block."""
        self._check(self._producer.flush(FLUSH_TIMEOUT_S))

    def _check(self, left: int) -> None:
        self._raise_failure()
        if left:
            raise NotFlushed(f"{left} records not acknowledged within {FLUSH_TIMEOUT_S:.0f} s")

    def _raise_failure(self) -> None:
        if self._failure:
            raise NotFlushed(self._failure)
