"""AutoPi: what its items mean, who sent them, and that a repeated batch is stored once."""

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.detectors import ignition
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


def test_a_position_without_a_fix_keeps_the_rest() -> None:  # AP-a05
    made = view({"@t": "track.pos", "@ts": "2020-09-03T12:38:24", "sog": 3.5, "cog": 0})
    assert (made["latitude"], made["fix_valid"], made["speed_kmh"]) == (None, False, 3.5)
    nowhere = view(POSITION | {"loc": {"lat": 0, "lon": 0}})
    assert nowhere["numbers"]["autopi.loc.lat"] == nowhere["numbers"]["autopi.loc.lon"] == 0


def test_the_constant_course_of_the_nmea_path_is_no_course() -> None:
    made = view(POSITION | {"cog": 0})
    assert (made["course_deg"], made["numbers"]["autopi.cog"]) == (None, 0)
    assert view(POSITION | {"cog": 0.0})["course_deg"] == 0
    assert view(POSITION | {"cog": 359})["course_deg"] == 359
    assert view(POSITION | {"cog": 361})["numbers"]["autopi.cog"] == 361


def test_a_fix_that_names_its_date_has_a_time() -> None:
    made = view(POSITION | {"date_utc": "2020-09-03", "fix": "3D", "nsat_glonass": 4})
    assert made["fix_at"] == "2020-09-03T06:02:24.000000Z"
    assert made["texts"] == {"autopi.utc": "06:02:24", "autopi.date_utc": "2020-09-03", "autopi.fix": "3D"}
    assert (made["satellites"], made["numbers"]["autopi.nsat_glonass"]) == (9, 4)
    assert (made["fix_valid"], view(POSITION)["fix_valid"]) == (True, None)
    assert view(POSITION | {"fix": "no_fix"})["fix_valid"] is False
    assert view(POSITION | {"fix": ["3D"]})["fix_valid"] is None
    assert view(POSITION)["fix_at"] is None


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


@pytest.mark.parametrize("kind", ["spm.bat", "spm.battery"])
def test_a_battery_measured_by_another_service_is_the_vehicles_too(kind: str) -> None:  # AP-a06
    made = view({"@t": kind, "@ts": "2026-01-01T10:00:00Z", "voltage": 12.4, "state": "discharging", "level": 80})
    assert made["numbers"] == {"external.powersource.voltage": 12.4, "battery.level": 80}
    assert made["texts"] == {"battery.state": "discharging"}


EXPORTED = {
    "@vid": 106,
    "@uid": "ee3df171-ff0f-6209-a3db-aa00b00e1d05",
    "@ts": "2021-05-25T12:33:42.686380Z",
    "@rec": "2021-05-25T12:33:52.636385Z",
}


@pytest.mark.parametrize(
    ("sent", "exported"),
    [
        (
            {"@t": "obd.rpm", "value": 830.5, "unit": "revolutions_per_minute"},
            {"@t": "obd.rpm", "obd.rpm.value": 830.5, "obd.rpm.unit": "revolutions_per_minute"},
        ),
        (
            {"@t": "track.pos", "loc": {"lat": 57.02241, "lon": 9.89919}, "sog": 62.5, "nsat": 9},
            {"@t": "track.pos", "track.pos.loc": {"lat": 57.02241, "lon": 9.89919}, "track.pos.sog": 62.5, "nsat": 9},
        ),
        (
            {"@t": "event.vehicle.battery", "@tag": "vehicle/battery/discharging", "level": 80},
            {
                "@t": "event.vehicle.battery",
                "@tag": "vehicle/battery/discharging",
                "event.vehicle.battery.level": 80,
            },
        ),
        (
            {"@t": "event.vehicle.engine", "@tag": "vehicle/engine/running"},
            {"@t": "event.vehicle.engine", "@tag": "vehicle/engine/running"},
        ),
    ],
)
def test_an_item_the_cloud_hands_on_is_the_item_the_device_sent(sent: dict[str, Any], exported: dict[str, Any]) -> None:
    # AP-a04
    of_device = view(sent | {"@ts": EXPORTED["@ts"]}, headers={"unit-id": EXPORTED["@uid"]})
    of_cloud = view(exported | EXPORTED)
    assert of_cloud["source_device"] == EXPORTED["@uid"]
    assert of_cloud["platform_at"] == "2021-05-25T12:33:52.636385Z"
    assert of_cloud["numbers"].pop("autopi.@vid") == 106
    assert of_cloud | {"platform_at": None} == of_device
    assert ids([exported | EXPORTED]) == ids([exported | EXPORTED | {"@rec": "2021-05-25T12:40:00Z"}])


