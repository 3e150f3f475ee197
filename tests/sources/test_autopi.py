"""AutoPi: what its items mean, who sent them, and that a repeated batch is stored once."""

from typing import Any

import orjson
import pytest

from schemas.view import telemetry_view
from sources.autopi import SOURCE
from sources.contract import Request
from sources.credentials import authorization
from sources.engine import Canonical, Defect, canonicalize

RECEIVED_US = 1_767_323_045_000_000
POSITION = {
    "utc": "06:02:24",
    "cog": 140.22,
    "nsat": 9,
    "alt": 34,
    "@ts": "2020-09-03T12:38:24.374314Z",
    "@t": "track.pos",
    "sog": 62.5,
    "loc": {"lat": 57.02241, "lon": 9.89919},
}


def request(body: Any, **parts: Any) -> Request:
    return Request(body=orjson.dumps(body), received_us=RECEIVED_US, tenant_id="t", credential_id="c", **parts)


def views(body: Any, **parts: Any) -> list[dict[str, Any]]:
    made = list(canonicalize(SOURCE, request(body, **parts)))
    assert not [each for each in made if isinstance(each, Defect)]
    return [telemetry_view(each.record) for each in made if isinstance(each, Canonical)]


def view(item: dict[str, Any], **parts: Any) -> dict[str, Any]:
    (made,) = views([item], **parts)
    return made


def ids(body: Any, **parts: Any) -> set[bytes]:
    return {made.record["id"] for made in canonicalize(SOURCE, request(body, **parts)) if isinstance(made, Canonical)}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token", "TOKEN"])  # AP-a11, AP-a12, AP-c01
def test_both_schemes_present_the_token_in_any_case(scheme: str) -> None:
    (extract,) = SOURCE.credentials
    assert extract(Request(headers={"authorization": f"{scheme} s3cret"})) == "s3cret"
    assert extract(Request(headers={"authorization": "Basic s3cret"})) == ""
    assert authorization("bearer")(Request()) == ""


def test_a_position_is_read_with_every_microsecond() -> None:  # AP-a03, AP-a05
    made = view(POSITION)
    assert made["observed_at"] == "2020-09-03T12:38:24.374314Z"
    assert (made["latitude"], made["longitude"], made["altitude_m"]) == (57.02241, 9.89919, 34)
    assert (made["course_deg"], made["satellites"]) == (140.22, 9)


def test_speed_is_kilometres_per_hour_and_kept_as_sent() -> None:  # AP-c04
    made = view(POSITION)
    assert made["speed_kmh"] == 62.5
    assert made["numbers"]["autopi.sog"] == 62.5


def test_the_time_of_day_is_kept_and_never_used() -> None:  # AP-c03
    assert view(POSITION)["texts"]["autopi.utc"] == "06:02:24"


@pytest.mark.parametrize("loc", [None, {}, {"lat": 0, "lon": 0}])
def test_no_fix_gives_no_position(loc: Any) -> None:
    item = {key: value for key, value in POSITION.items() if key != "loc"} | ({} if loc is None else {"loc": loc})
    made = view(item)
    assert (made["latitude"], made["longitude"], made["fix_valid"]) == (None, None, False)


def test_a_position_at_the_equator_is_a_position() -> None:
    assert view(POSITION | {"loc": {"lat": 0, "lon": 9.5}})["latitude"] == 0


@pytest.mark.parametrize("stamp", ["2020-09-03T12:38:24", "2020-09-03T12:38:24Z", "2020-09-03T12:38:24.000000"])
def test_a_time_without_zone_is_utc(stamp: str) -> None:  # AP-a23
    made = view(POSITION | {"@ts": stamp})
    assert (made["observed_at"], made["time_source"]) == ("2020-09-03T12:38:24.000000Z", "device")


def test_the_vehicle_battery_is_an_outside_supply() -> None:  # AP-a06
    made = view(
        {"@t": "obd.bat", "@ts": "2021-02-24T09:03:09.310362Z", "voltage": 15.4, "state": "overcharging", "level": 100}
    )
    assert made["numbers"] == {"external.powersource.voltage": 15.4, "battery.level": 100}
    assert made["texts"] == {"battery.state": "overcharging"}


def test_data_usage_counts_bytes() -> None:  # AP-a07
    made = view({"@t": "ec2x.data_usage", "@ts": "2021-02-24T09:03:02Z", "sent": 2695, "recv": 4742})
    assert made["numbers"] == {"network.sent": 2695, "network.received": 4742}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("obd.rpm", "engine.rpm"),
        ("obd.speed", "vehicle.speed"),
        ("obd.coolant_temp", "engine.coolant.temperature"),
        ("obd.engine_load", "engine.load.level"),
        ("obd.fuel_level", "fuel.level"),
        ("obd.fuel_rate", "fuel.consumption"),
        ("obd.intake_temp", "intake.air.temperature"),
        ("obd.ambiant_air_temp", "ambient.air.temperature"),
        ("obd.throttle_pos", "throttle.level"),
        ("rpi.temp", "pcb.temperature"),
    ],
)
def test_scalar_results_get_their_canonical_name(kind: str, name: str) -> None:  # AP-a24
    assert view({"@t": kind, "@ts": "2021-02-24T09:03:02Z", "value": 41.5})["numbers"] == {name: 41.5}


def test_a_stated_unit_is_honoured_and_an_unknown_one_is_not_guessed() -> None:
    item = {"@t": "obd.speed", "@ts": "2021-02-24T09:03:02Z", "value": 50}
    assert view(item | {"unit": "mph"})["numbers"] == {"vehicle.speed": 80.4672}
    assert view(item | {"unit": "furlong"})["numbers"] == {"autopi.value": 50}


