"""flespi: what its messages mean, which device they belong to, and that nothing is lost, rounded or counted twice."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.model import EXTERNAL_ID, Device
from registry.view import RegistryView
from schemas.view import telemetry_view
from sources.contract import OnFailure, Request
from sources.engine import Canonical, Defect, canonicalize
from sources.flespi import SOURCE

RECEIVED_US = 1_767_323_045_000_000
GUIDE = {
    "ident": "352625333222111",
    "position.altitude": 273.61,
    "position.hdop": 0.7,
    "position.latitude": 49.069782,
    "position.longitude": 28.632826,
    "position.satellites": 18,
    "server.timestamp": 1650636570.426424,
    "timestamp": 1650636570.426424,
    "device.type.id": 123,
    "channel.id": 1111,
    "protocol.id": 10,
    "engine.ignition.status": True,
}


def request(body: Any, **parts: Any) -> Request:
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(body=sent, received_us=RECEIVED_US, tenant_id="t", credential_id="c", **parts)


def made(body: Any, **parts: Any) -> tuple[list[Canonical], list[Defect]]:
    everything = list(canonicalize(SOURCE, request(body, **parts)))
    return [m for m in everything if isinstance(m, Canonical)], [m for m in everything if isinstance(m, Defect)]


def views(body: Any, **parts: Any) -> list[dict[str, Any]]:
    records, defects = made(body, **parts)
    assert not defects
    return [telemetry_view(each.record) for each in records]


def view(message: dict[str, Any], **parts: Any) -> dict[str, Any]:
    (only,) = views([message], **parts)
    return only


def ids(body: Any, **parts: Any) -> list[bytes]:
    return [each.record["id"] for each in made(body, **parts)[0]]


def reasons(body: Any, **parts: Any) -> list[tuple[str, int | None]]:
    return [(each.reason, each.index) for each in made(body, **parts)[1]]


def message(**values: Any) -> dict[str, Any]:
    return {"ident": "1", "timestamp": 1700000000, **{key.replace("__", "."): value for key, value in values.items()}}


# --- what a message says ---------------------------------------------------------------------------------------------


def test_the_message_of_the_guide_is_read_whole() -> None:
    # FL-a05, FL-a07
    shown = view(GUIDE)
    assert shown["source_device"] == "352625333222111"
    assert (shown["latitude"], shown["longitude"], shown["altitude_m"]) == (49.069782, 28.632826, 273.61)
    assert (shown["hdop"], shown["satellites"]) == (0.7, 18)
    assert shown["observed_at"] == shown["platform_at"] == "2022-04-22T14:09:30.426424Z"
    assert shown["numbers"] == {"device.type.id": 123, "channel.id": 1111, "protocol.id": 10}
    assert shown["booleans"] == {"engine.ignition.status": True}
    assert shown["texts"] == {}


@given(st.integers(946_684_800_000_000, 4_102_444_800_000_000), st.integers(0, 6))
def test_a_time_is_exact_to_the_microsecond(ticks: int, digits: int) -> None:
    # FL-a06
    step = 10 ** (6 - digits)
    ticks -= ticks % step
    seconds, fraction = divmod(ticks, 1_000_000)
    written = f"{seconds}.{fraction // step:0{digits}}" if digits else f"{seconds}"
    body = f'[{{"ident": "1", "timestamp": {written}, "server.timestamp": "{written}"}}]'.encode()
    (only,), _ = made(body)
    assert only.record["sent_us"] == ticks
    assert only.record["platform_us"] == (
        ticks if 1_262_304_000_000_000 <= ticks <= RECEIVED_US + 86_400_000_000 else 0
    )


def test_values_keep_their_json_type_and_nothing_is_dropped() -> None:
    # FL-a07
    shown = view(
        message(a__int=3, a__float=3.5, a__true=True, a__text="3", a__big=2**60, a__list=[1, "x"], a__object={"b": 1})
        | {"peer": "10.0.0.1:5", "custom.my_param": 7, "timestamp.key": 5, "empty": None}
    )
    assert shown["numbers"] == {"a.int": 3, "a.float": 3.5, "a.object.b": 1, "custom.my_param": 7, "timestamp.key": 5}
    assert isinstance(shown["numbers"]["a.int"], int)
    assert shown["booleans"] == {"a.true": True}
    assert shown["texts"] == {
        "a.text": "3",
        "a.big": str(2**60),
        "a.list": '[1,"x"]',
        "peer": "10.0.0.1:5",
    }


def test_speed_is_kilometres_per_hour_and_direction_degrees() -> None:
    shown = view(message(position__speed=88.5, position__direction=359.9, position__timestamp=1699999990.5))
    assert (shown["speed_kmh"], shown["course_deg"]) == (88.5, 359.9)
    assert shown["fix_at"] == "2023-11-14T22:13:10.500000Z"


@pytest.mark.parametrize("sent", [{"latitude": 95, "longitude": 10}, {"latitude": 52.5}, {"longitude": -181.5}])
def test_half_a_position_and_one_nowhere_on_earth_keep_the_names_they_came_with(sent: dict[str, float]) -> None:
    shown = view(message(**{f"position__{name}": value for name, value in sent.items()}))
    assert (shown["latitude"], shown["longitude"]) == (None, None)
    assert shown["numbers"] == {f"flespi.position.{name}": value for name, value in sent.items()}


@pytest.mark.parametrize(("said", "shown"), [(True, True), (False, False), (None, None)])
def test_an_invalid_position_is_kept_and_said_to_be_invalid(said: bool | None, shown: bool | None) -> None:
    known = {} if said is None else {"position.valid": said}
    found = view(message(position__latitude=50.5, position__longitude=4.5) | known)
    assert (found["latitude"], found["longitude"], found["fix_valid"]) == (50.5, 4.5, shown)


def test_zero_zero_is_no_fix_unless_it_is_said_to_be_one() -> None:
    nowhere = message(position__latitude=0, position__longitude=0.0, position__satellites=0)
    found = view(nowhere)
    assert (found["latitude"], found["longitude"], found["fix_valid"]) == (None, None, False)
    assert found["numbers"] == {"flespi.position.latitude": 0, "flespi.position.longitude": 0}
    assert view(nowhere | {"position.valid": True})["latitude"] == 0
    assert view(message(position__latitude=0, position__longitude=9.5))["longitude"] == 9.5


def test_what_cannot_be_a_position_is_kept_beside_it() -> None:
    odd = view(
        message(position__speed="fast", position__direction=361, position__satellites=-1, position__valid="yes")
        | {"position.latitude": "50.5", "position.longitude": "4.5", "position.hdop": -1}
    )
    assert (odd["latitude"], odd["longitude"]) == (50.5, 4.5)
    assert (odd["speed_kmh"], odd["course_deg"], odd["satellites"], odd["hdop"]) == (None, None, None, None)
    assert odd["numbers"] == {
        "flespi.position.direction": 361,
        "flespi.position.satellites": -1,
        "flespi.position.hdop": -1,
    }
    assert odd["texts"] == {"flespi.position.speed": "fast", "flespi.position.valid": "yes"}


# --- times -----------------------------------------------------------------------------------------------------------


def test_buffered_data_is_marked_late() -> None:
    # FL-a18
    sent = 1700000000
    assert view(message(server__timestamp=sent + 3600))["booleans"] == {}
    late = view(message(server__timestamp=sent + 3600.000001))
    assert late["booleans"] == {"late.status": True}
    assert (late["observed_at"], late["time_source"]) == ("2023-11-14T22:13:20.000000Z", "device")


def test_a_clock_that_was_never_set_gives_way_to_the_servers() -> None:
    unset = view(message(timestamp=946684800, server__timestamp=1700000000.5))  # 2000-01-01
    assert (unset["observed_at"], unset["time_source"]) == ("2023-11-14T22:13:20.500000Z", "platform")
    assert unset["texts"]["timestamp.sent"] == "2000-01-01T00:00:00.000000Z"
    assert unset["booleans"] == {"late.status": True}


def test_without_a_timestamp_the_next_best_time_counts_and_says_so() -> None:
    # FL-c08
    platform = view({"ident": "1", "server.timestamp": 1700000000.25})
    assert (platform["observed_at"], platform["time_source"]) == ("2023-11-14T22:13:20.250000Z", "platform")
    received = view({"ident": "1", "din": 3})
    assert (received["observed_at"], received["time_source"]) == (received["received_at"], "received")


def test_a_message_without_a_timestamp_is_still_known_again() -> None:
    body = [{"ident": "1", "server.timestamp": 1700000000.25, "din": 3}]
    later = msgspec.structs.replace(request(body), received_us=RECEIVED_US + 60_000_000)
    (again,) = canonicalize(SOURCE, later)
    assert isinstance(again, Canonical)
    assert ids(body) == [again.record["id"]]


def test_a_time_that_cannot_be_read_is_kept() -> None:
    odd = view(message(timestamp="yesterday", server__timestamp=True))
    assert (odd["time_source"], odd["texts"]["flespi.timestamp"]) == ("received", "yesterday")
    assert odd["booleans"] == {"flespi.server.timestamp": True}


# --- who sent it -----------------------------------------------------------------------------------------------------


def found(ident: Any, *devices: Device, **parts: Any) -> str:
    registry = RegistryView()
    for device in devices:
        registry.apply(f"device/{device.id}", msgspec.json.encode(device))
    ((only,), defects) = made([message(ident=ident)], **parts)
    assert not defects
    return registry.identify("t", "", only.identities, only.child).device_id


def device(name: str, **attributes: str) -> Device:
    return Device(id=name, tenant_id="t", name=name, attributes=attributes)


@pytest.mark.parametrize("kind", ["imei", "serial", EXTERNAL_ID])
def test_the_ident_finds_the_device(kind: str) -> None:
    # FL-a08
    assert found("352625333222111", device("van", **{kind: "352625333222111"})) == "van"


def test_leading_zeros_of_an_ident_stay() -> None:
    # FL-a08
    assert view(message(ident="001234"))["source_device"] == "001234"
    assert found("001234", device("one", imei="1234"), device("two", imei="001234")) == "two"
    assert view(message(ident=1234))["source_device"] == "1234"


@pytest.mark.parametrize(
    "ident", ["flespi-352625333222111", "352625333222111@flespi", "eu:352625333222111", "a-352625333222111-b"]
)
def test_an_imei_inside_a_masked_ident_is_found(ident: str) -> None:
    # FL-a09
    van = device("van", imei="352625333222111")
    assert found(ident, van) == "van"
    assert found(ident, van, device("renamed", **{EXTERNAL_ID: ident})) == "renamed"  # the ident as it is comes first
    assert view(message(ident=ident))["source_device"] == ident


@pytest.mark.parametrize("ident", ["flespi-1234567890123", "x123456789012345678", "352625333222111-352625333222112"])
def test_no_device_is_guessed_from_part_of_an_ident(ident: str) -> None:
    others = ("1234567890123", "12345678901234567", "123456789012345678", "352625333222111", "352625333222112")
    assert found(ident, *(device(f"d{number}", imei=number) for number in others)) == ""


def test_a_prefix_set_in_the_url_is_no_part_of_the_ident() -> None:
    # FL-a09
    query = {"ident_prefix": "fl-"}
    assert view(message(ident="fl-605630"), query=query)["source_device"] == "605630"
    assert view(message(ident="605630"), query=query)["source_device"] == "605630"
    assert view(message(ident="fl-"), query=query)["source_device"] == "fl-"
    assert found("fl-605630", device("tracker", serial="605630"), query=query) == "tracker"
    assert found("fl-605630", device("tracker", serial="605630")) == ""


@pytest.mark.parametrize("ident", ["a#b", "a+b", "a/b", "a\nb", "a\x00b", "\x7f"])
def test_an_impossible_ident_goes_to_quarantine(ident: str) -> None:
    # FL-a17
    records, _ = made([message(ident=ident), message(ident="good")])
    assert [each.record["source_device"] for each in records] == ["good"]
    assert reasons([message(ident=ident), message(ident="good")]) == [("bad_ident", 0)]


@pytest.mark.parametrize("odd", [{"timestamp": 1}, {"ident": ""}, {"ident": " "}, {"ident": None}, {"ident": True}])
def test_a_message_without_an_ident_goes_to_quarantine_alone(odd: dict[str, Any]) -> None:
    # FL-a20
    batch = [message(), odd, 7, None, "text", [], message(din=1)]
    assert len(made(batch)[0]) == 2
    assert reasons(batch) == [("no_ident", 1), *(("not_an_object", index) for index in (2, 3, 4, 5))]


# --- notations -------------------------------------------------------------------------------------------------------

NOTATED = {
    "dots": GUIDE | {"adc.voltage.1": 12.5, "x.acceleration": 0.5, "co2": 400, "unknown.thing.enum": 2},
    "pascal": {
        "Ident": "352625333222111", "PositionAltitude": 273.61, "PositionHdop": 0.7, "PositionLatitude": 49.069782,
        "PositionLongitude": 28.632826, "PositionSatellites": 18, "ServerTimestamp": 1650636570.426424,
        "Timestamp": 1650636570.426424, "DeviceTypeId": 123, "ChannelId": 1111, "ProtocolId": 10,
        "EngineIgnitionStatus": True, "AdcVoltage1": 12.5, "XAcceleration": 0.5, "Co2": 400, "UnknownThingEnum": 2,
    },
    "camel": {
        "ident": "352625333222111", "positionAltitude": 273.61, "positionHdop": 0.7, "positionLatitude": 49.069782,
        "positionLongitude": 28.632826, "positionSatellites": 18, "serverTimestamp": 1650636570.426424,
        "timestamp": 1650636570.426424, "deviceTypeId": 123, "channelId": 1111, "protocolId": 10,
        "engineIgnitionStatus": True, "adcVoltage1": 12.5, "xAcceleration": 0.5, "co2": 400, "unknownThingEnum": 2,
    },
    "snake": {
        "ident": "352625333222111", "position_altitude": 273.61, "position_hdop": 0.7, "position_latitude": 49.069782,
        "position_longitude": 28.632826, "position_satellites": 18, "server_timestamp": 1650636570.426424,
        "timestamp": 1650636570.426424, "device_type_id": 123, "channel_id": 1111, "protocol_id": 10,
        "engine_ignition_status": True, "adc_voltage_1": 12.5, "x_acceleration": 0.5, "co2": 400, "unknown_thing_enum": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("notation", ["pascal", "camel", "snake"])
def test_every_notation_gives_the_same_record(notation: str) -> None:
    # FL-a13
    expected = view(NOTATED["dots"])
    assert expected["numbers"]["adc.voltage.1"] == 12.5
    for query in ({}, {"notation": notation}):
        assert view(NOTATED[notation], query=query) == expected  # its id too


def test_a_notation_is_recognised_whatever_fields_are_left() -> None:
    # FL-a13
    assert view({"Ident": "1", "Timestamp": 1700000000, "Din": 3})["numbers"] == {"din": 3}
    assert view({"ident": "1", "battery_level": 80})["numbers"] == {"battery.level": 80}
    bare = view({"ident": "1"})
    assert (bare["latitude"], bare["numbers"]) == (None, {})


def test_names_in_dots_are_literal_whatever_else_they_hold() -> None:
    # FL-a05, FL-a13
    shown = view(message(position__speed=5) | {"battery_level": 80, "myParam": 1, "custom.wln_accel_max": 2})
    assert shown["numbers"] == {"battery_level": 80, "myParam": 1, "custom.wln_accel_max": 2}
    assert view(message(battery_level=80), query={"notation": "dots"})["numbers"] == {"battery_level": 80}
    assert view(message(my_param=80))["numbers"] == {"my_param": 80}  # nothing known: nothing is guessed
    assert view(message(my_param=80), query={"notation": "snake"})["numbers"] == {"my.param": 80}


def test_two_keys_with_one_meaning_are_both_kept_whatever_their_order() -> None:
    both = message(position_speed=1, positionSpeed=2)
    shown = view(both)
    assert shown["speed_kmh"] == 2
    assert shown["numbers"] == {"flespi.position_speed": 1}
    assert view(dict(reversed(both.items()))) == shown


def test_nested_objects_say_what_dotted_names_say() -> None:  # FL-a05, FL-a13
    nested = {
        "ident": "1",
        "timestamp": 1700000000,
        "position": {"latitude": 52.5, "longitude": -1.8, "speed": 62.5, "satellites": 9},
        "engine": {"ignition": {"status": True}},
        "device": {"id": 123, "type": {"id": 456}},
    }
    dotted = message(
        position__latitude=52.5, position__longitude=-1.8, position__speed=62.5, position__satellites=9,
        engine__ignition__status=True, device__id=123, device__type__id=456,
    )  # fmt: skip
    assert view(nested) == view(dotted)
    assert view(nested)["latitude"] == 52.5


def test_a_nested_value_beside_its_dotted_name_is_kept_whatever_the_order() -> None:
    twice = message(position__speed=62.5) | {"position": {"speed": 1, "tags": [1, {"a": 2}]}, "beacons": [{"id": 7}]}
    shown = view(twice)
    assert (shown["speed_kmh"], shown["numbers"]["flespi.position.speed"]) == (62.5, 1)
    assert shown["texts"] == {"position.tags": '[1,{"a":2}]', "beacons": '[{"id":7}]'}
    assert view(dict(reversed(twice.items()))) == shown


@given(st.dictionaries(st.text(st.characters(codec="ascii"), max_size=12), st.integers(0, 9), max_size=8))
def test_no_notation_loses_a_value(values: dict[str, int]) -> None:
    sent = {key: value for key, value in values.items() if key.lower() not in {"ident", "timestamp"}}
    for notation in ("", "dots", "pascal", "camel", "snake"):
        shown = view(sent | {"ident": "1", "timestamp": 1700000000}, query={"notation": notation})
        assert sorted(shown["numbers"].values()) == sorted(sent.values())


# --- indexed parameters ----------------------------------------------------------------------------------------------


def test_old_and_new_indexed_names_are_members_of_one_family() -> None:
    # FL-a16
    members = {f"accumulator.{number}": number * 1.5 for number in (1, 2, 10)}
    shown = view(message() | {f"accumulator#{number}": number * 1.5 for number in (1, 2, 10)})
    assert shown["numbers"] == members == view(message() | members)["numbers"]
    assert view(message() | {"din#1": True, "rfid#2": "abc"})["booleans"] == {"din.1": True}


def test_an_index_that_is_none_or_taken_keeps_its_name() -> None:
    # FL-a16
    shown = view(message() | {"a#": 1, "#2": 2, "a#b": 3, "a#1": 4, "a.1": 5, "a#²": 6})
    assert shown["numbers"] == {"a#": 1, "#2": 2, "a#b": 3, "flespi.a#1": 4, "a.1": 5, "a#²": 6}


# --- sent twice ------------------------------------------------------------------------------------------------------

CHANNEL = message(din=1, server__timestamp=1700000001.5)
REGISTERED = CHANNEL | {"device.id": 7, "device.name": "Van", "device.type.id": 19}


def test_the_channels_and_the_devices_copy_have_one_id() -> None:
    # FL-a10, FL-c07
    assert ids([CHANNEL]) == ids([REGISTERED])
    assert ids([CHANNEL]) != ids([CHANNEL | {"din": 2}])


@pytest.mark.parametrize("batch", [[CHANNEL, REGISTERED], [REGISTERED, CHANNEL]])
def test_of_two_copies_in_a_batch_the_richer_one_stays(batch: list[dict[str, Any]]) -> None:
    # FL-a10
    (only,) = views(batch)
    assert only["numbers"] == {"din": 1, "device.id": 7, "device.type.id": 19}
    assert only["texts"] == {"device.name": "Van"}


def test_what_stays_keeps_its_place() -> None:
    # FL-a10, FL-a19
    first, second = (message(timestamp=1700000000 + number) for number in range(2))
    other = message(ident="other", timestamp=1700000009)
    batch = [first, second, other, first | {"device.id": 1}, 7, second | {"device.id": 1}]
    assert [(v["observed_at"][17:19], v["numbers"]) for v in views(batch[:4] + batch[5:])] == [
        ("20", {"device.id": 1}),
        ("21", {"device.id": 1}),
        ("29", {}),
    ]
    assert reasons(batch) == [("not_an_object", 4)]  # places are those of the body


def test_copies_are_known_in_every_notation() -> None:
    # FL-a10
    (only,) = views([{"Ident": "1", "Timestamp": 1500000000}, {"Ident": "1", "Timestamp": 1500000000, "DeviceId": 4}])
    assert only["numbers"] == {"device.id": 4}


def test_different_messages_are_never_taken_for_copies() -> None:
    batch = [CHANNEL, REGISTERED | {"din": 2}, CHANNEL | {"ident": "2"}, CHANNEL | {"timestamp": 1700000000.000001}]
    assert len(set(ids(batch))) == 4


def test_a_repeated_batch_has_the_same_ids_in_any_key_order_and_white_space() -> None:
    # FL-a22
    batch = [GUIDE, GUIDE | {"timestamp": 1650636571}]
    again = orjson.dumps([dict(reversed(each.items())) for each in batch], option=orjson.OPT_INDENT_2)
    assert ids(batch) == ids(again, offset=9, partition=3) == ids([*batch, CHANNEL])[:2]
    assert len(set(ids(batch))) == 2
    assert SOURCE.on_failure is OnFailure.RESENDS


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b" \n", b"[]", b'{"result":[]}', b'{"result":[],"errors":[{"code":1}]}'])
def test_an_empty_body_holds_nothing(body: bytes) -> None:
    # FL-a15
    assert made(body) == ([], [])


@pytest.mark.parametrize(
    ("wrap", "query"),
    [
        (lambda batch: {"result": batch}, {}),
        (lambda batch: {"meta": {"n": 1}, "data": {"messages": batch}}, {}),
        (lambda batch: {"tags": ["a"], "messages": batch}, {}),
        (lambda batch: {"a": {"b": {"c": batch}}, "other": [{"ident": "9"}]}, {"messages": "a.b.c"}),
        (lambda batch: {"message": batch[0], "more": batch[1]}, {"messages": "message"}),
        (lambda batch: batch, {"messages": "not.there"}),
    ],
)
def test_an_array_inside_an_object_is_found(wrap: Any, query: dict[str, str]) -> None:
    # FL-a21
    batch = [GUIDE, GUIDE | {"timestamp": 1650636571}]
    expected = views(batch)
    assert views(wrap(batch), query=query) == (expected[:1] if query == {"messages": "message"} else expected)


def test_one_message_alone_is_a_batch_of_one() -> None:
    # FL-a21
    assert views(GUIDE | {"history": [{"ident": "2"}]})[0]["source_device"] == "352625333222111"


def test_an_object_that_hides_its_messages_is_quarantined_whole() -> None:
    # FL-a21
    assert reasons({"a": [message()], "b": [message()]}) == [("several_arrays", None)]
    assert reasons({"a": 1}, query={"messages": "b.c"}) == [("no_messages", None)]
    assert reasons({"a": 1}) == [("no_ident", 0)]


def test_fields_are_read_under_the_names_the_url_gives_them() -> None:
    # FL-a21
    sent = {"vehicle_id": "1234", "spd": 55, "ts": "2023-11-14T22:13:20", "fuel.level": 87}
    query = {"rename": "vehicle_id:ident, spd:position.speed,ts:timestamp,broken,:x,y:"}
    shown = view(sent, query=query)
    assert (shown["source_device"], shown["speed_kmh"], shown["numbers"]) == ("1234", 55, {"fuel.level": 87})
    assert shown["observed_at"] == "2023-11-14T22:13:20.000000Z"
    taken = view(sent | {"ident": "own"}, query=query)
    assert (taken["source_device"], taken["texts"]) == ("own", {"flespi.vehicle_id": "1234"})
    assert len(views({"data": [sent], "list": [1]}, query=query)) == 1


@pytest.mark.parametrize("stamp", ["2023-11-14T22:13:20.5", "2023-11-14T22:13:20.500Z", "1700000000.5", 1700000000.5])
def test_a_timestamp_is_a_number_or_iso_8601_in_utc(stamp: Any) -> None:
    # FL-a21
    assert view(message(timestamp=stamp))["observed_at"] == "2023-11-14T22:13:20.500000Z"


def test_a_batch_of_several_mebibytes_is_read_in_order() -> None:
    # FL-a14, FL-a15, FL-a19
    batch = [GUIDE | {"timestamp": 1650636570 + number, "position.speed": number} for number in range(14_000)]
    body = orjson.dumps(batch)
    assert len(body) > 4 * 1024 * 1024
    records, defects = made(body)
    assert not defects
    assert [each.record["speed_kmh"] for each in records] == list(range(14_000))


def test_a_message_nested_too_deeply_costs_itself_alone() -> None:
    # FL-a20
    body = b'[%b,%b,{"ident":"1","deep":%b}]' % (
        orjson.dumps(CHANNEL),
        orjson.dumps(REGISTERED),
        b'{"a":' * 300 + b"1" + b"}" * 300,
    )
    records, defects = made(body)
    assert [each.record["numbers"]["device.id"] for each in records] == [7]
    assert [each.index for each in defects] == [2]


@pytest.mark.parametrize("notation", ["", "snake"])
def test_what_nobody_would_send_is_read_and_not_remembered(notation: str) -> None:
    long = "x" * 5_000
    shown = view({"ident": long, "position_speed": 5, f"y_{long}": 1}, query={"notation": notation})
    assert (shown["source_device"], shown["speed_kmh"], shown["numbers"]) == (long, 5, {f"y.{long}": 1})


def test_bytes_that_are_no_json_are_quarantined_whole() -> None:
    (defect,) = canonicalize(SOURCE, request(b'[{"ident": "1"'))
    assert isinstance(defect, Defect)
    assert (defect.reason, defect.index, defect.piece) == ("not_json", None, b'[{"ident": "1"')
