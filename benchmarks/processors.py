"""Canonical records/s out of one worker, against the bare loop, a stock Faust agent and Quix Streams doing the same work."""

from typing import Any

import orjson

from benchmarks.local import TopicEnd, process, servers
from fleetline.settings import Settings
from registry.model import Device, Tenant
from registry.store import RegistryStore
from schemas import topics as names

RECORDS = 200_000
SLOW_RECORDS = 40_000
DEVICES = 1_000
TENANT = "5a3b1e00-0000-7000-8000-0000000000bb"
_WORKER = (
    "from fleetline.settings import Settings; from processors.worker import serve; serve(Settings(), ('normalize',))"
)


def run() -> dict[str, Any]:
    """Measure all of them in one run, one after the other, on the same preloaded topic of one-message flespi bodies."""
    with servers() as settings:
        preload(settings)
        figures = {
            "limit": peer(settings, "bare", RECORDS),
            "value": worker(settings),
            "stock_faust": peer(settings, "stock_faust", SLOW_RECORDS),
            "stock_faust_uvloop": peer(settings, "stock_faust", SLOW_RECORDS, "uvloop"),
            "quix": peer(settings, "quix", SLOW_RECORDS),
        }
    value, limit = figures.pop("value"), figures.pop("limit")
    return {
        "name": "processors",
        "value": value,
        "unit": "records/s",
        "limit": limit,
        "ratio": value / limit,
        "peers": figures,
        "times_stock_faust": value / figures["stock_faust"],
        "times_quix": value / figures["quix"],
    }


def preload(settings: Settings) -> None:
    """Fill the raw topic and the registry."""
    from confluent_kafka import Producer

    devices = [
        Device(
            id=f"device-{n}", tenant_id=TENANT, name=f"Device {n}", attributes={"imei": str(350_000_000_000_000 + n)}
        )
        for n in range(DEVICES)
    ]
    with RegistryStore(settings) as store:
        store.put([Tenant(id=TENANT, name="Bench"), *devices])
    headers = [
        (names.RECORD_ID, b"01a1fc9d-49fc-7c89-be7f-4f08f671483d"),
        (names.RECEIVED_US, b"1767322900000000"),
        (names.TENANT, TENANT.encode()),
        (names.CREDENTIAL, b"01a1fc9d-4a42-724e-8836-84a6ffed5135"),
        (names.TRANSPORT, b"http"),
        (names.METHOD, b"POST"),
        (names.PATH, b"/in/flespi"),
        (names.CONTENT_TYPE, b"application/json"),
    ]
    producer = Producer({**settings.kafka_config(), "linger.ms": 20, "compression.type": "lz4"})
    topic = settings.topics.raw("flespi")
    for number in range(RECORDS):
        device = number % DEVICES
        while True:
            try:
                producer.produce(topic, body(number, device), b"%d" % device, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def body(number: int, device: int) -> bytes:
    """Make a body as flespi sends it: one message of everyday size."""
    message = {
        "ident": str(350_000_000_000_000 + device),
        "timestamp": 1767322800 + number / 1000,
        "server.timestamp": 1767322801.5 + number / 1000,
        "position.latitude": 49.069782 + number * 1e-6,
        "position.longitude": 28.632826,
        "position.altitude": 273.61,
        "position.speed": number % 120,
        "position.direction": 140.2,
        "position.satellites": 18,
        "position.hdop": 0.7,
        "vehicle.mileage": number / 10,
        "external.powersource.voltage": 12.64,
        "battery.voltage": 3.938,
        "gsm.signal.level": 80,
        "device.type.id": 744,
        "channel.id": 429,
        "movement.status": True,
    }
    return orjson.dumps([message])


def worker(settings: Settings) -> float:
    """Measure Fleetline's worker."""
    with process(settings, "worker", "-c", _WORKER) as child:
        return TopicEnd(settings, settings.topics.telemetry).rate(child, RECORDS)


def peer(settings: Settings, name: str, records: int, *arguments: str) -> float:
    """Measure one of benchmarks/peers, writing to a topic of its own."""
    from confluent_kafka.admin import AdminClient, NewTopic

    out = f"bench-{name}{''.join(arguments)}"
    admin = AdminClient(settings.kafka_config())
    for future in admin.create_topics([NewTopic(out, settings.partitions, 1)]).values():
        future.result()
    with process(settings, out, "-m", f"benchmarks.peers.{name}", out, *arguments) as child:
        return TopicEnd(settings, out).rate(child, records)
