"""Waiting until everything that was accepted has arrived, by what Kafka and ClickHouse say and never by the clock alone."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
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


class Road:
    """The way from the raw topics to ClickHouse, and whether everything that was on it has gone through.

    Stage by stage the ends of the topics are noted, and waited for until their reader has committed them: others may go on
    sending meanwhile.
    """

    def __init__(self, settings: Settings, sources: tuple[str, ...]) -> None:
        from confluent_kafka import Consumer

        topics, prefix = settings.topics, settings.topic_prefix
        quiet: dict[str, Any] = {**settings.kafka_config(), "enable.auto.commit": False, "log_level": 0}
        self._stages = [
            (Consumer({**quiet, "group.id": f"{prefix}{group}"}), names)
            for group, names in (
                ("processors", tuple(topics.raw(source) for source in sources)),
                ("clickhouse", (topics.telemetry, topics.unmapped, topics.events, topics.quarantine)),
            )
        ]
        self.begin()

    def begin(self) -> None:
        """Look at what is on the road from now on."""
        self._stage = 0
        self._ends: dict[tuple[str, int], tuple[int, int]] = {}

    def is_gone_through(self) -> bool:
        """Tell whether all of it has been loaded. Raises KafkaException while the broker is away."""
        while self._stage < len(self._stages):
            consumer, names = self._stages[self._stage]
            self._ends = self._ends or _ends(consumer, names)
            if not _are_committed(consumer, self._ends):
                return False
            self._stage += 1
            self._ends = {}
        return True

    def close(self) -> None:
        """Let go of the broker."""
        for consumer, _ in self._stages:
            consumer.close()


def _ends(consumer: Any, names: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
    from confluent_kafka import TopicPartition

    found = {}
    for name in names:
        for partition in consumer.list_topics(name, timeout=5).topics[name].partitions:
            found[name, partition] = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=5)
    return found


def _are_committed(consumer: Any, ends: Mapping[tuple[str, int], tuple[int, int]]) -> bool:
    from confluent_kafka import TopicPartition

    committed = consumer.committed([TopicPartition(*key) for key in ends], timeout=5)
    for each in committed:
        low, high = ends[each.topic, each.partition]
        if max(low, each.offset) < high:
            return False
    return True


class Settling:
    """Waits for the end of one run and returns the last look at ClickHouse."""

    def __init__(
        self, client: Client, tenant_id: str, since_us: int, accounts: Mapping[str, Account], road: Road | None
    ) -> None:
        self._client = client
        self._tenant_id = tenant_id
        self._since_us = since_us
        self._accounts = accounts
        self._road = road

    async def wait(self, timeout_s: float, progress: Progress) -> Found:
        """Wait until what was sent has gone through, or nothing changes any more; at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        rows, since = -1, time.monotonic()
        while True:
            seen = await asyncio.to_thread(count_rows, self._client, self._tenant_id)
            progress(seen)
            if seen != rows:
                rows, since = seen, time.monotonic()
            unchanged_s = time.monotonic() - since
            over = time.monotonic() > deadline
            if over or await asyncio.to_thread(self._is_gone_through, unchanged_s):
                found = await asyncio.to_thread(look, self._client, self._tenant_id, self._since_us)
                if over or unchanged_s > _GIVEN_UP_S or not missing_records(self._accounts, found):
                    return found
                if self._road is not None:
                    self._road.begin()
            await asyncio.sleep(_POLL_S)

    def _is_gone_through(self, unchanged_s: float) -> bool:
        from confluent_kafka import KafkaException

        if self._road is None:
            return unchanged_s > _QUIET_S
        try:
            return self._road.is_gone_through()
        except KafkaException:
            return False
