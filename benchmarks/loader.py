"""Rows/s of one loader process from Kafka to ClickHouse, against bare inserts of the same rows as ready columns."""

import time
from typing import Any

from benchmarks.local import process, servers
from fleetline.settings import Settings
from schemas.ids import content_id
from schemas.records import NAN, Telemetry, telemetry_writer
from schemas.topics import Topics
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.tables import tables

ROWS = 400_000
BATCH = 50_000
DEVICES = 1_000
START_US = 1_767_322_800_000_000


def run() -> dict[str, Any]:
    """Preload the topic, insert ready columns for the limit, then let one loader process do the whole work."""
    with servers(clickhouse=True) as settings, connect(settings) as client:
        migrate(client)
        records = [record(number) for number in range(ROWS)]
        preload(settings, records)
        limit = bare(client, records)
        client.command("TRUNCATE TABLE telemetry_rows")
        value = loader(settings, client)
    return {
        "name": "loader",
        "value": value,
        "unit": "rows/s",
        "limit": limit,
        "ratio": value / limit,
        "peers": {},
        "rows": ROWS,
    }


def record(number: int) -> Telemetry:
    """Make a record of everyday size."""
    device = number % DEVICES
    at = START_US + number * 1000
    return {
        "id": content_id(b"%d" % number), "tenant_id": "tenant", "device_id": f"device-{device}", "source": "flespi",
        "source_device": str(350_000_000_000_000 + device), "gateway_id": "", "type": "message", "observed_us": at,
        "platform_us": at + 1_500_000, "received_us": at + 2_000_000, "sent_us": at, "time_source": "device",
        "latitude": 49.069782 + number * 1e-6, "longitude": 28.632826, "altitude_m": 273.61, "speed_kmh": float(number % 120),
        "course_deg": 140.2, "accuracy_m": NAN, "hdop": 0.7, "pdop": NAN, "satellites": 18, "fix_us": 0, "fix_valid": -1,
        "numbers": {
            "vehicle.mileage": number / 10, "external.powersource.voltage": 12.64, "battery.voltage": 3.938,
            "gsm.signal.level": 80.0, "device.type.id": 744.0, "channel.id": 429.0,
        },
        "booleans": {"movement.status": True}, "texts": {}, "event_type": "", "event_attributes": "",
        "raw_topic": "fleetline.raw.flespi", "raw_partition": number % 4, "raw_offset": number, "raw_index": 0,
        "normalizer_version": "flespi/1",
    }  # fmt: skip


def preload(settings: Settings, records: list[Telemetry]) -> None:
    """Write the records to the telemetry topic."""
    from confluent_kafka import Producer

    producer = Producer({**settings.kafka_config(), "linger.ms": 20, "compression.type": "lz4"})
    write = telemetry_writer()
    for each in records:
        value = write(each)
        while True:
            try:
                producer.produce(settings.topics.telemetry, value, each["device_id"].encode())
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


class At:
    """As much of a Kafka record as the columns look at."""

    def topic(self) -> str:
        """Return the topic."""
        return "bare"

    def partition(self) -> int:
        """Return the partition."""
        return 0

    def offset(self) -> int:
        """Return the offset."""
        return 0


def bare(client: Any, records: list[Telemetry]) -> float:
    """Insert ready columns."""
    table = tables(Topics())[Topics().telemetry]
    at = At()
    ready = []
    for start in range(0, ROWS, BATCH):
        batch: list[Any] = list(records[start : start + BATCH])
        ready.append(table.columns(batch, [at] * len(batch)))
    started = time.perf_counter()
    for columns in ready:
        client.insert(
            table.name,
            columns,
            column_names=table.column_names,
            column_type_names=table.column_types,
            column_oriented=True,
        )
    return ROWS / (time.perf_counter() - started)


def loader(settings: Settings, client: Any) -> float:
    """Wait for the loader's first and last rows."""
    with process(settings, "loader", "-m", "fleetline", "serve", "clickhouse") as child:
        first = (0, 0.0)
        deadline = time.monotonic() + 120
        while child.is_running and time.monotonic() < deadline:
            count = int(client.query("SELECT count() FROM telemetry_rows").result_rows[0][0])
            now = time.perf_counter()
            if count and not first[0]:
                first = (count, now)
            if count >= ROWS:
                return (count - first[0]) / (now - first[1])
            time.sleep(0.05)
        raise RuntimeError(f"the loader did not end:\n{child.log_tail(30)}")
