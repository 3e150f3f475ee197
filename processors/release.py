"""Release: when a device becomes known, its records that wait in `unmapped` go to telemetry (AC-a41, DM-a19).

Guarantee: at least once, with the ids the records always had, so ClickHouse and webhooks count each once; a sender's records
go in the order they came in. Nothing of one tenant is released to another's device. What is written after the release takes
the normal way at once and may so stand before it in `telemetry`, as late data from a device's own memory does.

Order of effects: telemetry is durable before `unmapped` says so, and saying so is what keeps a later owner of the partition from
releasing again. A crash in between releases the records of one fetch again, with the same ids.

Nothing is kept but in `unmapped` itself: see `processors.inbox`. Whoever gets a partition reads what waits in it, from the first
waiting record on, so the time to begin and the reach of a release are bounded by the retention of the topic.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fleetline.settings import Settings
from processors.forward import Forward, name_device
from processors.inbox import Inbox
from processors.output import Output
from processors.sender import Sender, parse_sender
from registry.view import EVERY_TENANT, RegistryView
from schemas.records import telemetry_reader
from schemas.topics import RELEASED_OFFSET, RELEASED_TO, SENDER

log = logging.getLogger(__name__)

MAX_SENDERS = 200_000
"""Unknown senders one process lists: about 100 MB. Those beyond cost no memory, but a change of the registry more time."""
_FETCH = 5_000
_POLL_S = 0.2
_COMMIT_S = 5.0
_PRUNE_S = 600.0
_SHARE = 10
"""Looking for senders again takes at most one part in so many of the time, however fast the registry changes."""


class Releaser:
    """One member of the group that owns the partitions of `unmapped`. Runs in a thread of its own, or step by step.

    `end` is called when it cannot go on: the process must then end and be started again, nothing is lost by that.
    """

    def __init__(self, settings: Settings, view: RegistryView, *, max_senders: int = MAX_SENDERS) -> None:
        self._topic = settings.topics.unmapped
        self._view = view
        self._max_senders = max_senders
        self._changed: deque[str] = deque()
        self._offer: Callable[[bytes], None] | None = None
        self._inboxes: dict[int, Inbox] = {}
        self._not_before: dict[int, float] = {}
        self._sweep_began: dict[int, float] = {}
        self._committed: dict[int, int] = {}
        self._rebalanced = False
        self._sought: dict[int, int] = {}
        """Partition -> where it was sent back to: if the next record still is a later one, there is none in between."""
        self._look_after = self._commit_after = 0.0
        self._prune_after = time.monotonic() + _PRUNE_S
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._output = Output(settings)
        self._forward = Forward(settings.topics, self._output)
        self._read = telemetry_reader()
        view.watch(self._changed.append)
        self._consumer = self._subscribe(settings)

    def _subscribe(self, settings: Settings) -> Any:
        from confluent_kafka import Consumer

        instance = os.environ.get("FLEETLINE_INSTANCE_ID")
        consumer = Consumer(
            {
                **settings.kafka_config(),
                **({"group.instance.id": instance} if instance else {}),
                "group.id": f"{settings.topic_prefix}unmapped",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                # Who keeps a partition keeps its list: taking one over means reading all that waits in it.
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": settings.kafka_session_timeout_ms,
                "heartbeat.interval.ms": settings.kafka_session_timeout_ms // 4,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": settings.kafka_message_max_bytes,
                "queued.max.messages.kbytes": 32 * 1024,
            }
        )
        consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        return consumer

    def offer_unknown_to(self, offer: Callable[[bytes], None]) -> None:
        """Have `offer` called with each sender that still waits, of tenants that want devices to be made by themselves."""
        self._offer = offer

    def look_again(self, tenant_id: str) -> None:
        """Look for the devices of a tenant's senders as if something of it had changed. From any thread."""
        self._changed.append(tenant_id)

    # --- the thread --------------------------------------------------------------------------------------------------

    def start(self, end: Callable[[], None]) -> None:
        """Release in a thread until `stop`; call `end` when that is no longer possible."""

        def run() -> None:
            try:
                while not self._stopping.is_set():
                    self.step()
            except Exception:
                log.critical(
                    "waiting records can no longer be released; this worker must be started again", exc_info=True
                )
                end()

        self._thread = threading.Thread(target=run, name="release", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and leave the group."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()

    # --- one step ----------------------------------------------------------------------------------------------------

    def step(self) -> int:
        """Read what there is, for at most a fraction of a second, and return how many records were released.

        Raises NotFlushed when Kafka did not take them: none of them counts as released then.
        """
        gone: list[tuple[Any, bytes, str]] = []
        stale: set[int] = set()
        if self._rebalanced:
            self._hold_places()
        for message in self._consumer.consume(_FETCH, _POLL_S):
            inbox = self._inboxes.get(message.partition())
            if inbox is None or message.partition() in stale:
                continue
            if message.error() is not None:
                self._trouble(inbox, message)
                continue
            if not self._is_in_place(inbox, message.partition(), message.offset()):
                stale.add(message.partition())  # what else this fetch brought of it is from before the seek
                continue
            sender = inbox.take(message)
            if sender is not None:
                device = self._release(inbox, sender, message)
                if device:
                    gone.append((message, sender, device))
        if gone:
            self._note(gone)
        self._look()
        for partition, inbox in self._inboxes.items():
            self._begin_sweep(partition, inbox)
        self._keep_house()
        return len(gone)

    def _trouble(self, inbox: Inbox, message: Any) -> None:
        from confluent_kafka import KafkaError

        if message.error().code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
            log.warning("unmapped: %s", message.error())
            return
        if inbox.sweep is not None:
            self._end_sweep(message.partition(), inbox)
        inbox.ends(message.offset())
        if not inbox.complete:
            inbox.complete = True
            inbox.hunt()
            log.info("unmapped[%d]: %d unknown senders wait", message.partition(), len(inbox.waiting))

    def _is_in_place(self, inbox: Inbox, partition: int, offset: int) -> bool:
        if inbox.sweep is not None:
            if offset >= inbox.position and not self._end_sweep(partition, inbox):
                return False
        elif offset < inbox.position:
            log.warning("unmapped[%d] goes on at %d, before %d: it is read anew", partition, offset, inbox.position)
            inbox.forget()
        if inbox.skips(offset) and self._sought.get(partition) != inbox.position:
            self._seek(partition, inbox.position)  # else nobody would ever know of what was passed over
            return False
        return True

    def _hold_places(self) -> None:
        """Go on where the reading was.

        When partitions change hands librdkafka takes those that stay up again one record too far, if their end had been seen.
        """
        self._rebalanced = False
        for partition, inbox in self._inboxes.items():
            if inbox.complete and inbox.sweep is None:
                self._seek(partition, inbox.position)

    def _seek(self, partition: int, offset: int) -> None:
        from confluent_kafka import TopicPartition

        log.debug("unmapped[%d] is read on from %d", partition, offset)
        self._sought[partition] = offset
        self._consumer.seek(TopicPartition(self._topic, partition, offset))

    def _release(self, inbox: Inbox, sender: bytes, message: Any) -> str:
        """Produce a record under its device and return that; nothing when the device cannot be found any more."""
        found = _sender(sender).identify(self._view)
        if not found.device_id:
            inbox.hold(sender)
            return ""
        try:
            record = self._read(message.value())
        except Exception:  # noqa: BLE001  foreign bytes, quarantined by the loader, must not hold up what is behind them
            log.warning("unmapped[%d] %d cannot be decoded and is passed over", message.partition(), message.offset())
        else:
            name_device(record, found)
            self._forward(record)
        inbox.released(sender, message.offset())
        return found.device_id

    def _note(self, gone: list[tuple[Any, bytes, str]]) -> None:
        """Write down in `unmapped` what was released, once it is durable in telemetry."""
        self._output.wait()
        for message, sender, device in gone:
            headers = [
                (SENDER, sender),
                (RELEASED_TO, device.encode()),
                (RELEASED_OFFSET, b"%d" % message.offset()),
            ]
            self._output.produce(self._topic, message.key() or b"", message.value(), headers, message.partition())
        self._output.wait()

    # --- who became known --------------------------------------------------------------------------------------------

    def _knows(self, sender: bytes) -> bool:
        return bool(_sender(sender).identify(self._view).device_id)

    @property
    def _listed(self) -> int:
        return sum(len(each.waiting) for each in self._inboxes.values())

    def _has_room(self) -> bool:
        return self._listed < self._max_senders

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._look_after:
            return
        changed: set[str] = set()
        while self._changed:
            changed.add(self._changed.popleft())
        for inbox in self._inboxes.values():
            if not inbox.complete:
                continue  # all of its senders are fresh
            fresh, inbox.fresh = inbox.fresh, []
            self._offer_all(inbox, inbox.look(fresh))
            for tenant in inbox.tenants if EVERY_TENANT in changed else changed & inbox.tenants.keys():
                self._offer_all(inbox, inbox.look(inbox.tenants[tenant]))
            if changed:
                inbox.hunt()
        self._look_after = now + _SHARE * (time.monotonic() - now)

    def _offer_all(self, inbox: Inbox, unknown: list[bytes]) -> None:
        if self._offer is None:
            return
        wanted: dict[str, bool] = {}
        for sender in unknown:
            tenant = inbox.waiting[sender].tenant_id
            if tenant not in wanted:
                wanted[tenant] = bool(self._view.settings_of(tenant).auto_register)
            if wanted[tenant]:
                self._offer(sender)

    def _begin_sweep(self, partition: int, inbox: Inbox) -> None:
        from confluent_kafka import TopicPartition

        if time.monotonic() < self._not_before.get(partition, 0.0):
            return
        offset = inbox.begin_sweep()
        if offset >= 0:
            why = inbox.sweep.value if inbox.sweep is not None else ""
            log.info("unmapped[%d]: reading %d to %d again, to %s", partition, offset, inbox.position, why)
            self._sweep_began[partition] = time.monotonic()
            self._consumer.seek(TopicPartition(self._topic, partition, offset))

    def _end_sweep(self, partition: int, inbox: Inbox) -> bool:
        """End a sweep, and rest as long as it took before the next. False when the log must be read anew."""
        now = time.monotonic()
        self._not_before[partition] = 2 * now - self._sweep_began[partition]
        left = inbox.end_sweep()
        if left:
            self._drop_expired(partition, inbox)
            left = [each for each in left if each in inbox.waiting]
        if left:
            log.warning("unmapped[%d]: %d senders' records did not come; reading all of it again", partition, len(left))
            self._read_anew(partition, inbox)
        return not left

    def _read_anew(self, partition: int, inbox: Inbox) -> None:
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        inbox.forget()
        self._consumer.seek(TopicPartition(self._topic, partition, OFFSET_BEGINNING))

    # --- housekeeping ------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now >= self._commit_after:
            self._commit_after = now + _COMMIT_S
            self._commit()
        if now >= self._prune_after:
            self._prune_after = now + _PRUNE_S
            self._prune()

    def _commit(self) -> None:
        """Commit where the next owner has to begin. A commit refused or lost only makes it read more."""
        from confluent_kafka import TopicPartition

        bases = {partition: inbox.base for partition, inbox in self._inboxes.items() if inbox.complete}
        moved = {partition: base for partition, base in bases.items() if self._committed.get(partition) != base}
        if moved:
            offsets = [TopicPartition(self._topic, partition, base) for partition, base in moved.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._committed.update(moved)

    def _prune(self) -> None:
        half_empty = 2 * self._listed < self._max_senders
        for partition, inbox in self._inboxes.items():
            self._drop_expired(partition, inbox)
            if half_empty and inbox.unlisted_from >= 0 and inbox.sweep is None:
                self._read_anew(partition, inbox)

    def _drop_expired(self, partition: int, inbox: Inbox) -> None:
        """Take the senders off the list whose records have all been deleted by the retention of the topic."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=10)
        except KafkaException as error:
            log.warning("unmapped[%d]: its beginning is not known for now: %s", partition, error)
            return
        for sender in [sender for sender, each in inbox.waiting.items() if each.last < low]:
            inbox.drop(sender)

    def _on_assign(self, _: Any, partitions: list[Any]) -> None:
        self._rebalanced = True
        for each in partitions:
            self._inboxes[each.partition] = Inbox(self._knows, self._has_room)

    def _on_revoke(self, _: Any, partitions: list[Any]) -> None:
        self._rebalanced = True
        for each in partitions:
            self._inboxes.pop(each.partition, None)
            self._not_before.pop(each.partition, None)
            self._committed.pop(each.partition, None)
            self._sought.pop(each.partition, None)


@lru_cache(maxsize=4096)
def _sender(header: bytes) -> Sender:
    return parse_sender(header)
