"""What the tests on the real stack share: components as processes, raw records, telemetry, and reading topics to their end."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from fleetline.local.process import Child
from fleetline.settings import Settings
from registry.model import Device, Entry, Tenant
from schemas import topics as names
from schemas.ids import content_id
from schemas.records import NAN, Telemetry

TENANT = "5a3b1e00-0000-7000-8000-0000000000aa"
START_US = 1_700_000_000_000_000


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as a component's environment."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": settings.clickhouse_url,
        "FLEETLINE_DATA": str(settings.data_dir),
        "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
        "FLEETLINE_PARTITIONS": str(settings.partitions),
        "FLEETLINE_KAFKA_SESSION_TIMEOUT_MS": str(settings.kafka_session_timeout_ms),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
    }


def child(settings: Settings, name: str, *arguments: str) -> Child:
    """Make a Python process with the settings in its environment, not started yet."""
    return Child(name, [sys.executable, *arguments], settings.data_dir / "logs" / f"{name}.log", environment(settings))


@contextmanager
def running(process: Child) -> Iterator[Child]:
    """Run a process for as long as the block lasts; kill it if it does not end by itself."""
    process.start()
    try:
        yield process
    finally:
        process.stop(15)


def until(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Wait until the condition holds and return what it returned; fail with what was seen last."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or condition}"
        time.sleep(0.1)


def produce(settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes, list[tuple[str, bytes]]]]) -> None:
    """Write (key, value, headers) records and wait for their acknowledgement."""
    from confluent_kafka import Producer

    producer = Producer({**settings.kafka_config(), "linger.ms": 5})
    for count, (key, value, headers) in enumerate(records):
        producer.produce(topic, value, key, headers=headers)
        if count % 10_000 == 9_999:
            producer.flush()
    assert producer.flush(30) == 0


def register(settings: Settings, devices: int) -> None:
    """Register the tenant and `devices` devices with the IMEIs 0, 1, 2, …"""
    from registry.store import RegistryStore

    entries: list[Entry] = [Tenant(id=TENANT, name="Test")]
    entries += [
        Device(id=f"device-{n}", tenant_id=TENANT, name=f"Device {n}", attributes={"imei": str(n)})
        for n in range(devices)
    ]
    with RegistryStore(settings) as store:
        store.put(entries)


def raw(number: int, device: int, ignition: bool | None = None) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Make a raw flespi record: message `number` of a device, one second after the one before."""
    message = {"ident": str(device), "timestamp": START_US / 1e6 + number, "vehicle.mileage": number}
    if ignition is not None:
        message["engine.ignition.status"] = ignition
    return str(device).encode(), orjson.dumps([message]), raw_headers()


def raw_headers() -> list[tuple[str, bytes]]:
    """Return the headers of an accepted request of the tenant."""
    return [
        (names.RECORD_ID, b"r"),
        (names.RECEIVED_US, b"%d" % (START_US + 86_400_000_000)),
        (names.TENANT, TENANT.encode()),
        (names.CREDENTIAL, b"c"),
    ]


def telemetry(number: int, device: int = 0) -> Telemetry:
    """Make a canonical record."""
    return {
        "id": content_id(b"test", b"%d" % number),
        "tenant_id": TENANT,
        "device_id": f"device-{device}",
        "source": "flespi",
        "source_device": str(device),
        "gateway_id": "",
        "type": "message",
        "observed_us": START_US + number * 1_000_000,
        "platform_us": 0,
        "received_us": START_US + number * 1_000_000 + 5,
        "sent_us": START_US + number * 1_000_000,
        "time_source": "device",
        "latitude": 48.2 + number * 1e-6,
        "longitude": NAN if number % 7 == 0 else 16.3,
        "altitude_m": 171.5,
        "speed_kmh": number % 120,
        "course_deg": NAN,
        "accuracy_m": NAN,
        "hdop": 0.9,
        "pdop": NAN,
        "satellites": 9,
        "fix_us": 0,
        "fix_valid": 1,
        "numbers": {"vehicle.mileage": float(number), "battery.voltage": 3.9},
        "booleans": {"engine.ignition.status": number % 2 == 0},
        "texts": {"reason": "interval"},
        "event_type": "",
        "event_attributes": "",
        "raw_topic": "raw",
        "raw_partition": 0,
        "raw_offset": number,
        "raw_index": 0,
        "normalizer_version": "flespi/1",
    }


def read_all(settings: Settings, topic: str) -> list[Any]:
    """Read a topic to its present end, partition by partition."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    config = {**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False}
    consumer = Consumer({**config, "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        records: list[Any] = []
        for partition in partitions:
            low, high = _watermarks(consumer, TopicPartition(topic, partition))
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                message = consumer.poll(5)
                assert message is not None, f"{topic}[{partition}] stops at {low} of {high}"
                if message.error() is None:
                    records.append(message)
                    low = message.offset() + 1
                else:  # behind the last record of a transaction stands its marker
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    low = message.offset()
        return records
    finally:
        consumer.close()


def _watermarks(consumer: Any, partition: Any, timeout_s: float = 15.0) -> tuple[int, int]:
    """Return the first and the next offset; a broker that has just come back may not lead its partitions yet."""
    from confluent_kafka import KafkaError, KafkaException

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            low, high = consumer.get_watermark_offsets(partition, timeout=10)
        except KafkaException as error:
            electing = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
            if error.args[0].code() not in electing or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return low, high


def committed(settings: Settings, group: str, topic: str) -> tuple[int, int]:
    """Return (committed, end) summed over the partitions of a topic; a partition without a commit counts 0."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**settings.kafka_config(), "group.id": group, "enable.auto.commit": False})
    try:
        partitions = [
            TopicPartition(topic, each) for each in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        done = sum(max(0, each.offset) for each in consumer.committed(partitions, timeout=10))
        return done, sum(consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions)
    finally:
        consumer.close()
