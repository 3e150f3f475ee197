"""One reading, one record: whichever way a device's own key-value reading comes in, the same canonical record comes out.

Each form goes the way of a real message: authenticated and stored by the ingress, read back from the raw record,
normalized, and its device found in the registry. What may differ is where it came from, and the prefix of names that
have no canonical one.
"""

import base64
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import orjson
import pytest

from fleetline.settings import Settings
from ingress.intake import Intake
from ingress.producer import MemoryProducer
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Device, Tenant
from registry.secrets import digest
from registry.view import RegistryView, entry_key
from schemas.times import format_us
from schemas.vocabulary import BY_NAME
from sources.catalog import load_source, load_sources
from sources.contract import Request
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw

TENANT, GATEWAY, DEVICE = "tenant-1", "gateway-1", "device-1"
NAME, EXTERNAL, EUI = "Silo 3", "silo-3", "0102030405060708"
GATEWAY_TOKEN, TOKEN, SECRET = "token-of-the-gateway", "token-of-the-device", "secret-of-the-tenant"
TS = 1_767_322_800_000
ISO = "2026-01-02T03:00:00Z"
Reading = dict[str, Any]
Form = Callable[[Reading, int | None], tuple[str, Request]]

READINGS: dict[str, Reading] = {
    "climate": {"temperature": 24.5, "humidity": 61, "co2": 415, "pressure": 1013.25},
    "zero and below": {"temperature": 0, "device_temperature": -12.25, "count": 0, "door": False, "text": ""},
    "battery": {"batteryLevel": 87, "battery_voltage": 3.61, "battery": 3},
    "position": {"latitude": 52.52, "longitude": 13.405, "altitude": 34, "speed_kmh": 12.5, "heading": 271, "sats": 9},
    "position in an object": {"gps": {"lat": -33.5, "lng": 151.25, "alt": 12, "hdop": 0.9, "fix": "3D"}, "speed": 4},
    "position as a vocabulary": {"position.latitude": 1.5, "position.longitude": 2.5, "position.satellites": 7},
    "two positions": {"lat": 1.5, "lon": 2.5, "gps": {"lat": 3.5, "lon": 4.5}, "accuracy": 5},
    "no fix": {"lat": 0, "lon": 0, "sats": 0, "temperature": 1},
    "half a position": {"lat": 1.5, "accuracy": 5},
    "states": {"ignition": True, "moving": False, "alarm": True, "din.1": True, "adc.voltage.2": 4.75},
    "texts": {"firmware": "1.2.3", "serial": "007", "note": "Größe ☃", "temperature": "24.5", "on": "true"},
    "nested": {
        "engine": {"load": {"a": 1, "b": None}, "ok": True},
        "codes": ["P0", 2, {"b": 1, "a": [None]}],
        "no": None,
    },
    "other units": {"batteryVoltage": 3600, "batteryLevel": 255, "temperature": 327.67, "humidity": 655.35},
    "two names": {"temp": 1, "temperature": 2, "a.b": 1, "a": {"b": 2}, "battery.level": 5, "battery_level": 6},
    "large": {"id": 2**60, "counter": 2**53, "tiny": 1e-300, "huge": 1e300, "negative": -(2**62)},
    "names like ours": {"telemetry": {"a": 1}, "values": 3, "items": [1, 2], "metadata": {"x": 1}, "data": "YQ=="},
}


def http(path: str, body: Any, *, content_type: str = "application/json", **more: Any) -> Request:
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(method="POST", path=path, body=encoded, content_type=content_type, **more)


def to_device(body: Any, *, batch: bool = False, token: str = TOKEN, **more: Any) -> tuple[str, Request]:
    path = f"/api/v1/{{deviceToken}}/telemetry{'/batch' if batch else ''}"
    return "device", http(path, body, path_params={"deviceToken": token}, **more)


def timed(body: Reading, ts: Any, key: str = "ts") -> Reading:
    return body if ts is None else {**body, key: ts}


