"""Kafka to ClickHouse, effectively exactly once: the range is written down before the insert and the insert names its range.

For each partition, in this order:

1. commit offset = first with the metadata "first-last" (what is about to be inserted);
2. insert those rows with a token made of topic id, partition, first and last;
3. commit offset = last + 1.

A crash before 2 or after it looks the same to the next owner: it finds the pending range, reads exactly those offsets again, and
inserts the same rows under the same token, which ClickHouse drops if it has them. The guarantee holds within the
deduplication window of the tables (10,000 inserts); every row carries topic, partition and offset, and `verify` checks it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from fleetline.settings import Settings
from schemas import topics as names
from sinks.clickhouse.ranges import Buffer, OffsetRange, insert_token, parse_pending
from sinks.clickhouse.tables import Table, tables

log = logging.getLogger(__name__)

ROWS_VERSION = 1
"""Part of every token. Raise it when the same records give other rows."""
MAX_RECORDS = 50_000
MAX_BYTES = 64 * 1024 * 1024
LINGER_S = 0.5
_FETCH = 10_000
_COMMITTED_S = 30.0
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_WANTED_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "materialized_views_ignore_errors": 0,
    "max_partitions_per_insert_block": 0,
    "wait_end_of_query": 1,
}
"""Sent with every insert, so that no server profile or version changes what a retry means. `max_partitions_…` is
off because a device that replays months of memory touches a partition per month."""

Checkpoint = Callable[[str], None]
"""Called at named points; tests end the process there."""
TpKey = tuple[str, int]


class Revoked(Exception):
    """The partition belongs to another loader now; its pending range is that one's to insert."""


