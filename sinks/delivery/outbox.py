"""Producing with an effect: something happens once, and only once, the broker has acknowledged all of it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

_POLL_S = 0.005
_RETRY_S = 1.0

Record = tuple[str, str, bytes]
"""Topic, key, value."""


class _Effect:
    __slots__ = ("left", "outbox", "then")

    def __init__(self, outbox: "Outbox", left: int, then: Callable[[], None]) -> None:
        self.outbox = outbox
        self.left = left
        self.then = then

    def acknowledged(self, error: Any, message: Any) -> None:
        if error is not None:
            self.outbox.failed(error, message, self)
            return
        self.left -= 1
        if not self.left:
            self.outbox.pending -= 1
            self.then()


class Outbox:
    """A Kafka producer served by the event loop. Records the broker does not take are produced again until it does.

    `on_fatal` is called when the client can no longer work at all: the process must end and be started anew.
    """

    def __init__(self, settings: "Settings", on_fatal: Callable[[Exception], None]) -> None:
        from confluent_kafka import Producer

        self._producer = Producer(
            {
                **settings.kafka_config(),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "partitioner": "murmur2_random",
            },
            logger=log,
        )
        self._on_fatal = on_fatal
        self._ticking = False
        self.pending = 0
        """Effects whose records are not all acknowledged yet."""
        self._idle = asyncio.Event()
        self._idle.set()

    def send(self, records: Sequence[Record], then: Callable[[], None]) -> None:
        """Produce `records`; call `then` in the event loop once the broker has acknowledged every one of them."""
        effect = _Effect(self, len(records), then)
        self.pending += 1
        self._idle.clear()
        for topic, key, value in records:
            self._produce(topic, key, value, effect)
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_POLL_S, self._tick)

    def _produce(self, topic: str, key: str | bytes, value: bytes, effect: _Effect) -> None:
        from confluent_kafka import KafkaException

        try:
            self._producer.produce(topic, value, key, on_delivery=effect.acknowledged)
        except BufferError:
            asyncio.get_running_loop().call_later(_RETRY_S, self._produce, topic, key, value, effect)
        except KafkaException as error:
            self._on_fatal(error)

    def failed(self, error: Any, message: Any, effect: _Effect) -> None:
        """Produce a record again that was not acknowledged in time."""
        from confluent_kafka import KafkaError, KafkaException

        if error.fatal() or error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._on_fatal(KafkaException(error))
            return
        log.warning("not acknowledged, produced again: %s: %s", message.topic(), error.str())
        asyncio.get_running_loop().call_later(
            _RETRY_S, self._produce, message.topic(), message.key(), message.value(), effect
        )

    def _tick(self) -> None:
        self._producer.poll(0)
        if self.pending:
            asyncio.get_running_loop().call_later(_POLL_S, self._tick)
        else:
            self._ticking = False
            self._idle.set()

    async def flush(self, within: float) -> bool:
        """Wait until everything is acknowledged; false when it was not in time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)
        return not self.pending
