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


def decoded(source: str, values: Any) -> Any:
    """Return the record of an uplink with these decoded values."""
    if source == "ttn":
        return record(source, {"end_device_ids": IDS, "uplink_message": {"decoded_payload": values}})
    return record(source, {"deviceInfo": DEVICE, "object": values}, query={"event": "up"})


def measured(number: Any, value: Any, timestamp: int = 1_767_322_800_000) -> dict[str, Any]:
    return {"measurementId": number, "timestamp": timestamp, "type": "?", "measurementValue": value}


@pytest.mark.parametrize("source", ["ttn", "chirpstack"])
def test_a_list_of_measurements_is_opened_and_the_newest_counts(source: str) -> None:  # AC-a39
    old = [measured("4197", 1.5, 1_767_300_000_000), measured("4198", 2.5, 1_767_300_000_000)]
    status = measured("4200", [{"id": 1, "eventName": "Start moving event."}])
    new = [status, measured("4197", 113.95), measured("4198", 22.5), measured("4097", 24.7), measured("3000", 90)]
    found = decoded(source, {"err": 0, "valid": True, "messages": [old, new]})
    assert (found["latitude"], found["longitude"]) == (22.5, 113.95)
    assert found["fix_us"] == 1_767_322_800_000_000
    assert (found["numbers"]["temperature"], found["numbers"]["battery.level"]) == (24.7, 90)
    assert orjson.loads(found["texts"][f"{source}.messages"]) == [old, new]


@pytest.mark.parametrize("source", ["ttn", "chirpstack"])
def test_measurements_without_groups_and_odd_ones_cost_nothing(source: str) -> None:
    air = [
        measured(4097, 21.5),
        measured(4098, 60),
        measured(4101, 101_325),
        {"measurementId": 4100},
        7,
        [[[air_of(1)]]],
    ]
    found = decoded(source, {"messages": air})
    assert {name: found["numbers"][name] for name in ("temperature", "humidity", "air.pressure")} == {
        "temperature": 21.5,
        "humidity": 60,
        "air.pressure": 1013.25,
    }
    assert "co2" not in found["numbers"]
    assert found["fix_us"] == 0
    assert found["latitude"] != found["latitude"]
    assert decoded(source, {"messages": "none"})["texts"][f"{source}.messages"] == "none"


def air_of(value: Any) -> dict[str, Any]:
    """Make a measurement that lies deeper than any decoder puts it."""
    return measured(4100, value)


@pytest.mark.parametrize("source", ["ttn", "chirpstack"])
def test_a_tracker_that_lost_its_fix_says_so(source: str) -> None:
    failed = {"fixFailed": True, "cached": {"latitudeDeg": -32, "longitudeDeg": 116}, "batV": 5.55}
    found = decoded(source, failed)
    assert (found["fix_valid"], found["numbers"]["battery.voltage"]) == (0, 5.55)
    assert found["latitude"] != found["latitude"]
    assert found["numbers"][f"{source}.cached.latitudeDeg"] == -32
