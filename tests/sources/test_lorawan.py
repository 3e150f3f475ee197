"""What ChirpStack and The Things Stack share: DevEUIs, clocks, and the same reading as over every other way."""

from typing import Any

import orjson
import pytest

from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.lorawan import eui

NOW = 1_767_322_900_000_000
DEVICE = {"devEui": "1000000000000001"}
IDS = {"device_id": "dev1", "dev_eui": "1000000000000001"}


def made(source: str, body: Any, **more: Any) -> Canonical | Defect:
    (only,) = canonicalize(
        load_source(source), Request(body=orjson.dumps(body), received_us=NOW, tenant_id="t", **more)
    )
    return only


def record(source: str, body: Any, **more: Any) -> Any:
    found = made(source, body, **more)
    assert isinstance(found, Canonical), found
    return found.record


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0004A30B001C0530", "0004a30b001c0530"),
        ("00-04-A3-0B-00-1C-05-30", "0004a30b001c0530"),
        ("00:04:a3:0b:00:1c:05:30", "0004a30b001c0530"),
        ("EAAAAAAAAAM=", "1000000000000003"),
        ("no eui", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_a_deveui_has_one_spelling(written: Any, read: str) -> None:  # AC-a32
    assert eui(written) == read


READING = {
    "temperature": 21.5,
    "humidity": 60,
    "ignition": True,
    "latitude": 48.1,
    "longitude": 11.5,
    "speed": 3,
    "note": "ok",
}
FORMS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "flat": ("device", {**READING, "ts": 1767322800}, {}),
    "nested": ("device", {"telemetry": READING, "ts": "2026-01-02T03:00:00Z"}, {}),
    "batch": ("device", {"items": [{"telemetry": READING, "ts": 1767322800000}]}, {}),
    "thingsboard": ("device", {"ts": 1767322800000, "values": READING}, {}),
    "gateway": ("device", {"Device A": [{"ts": 1767322800000, "values": READING}]}, {}),
    "generic": ("generic", {"externalDeviceId": "x", "telemetry": READING, "ts": 1767322800000}, {}),
    "chirpstack": (
        "chirpstack",
        {"deviceInfo": DEVICE, "time": "2026-01-02T03:00:00Z", "object": READING},
        {"query": {"event": "up"}},
    ),
    "ttn": (
        "ttn",
        {
            "end_device_ids": IDS,
            "uplink_message": {"decoded_payload": READING, "settings": {"time": "2026-01-02T03:00:00Z"}},
        },
        {},
    ),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_the_same_reading_is_the_same_record_whichever_way_it_comes(form: str) -> None:  # AC-a40
    source, body, more = FORMS[form]
    found = record(source, body, **more)
    assert found["observed_us"] == 1_767_322_800_000_000
    assert (found["latitude"], found["longitude"]) == (48.1, 11.5)
    own = {name.removeprefix(f"{source}."): value for name, value in found["numbers"].items()}
    assert {name: own[name] for name in ("temperature", "humidity", "speed")} == {
        "temperature": 21.5,
        "humidity": 60,
        "speed": 3,
    }
    assert found["booleans"]["engine.ignition.status"] is True
    assert found["texts"][f"{source}.note"] == "ok"
