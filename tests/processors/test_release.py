"""Release on the real broker: what waits goes to telemetry once its device is known, in order, and counts once."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from fleetline.settings import Settings
from registry.model import EXTERNAL_ID, Device, Tenant
from registry.store import RegistryStore
from schemas import topics as names
from schemas.records import telemetry_reader
from tests.support import START_US, TENANT, child, produce, raw_headers, read_all, running, until

pytestmark = pytest.mark.stack

OTHER = "5a3b1e00-0000-7000-8000-0000000000bb"


def worker(settings: Settings, name: str = "processors") -> Any:
    return child(settings, name, "-m", "fleetline", "-v", "serve", "processors")


def put(settings: Settings, *devices: Device) -> None:
    with RegistryStore(settings) as store:
        store.put([Tenant(id=TENANT, name="A"), Tenant(id=OTHER, name="B"), *devices])


def generic(settings: Settings, device: str, numbers: Iterable[int], tenant: str = TENANT, **more: Any) -> None:
    """Write raw records of the generic webhook: reading `n` of a device that the sender calls by its external id."""
    headers = [(name, tenant.encode() if name == names.TENANT else value) for name, value in raw_headers()]
    produce(
        settings,
        settings.topics.raw("generic"),
        (
            (
                device.encode(),
                orjson.dumps({"externalDeviceId": device, "ts": START_US // 1000 + n, "temperature": n, **more}),
                headers,
            )
            for n in numbers
        ),
    )


def telemetry_of(settings: Settings) -> list[dict[str, Any]]:
    read = telemetry_reader()
    return [dict(read(record.value())) for record in read_all(settings, settings.topics.telemetry)]


def readings(settings: Settings) -> dict[str, list[float]]:
    """Return the readings of each device in the order of the topic."""
    found: dict[str, list[float]] = {}
    for record in telemetry_of(settings):
        found.setdefault(record["device_id"], []).append(record["numbers"]["temperature"])
    return found


def waiting(settings: Settings) -> int:
    """Count the records of unknown devices that were ever written."""
    records = read_all(settings, settings.topics.unmapped)
    return sum(not any(name == names.RELEASED_OFFSET for name, _ in record.headers()) for record in records)


def test_mapping_a_device_releases_what_waits_in_order_and_nothing_else(topics: Settings) -> None:
    # AC-a41, DM-a19
    put(topics)
    with running(worker(topics)):
        for device in ("silo-1", "silo-2"):
            generic(topics, device, range(50))
        generic(topics, "silo-1", range(100, 150), tenant=OTHER)
        until(lambda: waiting(topics) == 150, 40)
        assert telemetry_of(topics) == []
        put(topics, Device(id="d-1", tenant_id=TENANT, name="One", attributes={EXTERNAL_ID: "silo-1"}))
        until(lambda: len(readings(topics).get("d-1", ())) >= 50, 20)
        generic(topics, "silo-1", range(50, 60))
        until(lambda: len(readings(topics).get("d-1", ())) >= 60, 20)
        put(topics, Device(id="d-2", tenant_id=OTHER, name="Theirs", attributes={EXTERNAL_ID: "silo-2"}))
        put(topics, Device(id="d-3", tenant_id=OTHER, name="Theirs too", attributes={EXTERNAL_ID: "silo-1"}))
        until(lambda: len(readings(topics).get("d-3", ())) >= 50, 20)
    assert readings(topics) == {"d-1": list(range(60)), "d-3": list(range(100, 150))}  # silo-2 of tenant A still waits
    assert {record["tenant_id"] for record in telemetry_of(topics) if record["device_id"] == "d-3"} == {OTHER}