class Loader:
    """One consumer and one ClickHouse client. `step` does a bounded piece of work; call it until told to stop."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        *,
        max_records: int = MAX_RECORDS,
        linger_s: float = LINGER_S,
        checkpoint: Checkpoint = lambda _: None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._max_records = max_records
        self._linger_s = linger_s
        self._checkpoint = checkpoint
        self._tables = tables(settings.topics)
        self._buffers: dict[TpKey, Buffer] = {}
        self._topic_ids: dict[str, str] = {}
        self._insert_settings = {
            name: value for name, value in _WANTED_SETTINGS.items() if name in client.server_settings
        }
        self._stopping = False
        self._quarantined: Any = None
        self._consumer = self._subscribe()

    def _subscribe(self) -> Any:
        from confluent_kafka import Consumer

        consumer = Consumer(
            {
                **self._settings.kafka_config(),
                "group.id": f"{self._settings.topic_prefix}clickhouse",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",  # the audit trail is written in transactions; aborted ones never were
                "enable.partition.eof": True,
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": self._settings.kafka_session_timeout_ms,
                "heartbeat.interval.ms": self._settings.kafka_session_timeout_ms // 4,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": self._settings.kafka_message_max_bytes,
                "queued.max.messages.kbytes": 64 * 1024,
                "queued.min.messages": 100_000,
            }
        )
        consumer.subscribe(
            list(self._tables), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        return consumer

    def step(self) -> int:
        """Fetch, and insert what is due. Returns the number of rows inserted; raises Revoked never."""
        self._take(self._consumer.consume(_FETCH, 0.1))
        now = time.monotonic()
        due = [
            key
            for key, buffer in self._buffers.items()
            if buffer.is_due(now, self._max_records, MAX_BYTES, self._linger_s)
        ]
        rows = self._load(due) if due else 0
        self._pass_marks()
        return rows

    def stop(self) -> None:
        """Give up what is in flight at the next possibility; what was written ahead is replayed by the next owner."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _take(self, messages: Iterable[Any]) -> None:
        from confluent_kafka import KafkaError

        now = time.monotonic()
        for message in messages:
            error = message.error()
            buffer = self._buffers.get((message.topic(), message.partition()))
            if error is None:
                if buffer is not None:
                    buffer.add(message, now)
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
                log.warning("kafka: %s", error)
            elif buffer is not None:
                buffer.reach_end(message.offset())

    def _pass_marks(self) -> None:
        """Commit past the marks of transactions at the end of a partition: its lag would never be 0 and keep a loader awake."""
        drained = {key: buffer.end for key, buffer in self._buffers.items() if buffer.is_drained}
        passed = [(key, end) for key, end in drained.items() if self._tables[key[0]].transactional]
        if not passed:
            return
        try:
            self._commit([(key, end, "") for key, end in passed])
        except Revoked as revoked:
            log.info("gave up a commit: %s", revoked)
            self._forget()
        else:
            self._note_committed(passed)

    def _note_committed(self, offsets: Iterable[tuple[TpKey, int]]) -> None:
        for key, offset in offsets:
            buffer = self._buffers.get(key)
            if buffer is not None:
                buffer.committed = offset

    def _load(self, due: Sequence[TpKey]) -> int:
        batches: list[tuple[TpKey, OffsetRange, list[Any]]] = []
        for key in due:
            offsets, records = self._buffers[key].cut(self._max_records)
            batches.append((key, offsets, records))
        rows = 0
        try:
            self._commit([(key, offsets.first, offsets.metadata) for key, offsets, _ in batches])
            self._checkpoint("written-ahead")
            for key, offsets, records in batches:
                rows += self._insert(key, offsets, records)
                self._checkpoint("inserted")
            self._commit([(key, offsets.last + 1, "") for key, offsets, _ in batches])
            self._note_committed((key, offsets.last + 1) for key, offsets, _ in batches)
            self._checkpoint("committed")
        except Revoked as revoked:
            log.info("gave up a batch: %s", revoked)
            self._forget()
        return rows

    def _insert(self, key: TpKey, offsets: OffsetRange, records: list[Any]) -> int:
        """Insert one batch, however often it takes: same rows, same token. Raises Revoked when it is not ours any more."""
        table = self._tables[key[0]]
        rows, kept = self._rows(table, records)
        if not rows:
            return 0
        columns = table.columns(rows, kept)
        settings = {
            **self._insert_settings,
            "insert_deduplication_token": insert_token(self._topic_id(key[0]), key[1], offsets, ROWS_VERSION),
        }
        attempt = 0
        while True:
            try:
                self._client.insert(
                    table.name,
                    columns,
                    column_names=table.column_names,
                    column_type_names=table.column_types,
                    column_oriented=True,
                    settings=settings,
                )
            except (ClickHouseError, OSError) as error:
                # The rows may or may not be there; the token makes the next try safe either way.
                pause = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
                log.warning("insert of %s %s failed, again in %s s: %s", key, offsets.metadata, pause, str(error)[:500])
                self._wait(pause, key)
                attempt += 1
            else:
                return len(rows)

    def _rows(self, table: Table, records: list[Any]) -> tuple[list[Any], list[Any]]:
        rows: list[Any] = []
        kept: list[Any] = []
        foreign: list[tuple[Any, Exception]] = []
        for record in records:
            try:
                rows.append(table.read(record))
                kept.append(record)
            except Exception as error:  # noqa: BLE001  foreign bytes must cost one record, not the partition
                foreign.append((record, error))
        if foreign:
            self._quarantine(foreign)
        return rows, kept

    def _quarantine(self, foreign: list[tuple[Any, Exception]]) -> None:
        """Keep records that are none of ours, durably, before their range counts as done."""
        from confluent_kafka import Producer

        if self._quarantined is None:
            self._quarantined = Producer({**self._settings.kafka_config(), "acks": "all", "enable.idempotence": True})
        for record, error in foreign:
            headers = [
                *(record.headers() or ()),
                (names.QUARANTINE_REASON, b"undecodable_record"),
                (names.QUARANTINE_DETAIL, f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace")),
                (names.QUARANTINE_STAGE, b"clickhouse"),
                (names.QUARANTINE_INDEX, b"-1"),
                (names.ORIGIN_TOPIC, record.topic().encode()),
                (names.ORIGIN_PARTITION, b"%d" % record.partition()),
                (names.ORIGIN_OFFSET, b"%d" % record.offset()),
            ]
            self._quarantined.produce(
                self._settings.topics.quarantine, record.value() or b"", b"clickhouse", headers=headers
            )
        if self._quarantined.flush(30):
            raise RuntimeError("foreign records could not be quarantined; the loader must be started again")

    def _wait(self, seconds: float, key: TpKey) -> None:
        """Pause between tries while staying a member of the group. Raises Revoked when the wait should be the end."""
        until = time.monotonic() + seconds
        self._consumer.pause(self._consumer.assignment())
        while time.monotonic() < until:
            self._take(self._consumer.consume(100, 0.1))
            if self._stopping:
                raise Revoked("stopping")
            if key not in self._buffers:
                raise Revoked(f"{key} was revoked")
        self._consumer.resume(self._consumer.assignment())

    def _commit(self, offsets: Sequence[tuple[TpKey, int, str]]) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        wanted = [
            TopicPartition(topic, partition, offset, metadata) for (topic, partition), offset, metadata in offsets
        ]
        try:
            self._consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            # A generation that is over: the range belongs to whoever owns the partition now.
            raise Revoked(f"commit refused: {error}") from error

    def _forget(self) -> None:
        """Drop everything buffered and start again from what is committed: the same as a new assignment."""
        from confluent_kafka import KafkaException

        assigned = self._consumer.assignment()
        self._buffers.clear()
        if assigned and not self._stopping:
            try:
                self._on_assign(self._consumer, assigned)
                self._consumer.resume(assigned)
            except KafkaException as error:
                log.warning("cannot read the committed offsets: %s", error)
                raise

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        """Start each partition at its committed offset; a pending range first, exactly as it was written ahead."""
        from confluent_kafka import OFFSET_BEGINNING

        for tp in _committed(consumer, partitions) if partitions else []:
            pending = parse_pending(tp.metadata, tp.offset)
            if pending is not None:
                log.info("replaying %s[%d] %s", tp.topic, tp.partition, pending.metadata)
            self._buffers[tp.topic, tp.partition] = Buffer(pending, tp.offset)
            if tp.offset < 0:
                tp.offset = OFFSET_BEGINNING
            for wanted in partitions:
                if (wanted.topic, wanted.partition) == (tp.topic, tp.partition):
                    wanted.offset = tp.offset
        consumer.assign(partitions)

    def _on_revoke(self, consumer: Any, partitions: list[Any]) -> None:
        for tp in partitions:
            self._buffers.pop((tp.topic, tp.partition), None)
        consumer.unassign()

    def _topic_id(self, topic: str) -> str:
        if topic not in self._topic_ids:
            from confluent_kafka import TopicCollection
            from confluent_kafka.admin import AdminClient

            admin = AdminClient({**self._settings.kafka_config(), "log_level": 2})
            described = admin.describe_topics(TopicCollection([topic]), request_timeout=30)[topic].result()
            self._topic_ids[topic] = str(described.topic_id)
        return self._topic_ids[topic]


def _committed(consumer: Any, partitions: list[Any]) -> Any:
    """Read the committed offsets. A broker that has just come back does not know for a moment who coordinates the group."""
    from confluent_kafka import KafkaException
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

    def passes(error: BaseException) -> bool:
        return isinstance(error, KafkaException) and bool(error.args[0].retriable())

    patiently = Retrying(
        retry=retry_if_exception(passes), wait=wait_fixed(0.2), stop=stop_after_delay(_COMMITTED_S), reraise=True
    )
    return patiently(consumer.committed, partitions, timeout=_COMMITTED_S)