def test_nothing_the_cloud_adds_is_lost_where_the_request_names_the_unit() -> None:  # AP-a17
    odd = EXPORTED | {"@t": "obd.rpm", "value": 1, "obd.rpm.value": 2, "@rec": "yesterday"}
    made = view(odd, headers={"unit-id": "unit-1"})
    assert made["source_device"] == "unit-1"
    assert made["numbers"] == {"engine.rpm": 1, "autopi.obd.rpm.value": 2, "autopi.@vid": 106}
    assert made["texts"] == {"autopi.@uid": EXPORTED["@uid"], "autopi.@rec": "yesterday"}


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


@pytest.mark.parametrize(
    ("kind", "unit", "value", "expected"),
    [
        ("obd.speed", "kph", 50, 50),
        ("obd.speed", "kilometer / hour", 50, 50),
        ("obd.speed", "mph", 50, 80.4672),
        ("obd.speed", "mile_per_hour", 50, 80.4672),
        ("obd.coolant_temp", "degC", 81, 81),
        ("obd.coolant_temp", "°C", 81, 81),
        ("obd.coolant_temp", "degree_Celsius", 81, 81),
        ("obd.coolant_temp", "°F", 212, 100),
        ("obd.ambiant_air_temp", "fahrenheit", 14, -10),
        ("obd.intake_temp", "kelvin", 300, 26.85),
        ("obd.rpm", "revolutions_per_minute", 1893.5, 1893.5),
        ("obd.engine_load", "percent", 33.3, 33.3),
        ("obd.throttle_pos", "%", 12, 12),
        ("obd.fuel_level", "ratio", 0.56, 56),
        ("obd.fuel_rate", "lph", 3.1, 3.1),
        ("obd.elm_voltage", "volt", 12.4, 12.4),
        ("rpi.temp", "C", 51.5, 51.5),
    ],
)
def test_a_stated_unit_is_honoured(kind: str, unit: str, value: float, expected: float) -> None:
    # AP-a24
    made = view({"@t": kind, "@ts": "2021-02-24T09:03:02Z", "value": value, "unit": unit})
    assert list(made["numbers"].values()) == [expected]
    assert not next(iter(made["numbers"])).startswith("autopi.")
    assert made["texts"] == ({"autopi.unit": unit} if value == expected else {})  # beside a converted value it is wrong


def test_a_unit_inside_an_object_is_honoured_too() -> None:
    item = {"@t": "rpi.temp", "@ts": "2021-02-24T09:03:02Z"}
    made = view(item | {"cpu": {"value": 122, "unit": "F"}, "gpu": {"value": 49.5, "unit": "C"}})
    assert made["numbers"] == {"pcb.temperature": 50, "autopi.gpu.value": 49.5}
    assert made["texts"] == {"autopi.gpu.unit": "C"}
    odd = view(item | {"cpu": {"value": "hot", "unit": "F"}})
    assert odd["texts"] == {"autopi.cpu.value": "hot", "autopi.cpu.unit": "F"}


@pytest.mark.parametrize("kind", ["obd.speed", "obd.coolant_temp", "obd.fuel_rate"])
def test_a_unit_that_is_not_known_is_not_guessed(kind: str) -> None:
    made = view({"@t": kind, "@ts": "2021-02-24T09:03:02Z", "value": 50, "unit": "furlong"})
    assert made["numbers"] == {"autopi.value": 50}
    assert made["texts"] == {"autopi.unit": "furlong"}


def test_acceleration_and_processor_temperature() -> None:
    made = view({"@t": "acc.xyz", "@ts": "2021-02-24T09:03:02Z", "x": 0.1, "y": -0.2, "z": 1})
    assert made["numbers"] == {"x.acceleration": 0.1, "y.acceleration": -0.2, "z.acceleration": 1}
    made = view(
        {"@t": "rpi.temp", "@ts": "2021-02-24T09:03:02Z", "cpu": {"value": 50.1, "unit": "C"}, "gpu": {"value": 49}}
    )
    assert made["numbers"] == {"pcb.temperature": 50.1, "autopi.gpu.value": 49}


