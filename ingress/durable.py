"""Where a record becomes durable: in Kafka, or for senders that never send again in the spool.

Under pressure the senders that keep their data and come again are shed first; the others are taken until nothing is left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ingress.errors import NotDurable
from ingress.producer import DEADLINE_S, Producer
from ingress.spool import Spool
from sources.contract import OnFailure

log = logging.getLogger(__name__)

Append = Callable[[str, bytes, bytes, list[tuple[str, bytes]]], Awaitable[None]]
"""(topic, key, value, headers) -> returns once durable."""

SPOOL_AFTER_S = 2.0
"""A sender that waits 5 s and never sends again still gets its 200: what Kafka has not acknowledged by then is spooled."""
_OVERHEAD_BYTES = 1024
_RESENDERS_SHARE = 0.5


class DurableLog:
    """Takes records for all sources of one process. Awaiting an appender means: durable, or NotDurable is raised."""

    def __init__(self, producer: Producer, spool: Spool | None, max_in_flight_bytes: int) -> None:
        self._producer = producer
        self.spool = spool
        self._capacity = max_in_flight_bytes
        self._in_flight = 0
        self.shed = dict.fromkeys(OnFailure, 0)

    def appender(self, on_failure: OnFailure) -> Append:
        """Return how records of a sender of this kind are made durable."""
        return self._keep if on_failure is OnFailure.DROPS else self._append

    @property
    def in_flight_bytes(self) -> int:
        """What waits for the broker now."""
        return self._in_flight

    @property
    def is_pressed(self) -> bool:
        """Whether so much waits for the broker that senders which come again are told to come later."""
        return self._in_flight > self._capacity * _RESENDERS_SHARE

    async def _append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Append to Kafka. Raises NotDurable: the sender keeps its data and comes again."""
        size = len(value) + _OVERHEAD_BYTES
        if self.is_pressed:
            raise self._shed(OnFailure.RESENDS)
        self._in_flight += size
        try:
            await self._producer.append(topic, key, value, headers)
        finally:
            self._in_flight -= size

    async def _keep(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Append to Kafka, or to the spool when that takes too long. Raises NotDurable when the spool is full as well.

        While the spool holds records, new ones queue behind them: they reach Kafka in the order they came. A record that
        timed out may arrive twice, with the same ids.
        """
        spool = self.spool
        size = len(value) + _OVERHEAD_BYTES
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        if self._in_flight + size > self._capacity:
            raise self._shed(OnFailure.DROPS)
        self._in_flight += size
        try:
            if spool is None:
                await self._producer.append(topic, key, value, headers)
                return
            if not spool.pending:
                try:
                    async with asyncio.timeout(SPOOL_AFTER_S):
                        await self._producer.append(topic, key, value, headers)
                    return
                except (NotDurable, TimeoutError):
                    pass
            try:
                async with asyncio.timeout_at(deadline):
                    await spool.append(topic, key, value, headers)
            except TimeoutError:
                raise NotDurable("the broker is away and the disk too slow") from None
        finally:
            self._in_flight -= size

    def _shed(self, kind: OnFailure) -> NotDurable:
        self.shed[kind] += 1
        return NotDurable("too many records wait for the broker")
