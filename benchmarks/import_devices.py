"""Importing 100,000 devices from a CSV into a real broker, with progress, a report per row and the audit trail.

The limit is a bare transactional producer that writes the same records in transactions of the same size: no file is read,
no rule is kept, nobody looks at what is there.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.local import servers
from fleetline.import_report import ImportReport
from fleetline.settings import Settings
from registry.exchange.exporting import export_devices
from registry.exchange.importing import CHUNK_ROWS, import_devices
from registry.model import Tenant
from registry.store import RegistryStore
from schemas.ids import new_id

DEVICES = 100_000
GATEWAY_EVERY = 100
ALLOWED_S = 60.0


def _csv() -> Iterator[bytes]:
    yield b"name,external_id,dev_eui,imei,serial,custom1,gateway,parent,colour\n"
    for number in range(DEVICES):
        gateway = number - number % GATEWAY_EVERY
        behind = f"true,,{number}" if number == gateway else f",Device {gateway},{number}"
        yield f"Device {number},ext-{number},{number:016x},{number:015},S{number},site {gateway},{behind}\n".encode()


def _import(settings: Settings, store: RegistryStore, tenant: Tenant, source: Path) -> float:
    began = time.perf_counter()
    with source.open("rb") as opened, ImportReport(tokens=None, rows=settings.data_dir / f"{new_id()}.csv") as report:
        pieces = iter(lambda: opened.read(256 * 1024), b"")
        report.follow(import_devices(store, tenant, pieces, total_bytes=source.stat().st_size))
        if not report.is_clean:
            raise AssertionError("not every row was imported")
    return time.perf_counter() - began


def _export(store: RegistryStore, tenant: Tenant) -> float:
    began = time.perf_counter()
    lines = sum(piece.count(b"\n") for piece in export_devices(store.view, tenant.id, "csv"))
    if lines != DEVICES + 1:
        raise AssertionError(f"{lines} lines were exported")
    return time.perf_counter() - began


def _records(settings: Settings) -> list[tuple[str, bytes, bytes]]:
    """Read what the import wrote: the registry's and the audit trail's records."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**settings.kafka_config(), "group.id": "bench", "enable.partition.eof": True})
    found: list[tuple[str, bytes, bytes]] = []
    try:
        for topic in (settings.topics.registry, settings.topics.audit):
            consumer.assign([TopicPartition(topic, 0, 0)])
            while (message := consumer.poll(10)) is not None and message.error() is None:
                found.append((topic, message.key(), message.value()))
    finally:
        consumer.close()
    return found


def _bare(settings: Settings, records: list[tuple[str, bytes, bytes]]) -> float:
    from confluent_kafka import Producer

    producer = Producer(
        {
            **settings.kafka_config(),
            "transactional.id": new_id(),
            "compression.type": "lz4",
            "linger.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.init_transactions(15)
    size = CHUNK_ROWS * len(records) // DEVICES
    began = time.perf_counter()
    for start in range(0, len(records), size):
        producer.begin_transaction()
        for topic, key, value in records[start : start + size]:
            producer.produce(topic, key=key, value=value)
            producer.poll(0)
        producer.commit_transaction(15)
    return time.perf_counter() - began


def run() -> dict[str, Any]:
    """Measure once: a second run in the same process would begin with a registry that is full."""
    with servers() as settings, tempfile.TemporaryDirectory() as folder, RegistryStore(settings, "bench") as store:
        source = Path(folder) / "devices.csv"
        source.write_bytes(b"".join(_csv()))
        tenant = store.create_tenant("Bench")
        imported_s = _import(settings, store, tenant, source)
        if len(store.refresh().devices(tenant.id)) != DEVICES:
            raise AssertionError("not every device is there")
        exported_s = _export(store, tenant)
        bare_s = _bare(settings, _records(settings))
    return {
        "name": "import_devices",
        "value": DEVICES / imported_s,
        "unit": "devices/s",
        "limit": DEVICES / bare_s,
        "ratio": bare_s / imported_s,
        "peers": {},
        "seconds": imported_s,
        "allowed_seconds": ALLOWED_S,
        "microseconds_per_device": 1e6 * imported_s / DEVICES,
        "exported_seconds": exported_s,
    }
