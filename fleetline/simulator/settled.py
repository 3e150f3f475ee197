"""Waiting until everything that was accepted has arrived, by what Kafka and ClickHouse say and never by the clock alone."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client

from fleetline.settings import Settings
from fleetline.simulator.account import Account
from fleetline.simulator.reconcile import Found, count_rows, look, missing_records

_POLL_S = 0.5
_QUIET_S = 5.0
_GIVEN_UP_S = 15.0
"""What is missing may still lie in a spool of the ingress that waits for its broker."""
Progress = Callable[[int], None]
"""Told how many rows are there."""


class Lag:
    """How far the processors and the loader are behind, in Kafka records."""

    def __init__(self, settings: Settings, sources: tuple[str, ...]) -> None:
        from confluent_kafka import Consumer

        topics, prefix = settings.topics, settings.topic_prefix
        self._read_by: dict[str, tuple[str, ...]] = {
            f"{prefix}processors": tuple(topics.raw(source) for source in sources),
            f"{prefix}clickhouse": (topics.telemetry, topics.unmapped, topics.events, topics.quarantine),
        }
        quiet: dict[str, Any] = {**settings.kafka_config(), "enable.auto.commit": False, "log_level": 0}
        self._consumers = {group: Consumer({**quiet, "group.id": group}) for group in self._read_by}

    def total(self) -> int:
        """Sum up what is not committed yet. Raises KafkaException while the broker is away."""
        return sum(self._of(self._consumers[group], topic) for group, names in self._read_by.items() for topic in names)

    def _of(self, consumer: Any, topic: str) -> int:
        from confluent_kafka import TopicPartition

        known = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        committed = consumer.committed([TopicPartition(topic, each) for each in known], timeout=5)
        behind = 0
        for each in committed:
            low, high = consumer.get_watermark_offsets(each, timeout=5)
            behind += high - max(low, each.offset)
        return behind

    def close(self) -> None:
        """Let go of the broker."""
        for consumer in self._consumers.values():
            consumer.close()


class Settling:
    """Waits for the end of one run and returns the last look at ClickHouse."""

    def __init__(
        self, client: Client, tenant_id: str, since_us: int, accounts: Mapping[str, Account], lag: Lag | None
    ) -> None:
        self._client = client
        self._tenant_id = tenant_id
        self._since_us = since_us
        self._accounts = accounts
        self._lag = lag

    async def wait(self, timeout_s: float, progress: Progress) -> Found:
        """Wait until nobody is behind any more, or nothing changes any more; at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        rows, since = -1, time.monotonic()
        while True:
            seen = await asyncio.to_thread(count_rows, self._client, self._tenant_id)
            progress(seen)
            if seen != rows:
                rows, since = seen, time.monotonic()
            unchanged_s = time.monotonic() - since
            over = time.monotonic() > deadline
            nobody_behind = await asyncio.to_thread(self._nobody_behind)
            if nobody_behind or over or (self._lag is None and unchanged_s > _QUIET_S):
                found = await asyncio.to_thread(look, self._client, self._tenant_id, self._since_us)
                if over or unchanged_s > _GIVEN_UP_S or not missing_records(self._accounts, found):
                    return found
            await asyncio.sleep(_POLL_S)

    def _nobody_behind(self) -> bool:
        from confluent_kafka import KafkaException

        if self._lag is None:
            return False
        try:
            return self._lag.total() == 0
        except KafkaException:
            return False
