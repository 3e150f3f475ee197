"""Proves what the loader promises: every record of a topic is one row, and only one."""

import time
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from fleetline.settings import Settings
from sinks.clickhouse.tables import Table, tables

Place = tuple[int, int]
"""(partition, offset)."""
_PATIENCE_S = 30.0


class Verdict(msgspec.Struct, frozen=True):
    """What one topic's rows look like against its records. `missing`, `doubled` and `foreign` are what must be zero.

    `foreign` counts rows of offsets that are no record, so of aborted transactions; looked for where there are such.
    """

    topic: str
    expected: int
    rows: int
    missing: int
    doubled: int
    foreign: int = 0

    @property
    def holds(self) -> bool:
        """Whether there is exactly one row per record."""
        return not self.missing and not self.doubled and not self.foreign


def verify(settings: Settings, client: Client, topic: str) -> Verdict:
    """Compare the storage rows of `topic` with Kafka's offsets, or its committed records where it is written in transactions.

    Rows that replaced each other in a merge (a message its sender sent twice) count as present when the surviving copy
    is there; so run it before merges, or on a topic without re-sent messages, for an exact account. A transactional topic is
    read to its end, and all its offsets held in memory. Raises TimeoutError when that does not come forward.
    """
    table = tables(settings.topics)[topic]
    if table.transactional:
        return _compare(table, client, _committed_places(settings, topic))
    expected = sum(end - start for start, end in _watermarks(settings, topic))
    query = (
        f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {table.name}"  # noqa: S608  our own table's name
        " WHERE kafka_topic = {topic:String}"
    )
    rows, distinct = client.query(query, parameters={"topic": topic}).result_rows[0]
    return Verdict(topic=topic, expected=expected, rows=rows, missing=expected - distinct, doubled=rows - distinct)


def _compare(table: Table, client: Client, records: set[Place]) -> Verdict:
    query = (
        f"SELECT kafka_partition, kafka_offset FROM {table.name}"  # noqa: S608  our own table's name
        " WHERE kafka_topic = {topic:String}"
    )
    rows: list[Place] = [(row[0], row[1]) for row in client.query(query, parameters={"topic": table.topic}).result_rows]
    stored = set(rows)
    return Verdict(
        topic=table.topic,
        expected=len(records),
        rows=len(rows),
        missing=len(records - stored),
        doubled=len(rows) - len(stored),
        foreign=len(stored - records),
    )


def _committed_places(settings: Settings, topic: str) -> set[Place]:
    """Read a topic to its end as whoever reads committed records only."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

    consumer = Consumer({**_config(settings), "isolation.level": "read_committed", "enable.partition.eof": True})
    try:
        waiting = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in waiting])
        found: set[Place] = set()
        heard = time.monotonic()
        while waiting:
            messages = consumer.consume(10_000, 0.1)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > _PATIENCE_S:
                raise TimeoutError(f"{topic} cannot be read to its end")
            for message in messages:
                error = message.error()
                if error is None:
                    found.add((message.partition(), message.offset()))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
                    waiting.discard(message.partition())
                else:
                    raise KafkaException(error)
        return found
    finally:
        consumer.close()


def _watermarks(settings: Settings, topic: str) -> list[tuple[int, int]]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(_config(settings))
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10) for each in partitions]
    finally:
        consumer.close()


def _config(settings: Settings) -> dict[str, Any]:
    return {**settings.kafka_config(), "group.id": f"{settings.topic_prefix}verify", "enable.auto.commit": False}
