"""Makes bodies durable: awaits the broker's acknowledgement, with a deadline no request outlives.

Delivery reports are served from the event loop: a callback thread would cost a wake-up of the loop for each one.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Any, Protocol

from fleetline.kafka_trouble import kafka_trouble, log_trouble
from fleetline.settings import Settings
from ingress.errors import NotDurable, RejectedRequest, TooLarge

log = logging.getLogger(__name__)

DEADLINE_S = 4.3
"""Two LoRaWAN networks give up after 5 s and never send again (sources.md 0.1), so nobody waits longer than this."""
_MESSAGE_TIMEOUT_MS = 4000
_POLL_S = 0.001
_FRESH_S = 5.0
"""How long an acknowledgement proves the broker reachable."""
_ASK_S = 1.0
_LOOK_EVERY_S = 0.25
_LOG_EVERY_S = 10.0
_TOO_LARGE = "the record is larger than the broker takes"


class Producer(Protocol):
    """What the endpoint needs: the real one below, and an in-memory one in tests."""

    @property
    def is_available(self) -> bool:
        """Whether the broker is believed to be reachable."""

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once the record is durable. Raises NotDurable otherwise; the record may then still arrive late."""

    async def is_reachable(self) -> bool:
        """Find out whether the broker can be used, within about a second."""

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""


class KafkaProducer:
    """An idempotent `acks=all` producer behind `append`.

    A record answered with NotDurable may still reach the topic: the sender repeats it, and the repetition has the same
    canonical ids. While the broker is known to be away, requests fail at once and the broker is asked in the background.
    It is known to be away when every connection is lost, and when a record timed out without any acknowledgement since: a
    broker that hangs keeps its connections.
    """

    def __init__(self, settings: Settings) -> None:
        self._config = {
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
        self._rdkafka = self._client()
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._outstanding = 0
        self._acknowledged_at = float("-inf")
        self._away = False
        self._broken = False
        self._wake = asyncio.Event()
        self._asking = asyncio.Lock()
        self._asked: tuple[float, bool] = (float("-inf"), False)
        self._logged_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def _client(self) -> Any:
        from confluent_kafka import Producer as RdKafka

        return RdKafka(self._config)

    @property
    def is_available(self) -> bool:
        """Whether the broker is believed to be reachable."""
        return not self._away

    async def start(self) -> None:
        """Begin to serve delivery reports."""
        self._loop = asyncio.get_running_loop()  # asking for it costs a system call each time
        self._tasks = [asyncio.create_task(self._serve_reports()), asyncio.create_task(self._look_for_broker())]

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""
        deadline = time.monotonic() + DEADLINE_S
        while self._outstanding and time.monotonic() < deadline:  # noqa: ASYNC110  reports are served meanwhile
            await asyncio.sleep(_POLL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Return once every in-sync replica has the record. Raises NotDurable after the deadline at the latest.

        Raises TooLarge for a record the broker will never take: told 503, the sender would repeat it for ever.
        """
        if self._away:
            raise NotDurable("the broker is away")
        now = time.monotonic()
        loop = self._loop or asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def on_delivery(error: Any, _: Any) -> None:
            self._outstanding -= 1
            if error is None:
                self._acknowledged_at = time.monotonic()
                if self._away:
                    self._is_back()
                if not done.done():
                    done.set_result(None)
            else:
                rejected = self._rejection(error, now)
                if not done.done():
                    done.set_exception(rejected)

        try:
            self._rdkafka.produce(topic, value, key, on_delivery=on_delivery, headers=headers)
        except BufferError:
            raise NotDurable("the send queue is full") from None
        except Exception as error:
            # librdkafka refuses locally: a record over message.max.bytes, a client that has failed for good.
            raise self._rejection(error.args[0], now) from error
        if not self._outstanding:
            self._wake.set()
        self._outstanding += 1
        self._waiting.append((now + DEADLINE_S, done))
        await done

    async def is_reachable(self) -> bool:
        """Tell whether the broker acknowledged something lately or answers now; for the readiness probe."""
        if not self._away and time.monotonic() - self._acknowledged_at < _FRESH_S:
            return True
        async with self._asking:
            asked_at, answer = self._asked
            if time.monotonic() - asked_at >= _ASK_S:
                answer = await self._answers()
                self._asked = (time.monotonic(), answer)
            return answer

    async def _answers(self) -> bool:
        try:
            await asyncio.to_thread(self._rdkafka.list_topics, timeout=_ASK_S)
        except Exception as error:  # noqa: BLE001  whatever it is, the broker cannot be used
            log.info("broker not reachable: %s", error)
            return False
        if self._away:
            self._is_back()
        return True

    async def _look_for_broker(self) -> None:
        """Notice that the broker is back, so that no sender has to wait for finding out."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if self._away:
                await self.is_reachable()

    async def _serve_reports(self) -> None:
        waiting = self._waiting
        while True:
            try:
                self._rdkafka.poll(0)
                if self._broken:
                    self._begin_anew()
            except Exception:  # without this loop nobody would ever get an answer
                log.exception("serving delivery reports failed")
            now = time.monotonic()
            while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
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

    def _rejection(self, error: Any, produced_at: float) -> RejectedRequest:
        """Draw the consequences of a record that was not taken, and say what its sender is told."""
        from confluent_kafka import KafkaError

        code = error.code() if isinstance(error, KafkaError) else None
        if code in {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}:
            return TooLarge(_TOO_LARGE)
        if isinstance(error, KafkaError) and error.fatal():
            self._broken = True
        if code == KafkaError._MSG_TIMED_OUT and self._acknowledged_at < produced_at:  # noqa: SLF001  its public name
            self._goes_away("no acknowledgement in time")
        elif time.monotonic() - self._logged_at > _LOG_EVERY_S:
            # An unknown topic or a missing permission does not pass by itself: see the reason and mend it at the broker.
            self._logged_at = time.monotonic()
            log.error("the broker does not take records: %s", kafka_trouble(error) or error)
        return NotDurable("the record could not be made durable")

    def _on_error(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.fatal():
            self._broken = True
            log.error("the Kafka client failed for good: %s", error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  its public name
            self._goes_away("every connection is lost")
        else:
            log_trouble(error)

    def _begin_anew(self) -> None:
        """Replace a client that failed for good, as an idempotent one does when the broker forgot its sequence."""
        broken, self._rdkafka, self._broken = self._rdkafka, self._client(), False
        broken.purge()
        broken.flush(0)  # answers whoever still waits for it
        self._outstanding = 0
        log.warning("the Kafka client was replaced")

    def _goes_away(self, reason: str) -> None:
        if not self._away:
            log.warning("the broker is away (%s); answering 503 until it is back", reason)
        self._away = True

    def _is_back(self) -> None:
        log.warning("the broker is back")
        self._away = False


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