def test_acceleration_beside_rotation() -> None:
    item = {"@t": "acc.gyro_acc_xyz", "@ts": "2021-02-24T09:03:02Z"}
    made = view(item | {"acc": {"x": 0.1, "y": 0.2, "z": 0.9, "t": 1}, "gyro": {"x": 5, "y": 6, "z": 7}})
    assert made["numbers"] == {
        "x.acceleration": 0.1, "y.acceleration": 0.2, "z.acceleration": 0.9, "autopi.acc.t": 1,
        "autopi.gyro.x": 5, "autopi.gyro.y": 6, "autopi.gyro.z": 7,
    }  # fmt: skip


def test_an_exploded_list_is_as_many_records() -> None:
    # AP-a15, AP-a24
    code = {"@t": "obd.dtc", "@ts": "2021-02-24T09:03:09"}
    batch = [code | {"code": "P0104", "text": "Mass Air Flow"}, code | {"code": "P0300", "text": "Misfire"}]
    made = views(batch)
    assert [each["texts"]["autopi.code"] for each in made] == ["P0104", "P0300"]
    assert len({each["id"] for each in made}) == 2
    whole = view(code | {"values": [{"code": "P0104", "text": "x"}], "count": 1})
    assert whole["texts"] == {"autopi.values": '[{"code":"P0104","text":"x"}]'}


@pytest.mark.parametrize("value", [3, 2.5, True, "on"])
def test_a_scalar_keeps_its_json_type(value: Any) -> None:
    # AP-a04, AP-a24
    made = view({"@t": "my.scalar", "@ts": "2021-02-24T09:03:02Z", "value": value})
    kept = {**made["numbers"], **made["booleans"], **made["texts"]}
    assert kept == {"autopi.value": value}
    assert type(kept["autopi.value"]) is type(value)


def test_an_event_is_named_by_its_tag_and_may_be_empty() -> None:  # AP-a08, AP-a10
    made = view({"@tag": "system/minion/online", "@t": "event.system.minion", "@ts": "2021-02-24T09:02:12.192479Z"})
    assert (made["type"], made["event"]) == ("event.system.minion", {"type": "system/minion/online", "attributes": {}})


def test_the_other_fields_of_an_event_are_its_attributes() -> None:  # AP-a09
    item = {"trigger": "stn", "awaken": "sleeping", "@ts": "2021-02-24T09:02:02Z", "@tag": "system/power/on"}
    made = view(item | {"@t": "event.system.power"})
    assert made["event"] == {"type": "system/power/on", "attributes": {"trigger": "stn", "awaken": "sleeping"}}


@pytest.mark.parametrize(
    ("tag", "extra", "numbers", "booleans", "texts"),
    [
        ("vehicle/battery/discharging", {"level": 42}, {"battery.level": 42}, {}, {"battery.state": "discharging"}),
        ("vehicle/battery/nominal_voltage/predefined", {"value": 12}, {}, {}, {}),
        ("vehicle/position/moving", {}, {}, {"movement.status": True}, {}),
        ("vehicle/position/standstill", {}, {}, {"movement.status": False}, {}),
        ("vehicle/position/unknown", {"reason": "no_fix"}, {}, {}, {}),
        ("vehicle/ignition/on", {"source": "can"}, {}, {"engine.ignition.status": True}, {}),
        ("vehicle/ignition/off", {"source": "can"}, {}, {"engine.ignition.status": False}, {}),
        ("vehicle/engine/running", {}, {}, {}, {}),
        ("vehicle/engine/not_running", {"reason": "no_power"}, {}, {}, {}),
        ("vehicle/communication/established", {}, {}, {}, {}),
        ("vehicle/motion/jolting", {}, {}, {}, {}),
        ("system/network/wwan0/online", {}, {}, {}, {}),
        ("system/time/synced", {"uncertain": False}, {}, {}, {}),
    ],
)
def test_the_state_of_an_event_is_the_last_part_of_its_tag(
    tag: str, extra: dict[str, Any], numbers: dict[str, float], booleans: dict[str, bool], texts: dict[str, str]
) -> None:
    # AP-a10
    kind = "event." + ".".join(tag.split("/")[:-1])
    made = view({"@t": kind, "@tag": tag, "@ts": "2021-02-24T09:02:02.532461Z", **extra})
    assert (made["type"], made["event"]) == (kind, {"type": tag, "attributes": extra})
    assert (made["numbers"], made["booleans"], made["texts"]) == (numbers, booleans, texts)