def flat(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device(timed(reading, ts))


def nested(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device(timed({"telemetry": reading}, ts and ISO, "timestamp"))


def shuffled(reading: Reading, ts: int | None) -> tuple[str, Request]:
    body = dict(reversed(timed({"telemetry": dict(reversed(reading.items()))}, ts and str(ts)).items()))
    return to_device(orjson.dumps(body, option=orjson.OPT_INDENT_2))


def cbor(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device(cbor2.dumps(timed({"telemetry": reading}, ts), canonical=True), content_type="application/cbor")


def batch_item(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device({"items": [timed({"telemetry": reading}, ts and ts / 1000)]}, batch=True)


def cbor_batch_item(reading: Reading, ts: int | None) -> tuple[str, Request]:
    body = cbor2.dumps({"items": [timed({"telemetry": reading}, ts)]})
    return to_device(body, batch=True, content_type="application/cbor")


def thingsboard(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device({"ts": ts, "values": reading})


def thingsboard_array(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device([{"ts": ts, "values": reading}])


def child(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return to_device(timed({"childDeviceId": DEVICE, "telemetry": reading}, ts), token=GATEWAY_TOKEN)


def child_in_a_batch(reading: Reading, ts: int | None) -> tuple[str, Request]:
    item = timed({"childDeviceId": EXTERNAL, "telemetry": reading}, ts)
    return to_device({"items": [item]}, batch=True, token=GATEWAY_TOKEN)


def bearer(reading: Reading, ts: int | None) -> tuple[str, Request]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    return "device", http("/in/device", timed({"telemetry": reading}, ts), headers=headers)


def mqtt(
    topic: str, wrap: Callable[[Reading, int | None], Any], token: str = TOKEN, encode: Any = orjson.dumps
) -> Form:
    def form(reading: Reading, ts: int | None) -> tuple[str, Request]:
        parts = {"deviceToken": token} if "{deviceToken}" in topic else {}
        headers = {"authorization": f"Bearer {token}"}
        body = encode(wrap(reading, ts))
        return "device", Request(
            transport="mqtt", method="PUBLISH", path=topic, path_params=parts, headers=headers, body=body
        )

    return form


def websocket(wrap: Callable[[Reading, int | None], Any], token: str = TOKEN) -> Form:
    def form(reading: Reading, ts: int | None) -> tuple[str, Request]:
        headers = {"authorization": f"Bearer {token}"}
        return "device", Request(
            transport="websocket", method="", headers=headers, body=orjson.dumps(wrap(reading, ts))
        )

    return form


def as_telemetry(reading: Reading, ts: int | None) -> Any:
    return timed({"telemetry": reading}, ts)


def as_values(reading: Reading, ts: int | None) -> Any:
    return {"ts": ts, "values": reading}


def as_child(reading: Reading, ts: int | None) -> Any:
    return timed({"childDeviceId": DEVICE, "telemetry": reading}, ts)


def by_name(reading: Reading, ts: int | None) -> Any:
    return {NAME: [{"ts": ts, "values": reading}]}


def as_is(reading: Reading, ts: int | None) -> Any:
    return timed(reading, ts)


def integration(source: str, body: Any, **query: str) -> tuple[str, Request]:
    path = f"/api/v1/integrations/{source}/telemetry"
    headers = {"x-webhook-secret": SECRET}
    return source, http(path, body, query={"tenantId": TENANT, **query}, headers=headers)


def generic_flat(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return integration("generic", timed({"deviceToken": TOKEN, **reading}, ts))


def generic_nested(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return integration("generic", timed({"externalDeviceId": EXTERNAL, "telemetry": reading}, ts))


def generic_child(reading: Reading, ts: int | None) -> tuple[str, Request]:
    return integration(
        "generic", timed({"deviceToken": GATEWAY_TOKEN, "childDeviceId": DEVICE, "telemetry": reading}, ts)
    )


def chirpstack(reading: Reading, ts: int | None) -> tuple[str, Request]:
    body = {
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "deviceInfo": {"deviceName": "d", "devEui": EUI, "tags": {"area": "north"}},
        "fCnt": 4,
        "fPort": 1,
        "data": base64.b64encode(b"\x01").decode(),
        "object": reading,
        "rxInfo": [timed({"gatewayId": "0016c001f153a14c", "rssi": -36, "snr": 10.5}, ts and ISO, "nsTime")],
        "txInfo": {"frequency": 867100000},
    }
    return integration("chirpstack", timed(body, ts and ISO, "time"), event="up")


def chirpstack_3(reading: Reading, ts: int | None) -> tuple[str, Request]:
    body = {
        "devEUI": base64.b64encode(bytes.fromhex(EUI)).decode(),
        "fCnt": 4,
        "objectJSON": orjson.dumps(reading).decode(),
        "rxInfo": [timed({"gatewayID": "ABbAAfFToUw=", "rssi": -36, "loRaSNR": 10.5}, ts and ISO, "time")],
    }
    return integration("chirpstack", body, event="up")


def ttn(reading: Reading, ts: int | None) -> tuple[str, Request]:
    uplink: dict[str, Any] = {
        "session_key_id": "AXA50GHUTfd9WRnnKWDbUw==",
        "f_port": 1,
        "f_cnt": 4,
        "frm_payload": "AQ==",
        "decoded_payload": reading,
        "rx_metadata": [{"gateway_ids": {"gateway_id": "g", "eui": "0016C001F153A14C"}, "rssi": -36, "snr": 10.5}],
        "settings": timed({"frequency": "867100000"}, ts and ISO, "time"),
    }
    ids = {"device_id": "d", "dev_eui": EUI.upper(), "application_ids": {"application_id": "app"}}
    message = {"end_device_ids": ids, "uplink_message": timed(uplink, ts and ISO, "received_at")}
    return integration("ttn", timed(message, ts and ISO, "received_at"))


FORMS: dict[str, Form] = {
    "HTTP nested": nested,
    "HTTP flat": flat,
    "HTTP, keys in another order": shuffled,
    "HTTP with a bearer token": bearer,
    "HTTP CBOR": cbor,
    "HTTP batch item": batch_item,
    "HTTP CBOR batch item": cbor_batch_item,
    "HTTP ThingsBoard": thingsboard,
    "HTTP ThingsBoard array": thingsboard_array,
    "HTTP gateway child": child,
    "HTTP gateway child in a batch": child_in_a_batch,
    "MQTT devices/{token}": mqtt("devices/{deviceToken}/telemetry", as_telemetry),
    "MQTT devices/{token} flat": mqtt("devices/{deviceToken}/telemetry", as_is),
    "MQTT devices/{token} CBOR": mqtt("devices/{deviceToken}/telemetry", as_telemetry, encode=cbor2.dumps),
    "MQTT v1/devices/{token}": mqtt("v1/devices/{deviceToken}/telemetry", as_telemetry),
    "MQTT v1/devices/me": mqtt("v1/devices/me/telemetry", as_values),
    "MQTT v1/devices/me, a gateway's child": mqtt("v1/devices/me/telemetry", as_child, GATEWAY_TOKEN),
    "MQTT v1/gateway by name": mqtt("v1/gateway/telemetry", by_name, GATEWAY_TOKEN),
    "MQTT v1/gateway by name, CBOR": mqtt("v1/gateway/telemetry", by_name, GATEWAY_TOKEN, cbor2.dumps),
    "MQTT v1/gateway by id": mqtt("v1/gateway/telemetry", as_child, GATEWAY_TOKEN),
    "WebSocket": websocket(as_telemetry),
    "WebSocket flat": websocket(as_is),
    "WebSocket gateway child": websocket(as_child, GATEWAY_TOKEN),
    "generic flat": generic_flat,
    "generic nested": generic_nested,
    "generic gateway child": generic_child,
    "ChirpStack v4": chirpstack,
    "ChirpStack v3": chirpstack_3,
    "The Things Stack": ttn,
}
RAW = ("raw_topic", "raw_partition", "raw_offset", "raw_index", "normalizer_version")
ORIGIN = ("id", "device_id", "source", "source_device", "gateway_id", "type", "platform_us", "received_us", *RAW)
VALUES = ("numbers", "booleans", "texts")


def registry() -> RegistryView:
    view = RegistryView()
    attributes = {EXTERNAL_ID: EXTERNAL, DEV_EUI: EUI}
    for entry in (
        Tenant(id=TENANT, name="T"),
        Device(id=GATEWAY, tenant_id=TENANT, name="Gateway", gateway=True),
        Device(id=DEVICE, tenant_id=TENANT, name=NAME, parent_id=GATEWAY, attributes=attributes),
        Credential(id="c-1", tenant_id=TENANT, source="device", digest=digest(TOKEN), device_id=DEVICE),
        Credential(id="c-2", tenant_id=TENANT, source="device", digest=digest(GATEWAY_TOKEN), device_id=GATEWAY),
        Credential(id="c-3", tenant_id=TENANT, source=INTEGRATION, digest=digest(SECRET)),
    ):
        view.apply(entry_key(entry), msgspec.json.encode(entry))
    return view


async def taken(form: Form, reading: Reading, ts: int | None) -> dict[str, Any]:
    """Send a reading in one form through the ingress, and return its record as far as it is not about its origin."""
    view, producer = registry(), MemoryProducer()
    intake = Intake(Settings(), load_sources(), view, producer)
    source, request = form(reading, ts)
    acceptance = intake.of(source)
    await acceptance.store(request, acceptance.authenticate(request))
    ((topic, _, value, headers),) = producer.records
    for secret in (TOKEN, GATEWAY_TOKEN, SECRET):
        assert secret.encode() not in value
        assert secret not in repr(headers)
    stored = request_from_raw(headers, value, topic, 0, 0)
    (made,) = canonicalize(load_source(source), stored)
    assert isinstance(made, Canonical), made
    found = view.identify(TENANT, stored.device_id, made.identities, made.child)
    assert found.device_id == DEVICE
    record: dict[str, Any] = {key: value for key, value in made.record.items() if key not in ORIGIN}
    if ts is None:
        assert record["observed_us"] == stored.received_us
        del record["observed_us"], record["sent_us"]
    for store in VALUES:
        record[store] = {_own(name, source): value for name, value in record[store].items()}
    return {key: None if value != value else value for key, value in record.items()}


def _own(name: str, source: str) -> str:
    if not name.startswith(f"{source}.") or name in BY_NAME:
        return name
    return f"own.{name.removeprefix(f'{source}.').removeprefix('sent.')}"


async def metadata(form: Form, ts: int | None) -> set[str]:
    """List the names a form brings by itself: radio and network metadata."""
    found = await taken(form, {"\0": 1}, ts)
    return {name for store in VALUES for name in found[store]} - {"own.\0"}


CASES = [
    pytest.param(name, reading, id=f"{name}: {reading}")
    for name in list(FORMS)[1:]
    for reading in READINGS
    if "flat" not in name or "telemetry" not in READINGS[reading]  # a flat form cannot say `telemetry` (AC-c03)
]


@pytest.mark.parametrize("ts", [TS, None], ids=["timed", "untimed"])
@pytest.mark.parametrize(("name", "reading"), CASES)
async def test_the_same_reading_is_the_same_record_whichever_way_it_comes(
    name: str, reading: str, ts: int | None
) -> None:
    # AC-a40
    said = READINGS[reading]
    expected = await taken(FORMS["HTTP nested"], said, ts)
    found = await taken(FORMS[name], said, ts)
    network = await metadata(FORMS[name], ts)
    for store in VALUES:
        found[store] = {
            key: value for key, value in found[store].items() if key not in network - expected[store].keys()
        }
    assert found == expected
    assert found["time_source"] == ("device" if ts else "received")
    if ts:
        assert format_us(found["observed_us"]) == "2026-01-02T03:00:00.000000Z"


@pytest.mark.parametrize("reading", READINGS)
async def test_what_all_ways_agree_on_is_what_was_said(reading: str) -> None:  # AC-a40
    """Guards the parity itself: forms that all lost the same value would agree too."""
    record = await taken(FORMS["HTTP nested"], READINGS[reading], TS)
    kept = [value for store in VALUES for value in record[store].values()]
    columns = ("latitude", "longitude", "altitude_m", "speed_kmh", "course_deg", "accuracy_m", "hdop", "pdop")
    kept += [record[name] for name in columns if record[name] is not None]
    kept += [record["satellites"]] if record["satellites"] >= 0 else []
    for value in READINGS[reading].values():
        if isinstance(value, (bool, int, float, str)):
            assert value in kept or str(value) in kept
