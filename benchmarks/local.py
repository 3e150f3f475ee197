"""A real broker (and ClickHouse) for the length of a measurement, and processes measured from outside."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fleetline.kafka_admin import ensure_topics
from fleetline.local.clickhouse import LocalClickHouse
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import Child, free_port
from fleetline.settings import DOORS, Settings

IDLE_TIMEOUT_S = 120.0


@contextmanager
def servers(*, clickhouse: bool = False) -> Iterator[Settings]:
    """Run what a benchmark needs in a temporary folder; everything is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fleetline-bench-") as folder, ExitStack() as closing:
        settings = Settings().model_copy(
            update={
                "data_dir": Path(folder),
                "kafka_port": free_port(),
                "clickhouse_port": free_port(),
                **{f"{name}_port": free_port() for name in DOORS},
            }
        )
        kafka = LocalKafka(settings)
        closing.callback(kafka.stop)
        kafka.start()
        kafka.wait_ready()
        update = {"kafka_bootstrap_servers": kafka.bootstrap_servers}
        if clickhouse:
            server = LocalClickHouse(settings)
            closing.callback(server.stop)
            server.start()
            server.wait_ready()
            update["clickhouse_url"] = server.url
        settings = settings.model_copy(update=update)
        ensure_topics(settings)
        yield settings


@contextmanager
def process(settings: Settings, name: str, *arguments: str, **more: str) -> Iterator[Child]:
    """Run a Python process against the servers for as long as the block lasts; `more` is put into its environment."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": settings.clickhouse_url,
        "FLEETLINE_DATA": str(settings.data_dir),
        **{f"FLEETLINE_{name.upper()}_PORT": str(port) for name, port in settings.door_ports().items()},
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
        **more,
    }
    child = Child(name, [sys.executable, *arguments], settings.data_dir / "logs" / f"{name}.log", environment)
    child.start()
    try:
        yield child
    finally:
        child.stop(5)


def written(settings: Settings, topic: str) -> "TopicEnd":
    """Return a counter of the records in a topic."""
    return TopicEnd(settings, topic)


class TopicEnd:
    """Counts the records of a topic by its end offsets."""

    def __init__(self, settings: Settings, topic: str) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self._consumer = Consumer({**settings.kafka_config(), "group.id": "bench-count"})
        known = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._partitions = [TopicPartition(topic, each) for each in known]

    def count(self) -> int:
        """Ask the broker."""
        ends = (self._consumer.get_watermark_offsets(each, timeout=10) for each in self._partitions)
        return sum(high - low for low, high in ends)

    def rate(self, child: Child, until: int) -> float:
        """Wait until the topic holds `until` records; return records/s from the first ones seen to the last."""
        first = (0, 0.0)
        deadline = time.monotonic() + IDLE_TIMEOUT_S
        while True:
            count, now = self.count(), time.perf_counter()
            if count and not first[0]:
                first = (count, now)
            if count >= until:
                self._consumer.close()
                return (count - first[0]) / (now - first[1])
            if not child.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"{child.name} stopped at {count} of {until}:\n{child.log_tail(30)}")
            time.sleep(0.02)
