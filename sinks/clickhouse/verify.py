"""Proves what the loader promises: every offset of a topic is one row, and only one."""

from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from fleetline.settings import Settings
from sinks.clickhouse.tables import tables


class Verdict(msgspec.Struct, frozen=True):
    """What one topic's rows look like against its offsets. `missing` and `doubled` are what must be zero."""

    topic: str
    expected: int
    rows: int
    missing: int
    doubled: int

    @property
    def holds(self) -> bool:
        """Whether there is exactly one row per offset."""
        return not self.missing and not self.doubled


def verify(settings: Settings, client: Client, topic: str) -> Verdict:
    """Compare the storage rows of `topic` with Kafka's offsets.

    Rows that replaced each other in a merge (a message its sender sent twice) count as present when the surviving copy
    is there; so run it before merges, or on a topic without re-sent messages, for an exact account.
    """
    table = tables(settings.topics)[topic]
    expected = sum(end - start for start, end in _watermarks(settings, topic))
    query = (
        f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {table.name}"  # noqa: S608  our own table's name
        " WHERE kafka_topic = {topic:String}"
    )
    rows, distinct = client.query(query, parameters={"topic": topic}).result_rows[0]
    return Verdict(topic=topic, expected=expected, rows=rows, missing=expected - distinct, doubled=rows - distinct)


def _watermarks(settings: Settings, topic: str) -> list[tuple[int, int]]:
    from confluent_kafka import Consumer, TopicPartition

    config: dict[str, Any] = {**settings.kafka_config(), "group.id": f"{settings.topic_prefix}verify"}
    consumer = Consumer(config)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return [consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10) for each in partitions]
    finally:
        consumer.close()
