"""ChirpStack and The Things Stack: what their messages mean, and what must never be taken for something else."""

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


@pytest.mark.parametrize(
    ("kind", "event"), [("join", "lorawan.join"), ("txack", "lorawan.txack"), ("log", "lorawan.log")]
)
def test_network_messages_are_events(kind: str, event: str) -> None:  # AC-a33
    assert record("chirpstack", {"deviceInfo": DEVICE}, query={"event": kind})["event_type"] == event


def test_status_and_location_are_telemetry() -> None:  # AC-a33
    status = record("chirpstack", {"deviceInfo": DEVICE, "margin": 7, "batteryLevel": 50}, query={"event": "status"})
    assert (status["event_type"], status["numbers"]["battery.level"]) == ("", 50)
    powered = record(
        "chirpstack", {"deviceInfo": DEVICE, "externalPowerSource": True, "batteryLevel": 0}, query={"event": "status"}
    )
    assert "battery.level" not in powered["numbers"]
    place = {"latitude": 4.1, "altitude": 3, "source": "GPS"}
    located = record("chirpstack", {"deviceInfo": DEVICE, "location": place}, query={"event": "location"})
    assert (located["latitude"], located["longitude"]) == (4.1, 0)  # an absent coordinate is zero


def test_a_gateways_place_is_never_the_devices() -> None:
    heard = [{"gatewayId": "g", "rssi": -50, "location": {"latitude": 47.0, "longitude": 10.0}}]
    up = record("chirpstack", {"deviceInfo": DEVICE, "rxInfo": heard, "fCnt": 1}, query={"event": "up"})
    assert up["latitude"] != up["latitude"]
    heard_ttn = [{"gateway_ids": {"gateway_id": "g"}, "rssi": -50, "location": {"latitude": 47.0, "longitude": 10.0}}]
    uplink = record("ttn", {"end_device_ids": IDS, "uplink_message": {"rx_metadata": heard_ttn}})
    assert uplink["latitude"] != uplink["latitude"]


def test_a_repeated_uplink_has_the_same_id_and_another_payload_another() -> None:  # AC-a38
    def uplink(correlation: str, payload: str, rssi: int, counter: int = 5) -> Any:
        message = {"session_key_id": "s", "f_cnt": counter, "frm_payload": payload, "rx_metadata": [{"rssi": rssi}]}
        body = {"end_device_ids": IDS, "correlation_ids": [correlation], "uplink_message": message}
        return record("ttn", {**body, "received_at": f"2026-01-02T03:00:0{-rssi % 10}Z"})["id"]

    assert uplink("as:up:1", "AQ==", -51) == uplink("as:up:2", "AQ==", -62)
    assert uplink("as:up:1", "AQ==", -51) != uplink("as:up:1", "Ag==", -51)
    assert uplink("as:up:1", "AQ==", -51) != uplink("as:up:1", "AQ==", -51, counter=6)


def test_the_first_uplink_has_counter_zero_and_simulated_times_are_none() -> None:
    message = {"f_port": 1, "received_at": "0001-01-01T00:00:00Z", "settings": {"data_rate": {}}}
    first = record("ttn", {"end_device_ids": IDS, "simulated": True, "uplink_message": message})
    assert (first["numbers"]["lorawan.counter"], first["time_source"]) == (0, "received")


def test_a_normalized_uplink_counts_no_value_twice() -> None:
    body = {"end_device_ids": IDS, "uplink_normalized": {"normalized_payload": {"air": {"temperature": 21}}}}
    numbers = record("ttn", body)["numbers"]
    assert numbers["ttn.normalized.air.temperature"] == 21
    assert "temperature" not in numbers


def test_who_is_named_only_in_the_path_is_found_by_it() -> None:
    found = made("ttn", {"uplink_message": {"f_cnt": 1}}, path_params={"device": "dev-7"})
    assert isinstance(found, Canonical)
    assert [(each.kind, each.value) for each in found.identities] == [("external_id", "dev-7")]


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