def test_acceleration_and_processor_temperature() -> None:
    made = view({"@t": "acc.xyz", "@ts": "2021-02-24T09:03:02Z", "x": 0.1, "y": -0.2, "z": 1})
    assert made["numbers"] == {"x.acceleration": 0.1, "y.acceleration": -0.2, "z.acceleration": 1}
    made = view(
        {"@t": "rpi.temp", "@ts": "2021-02-24T09:03:02Z", "cpu": {"value": 50.1, "unit": "C"}, "gpu": {"value": 49}}
    )
    assert made["numbers"] == {"pcb.temperature": 50.1, "autopi.gpu.value": 49}


def test_an_event_is_named_by_its_tag_and_may_be_empty() -> None:  # AP-a08, AP-a10
    made = view({"@tag": "system/minion/online", "@t": "event.system.minion", "@ts": "2021-02-24T09:02:12.192479Z"})
    assert (made["type"], made["event"]) == ("event.system.minion", {"type": "system/minion/online", "attributes": {}})


def test_the_other_fields_of_an_event_are_its_attributes() -> None:  # AP-a09
    item = {"trigger": "stn", "awaken": "sleeping", "@ts": "2021-02-24T09:02:02Z", "@tag": "system/power/on"}
    made = view(item | {"@t": "event.system.power"})
    assert made["event"] == {"type": "system/power/on", "attributes": {"trigger": "stn", "awaken": "sleeping"}}


def test_telemetry_is_no_event() -> None:
    assert view(POSITION)["event"] is None


def test_unknown_kinds_and_fields_are_kept() -> None:  # AP-a04
    made = view({"@t": "my.thing", "@ts": "2021-02-24T09:02:02Z", "a": 1, "b": {"c": True}, "d": [1, 2], "value": "x"})
    assert made["type"] == "my.thing"
    assert made["numbers"] == {"autopi.a": 1}
    assert made["booleans"] == {"autopi.b.c": True}
    assert made["texts"] == {"autopi.d": "[1,2]", "autopi.value": "x"}


def test_the_unit_of_the_header_comes_before_the_path() -> None:  # AP-a17, AP-c02
    parts = {"headers": {"unit-id": "unit-1"}, "path_params": {"device": "unit-2"}}
    (made,) = canonicalize(SOURCE, request([POSITION], **parts))
    assert isinstance(made, Canonical)
    assert made.record["source_device"] == "unit-1"
    assert {(each.kind, each.value) for each in made.identities} >= {("external_id", "unit-1"), ("serial", "unit-1")}
    assert SOURCE.ordering_key(request([POSITION], **parts)) == "unit-1"  # AP-a29
    assert SOURCE.ordering_key(request([POSITION], path_params={"device": "unit-2"})) == "unit-2"
    assert SOURCE.ordering_key(request([POSITION])) == ""
    assert "unit-id" in SOURCE.captured_headers


def test_without_a_unit_the_credential_decides() -> None:
    assert view(POSITION, device_id="d1")["device_id"] == "d1"


def test_an_empty_array_holds_nothing_and_one_object_is_a_batch_of_one() -> None:  # AP-a27
    assert views([]) == []
    assert len(views(POSITION)) == 1


def test_a_bad_item_is_quarantined_alone() -> None:  # AP-c07
    made = list(
        canonicalize(SOURCE, request([POSITION, 7, {"@ts": "2021-01-01T00:00:00Z", "a": 1}, POSITION | {"alt": 1}]))
    )
    assert [(d.reason, d.index) for d in made if isinstance(d, Defect)] == [("not_an_object", 1), ("no_type", 2)]
    assert len([m for m in made if isinstance(m, Canonical)]) == 2


def test_a_guide_style_body_with_comments_is_quarantined_whole() -> None:  # AP-c05
    (made,) = canonicalize(SOURCE, Request(body=b'[ // ...\n {"@t": "obd.bat",}]', received_us=RECEIVED_US))
    assert isinstance(made, Defect)
    assert (made.reason, made.index) == ("not_json", None)


def test_a_re_sent_item_has_the_same_id_in_any_batch() -> None:  # AP-a14, AP-a15, AP-a21
    battery = {"@t": "obd.bat", "@ts": "2021-02-24T09:03:09Z", "voltage": 15.4}
    assert ids([POSITION]) <= ids([battery, POSITION])
    assert ids([POSITION]) == ids([POSITION], device_id="", partition=3, offset=9)


def test_two_items_of_one_kind_and_time_are_both_kept() -> None:  # AP-a15
    item = {"@t": "obd.dtc", "@ts": "2021-02-24T09:03:09Z"}
    assert len(ids([item | {"value": 1}, item | {"value": 2}])) == 2


def test_the_unit_is_part_of_the_id() -> None:
    assert not ids([POSITION], headers={"unit-id": "a"}) & ids([POSITION], headers={"unit-id": "b"})


def test_a_clock_before_its_first_sync_is_said_so() -> None:
    made = view(POSITION | {"@ts": "1970-01-01T00:00:40Z"})
    assert (made["time_source"], made["observed_at"]) == ("received", made["received_at"])
    assert made["texts"]["timestamp.sent"] == "1970-01-01T00:00:40.000000Z"


def test_a_thousand_items_are_read() -> None:  # AP-a20
    assert len(views([POSITION | {"alt": n} for n in range(1000)])) == 1000