def test_the_name_of_a_geofence_is_an_attribute_and_not_a_type() -> None:
    # AP-a10
    item = {"@ts": "2021-02-24T09:02:02Z", "loc": {"lat": 57.02241, "lon": 9.89919}}
    seen = [
        view(item | {"@t": f"event.vehicle.geofence.{slug}", "@tag": f"vehicle/geofence/{slug}/inside"})
        for slug in ("home", "depot-2")
    ]
    assert {made["type"] for made in seen} == {"event.vehicle.geofence"}
    assert [made["event"]["type"] for made in seen] == [
        "vehicle/geofence/home/inside",
        "vehicle/geofence/depot-2/inside",
    ]
    assert [made["event"]["attributes"]["geofence"] for made in seen] == ["home", "depot-2"]
    assert {made["latitude"] for made in seen} == {57.02241}
    assert len({made["id"] for made in seen}) == 2
    card = view(
        {"@t": "event.system.rfid.04a1", "@tag": "system/rfid/04a1/authenticated", "@ts": "2021-02-24T09:02:02Z"}
    )
    assert (card["type"], card["event"]["attributes"]) == ("event.system.rfid", {"rfid": "04a1"})


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


def test_a_thousand_items_are_read_in_their_order() -> None:  # AP-a02, AP-a20, AP-a29
    kinds: list[dict[str, Any]] = [
        {"@t": "obd.rpm", "value": 900},
        POSITION,
        {"@t": "event.system.power", "@tag": "system/power/on"},
    ]
    batch = [kinds[n % 3] | {"@ts": f"2021-02-24T09:03:02.{n:06}", "n": n} for n in range(1000)]
    made = views(batch)
    assert [each["observed_at"][20:26] for each in made] == [f"{n:06}" for n in range(1000)]
    assert [each["type"] for each in made[:3]] == ["obd.rpm", "track.pos", "event.system.power"]
    assert len({each["id"] for each in made}) == 1000


@given(st.integers(0, 999_999), st.booleans())
def test_every_microsecond_survives(fraction: int, zone: bool) -> None:  # AP-a03, AP-a23
    stamp = f"2020-09-03T12:38:24.{fraction:06}"
    assert view(POSITION | {"@ts": stamp + ("Z" if zone else "")})["observed_at"] == f"{stamp}Z"


@given(st.permutations(range(12)), st.lists(st.integers(1, 11), max_size=4))
def test_ids_do_not_depend_on_the_batches_items_come_in(order: list[int], cuts: list[int]) -> None:  # AP-a14, AP-a15
    items = [POSITION | {"@ts": f"2020-09-03T12:38:{n // 2:02}", "alt": n} for n in range(12)]
    bounds = [0, *sorted(set(cuts)), 12]
    again: set[bytes] = set()
    for first, last in pairwise(bounds):
        again |= ids([items[n] for n in order[first:last]])
    assert again == ids(items)
    assert len(again) == 12


def test_data_that_comes_a_week_late_keeps_its_time_and_does_not_turn_a_state_back() -> None:  # AP-a25
    late = view(POSITION | {"@ts": "2025-12-26T03:04:06"})
    assert (late["time_source"], late["observed_at"]) == ("device", "2025-12-26T03:04:06.000000Z")
    stamps = ("2026-01-02T03:04:00", "2025-12-26T03:04:06")
    newest, older = canonicalize(SOURCE, request([POSITION | {"@ts": stamp} for stamp in stamps]))
    assert isinstance(newest, Canonical)
    assert isinstance(older, Canonical)
    newest.record["booleans"]["engine.ignition.status"] = True
    older.record["booleans"]["engine.ignition.status"] = False
    state, _ = ignition.step(None, newest.record)
    assert ignition.step(state, older.record) == (state, ())


def test_one_bad_field_does_not_cost_the_record() -> None:  # AP-a04, AP-a26
    odd = {"@t": "track.pos", "@ts": "soon", "loc": [1, 2], "sog": "fast", "nsat": 900, "alt": None, "cog": {"a": 1}}
    made = view(odd)
    assert made["time_source"] == "received"
    assert made["texts"] == {"autopi.@ts": "soon", "autopi.loc": "[1,2]", "autopi.sog": "fast"}
    assert made["numbers"] == {"autopi.nsat": 900, "autopi.cog.a": 1}
