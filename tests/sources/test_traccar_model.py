"""Traccar's model as BikeTrax and any Traccar server send it: units, times, events and their identity."""

from typing import Any

import orjson
import pytest

from schemas.view import telemetry_view
from sources.biketrax import SOURCE as BIKETRAX
from sources.contract import OnFailure, Request, Source
from sources.engine import Canonical, Defect, canonicalize
from sources.traccar import SOURCE as TRACCAR

RECEIVED_US = 1_767_323_045_000_000
DEVICE = {
    "id": 7,
    "attributes": {},
    "groupId": 0,
    "name": "Bike 7",
    "uniqueId": "861261020000077",
    "status": "online",
    "lastUpdate": "2021-01-01T00:00:00.000+00:00",
    "positionId": 0,
    "geofenceIds": [],
    "disabled": False,
}
POSITION: dict[str, Any] = {
    "id": 0,
    "deviceId": 7,
    "type": None,
    "protocol": "teltonika",
    "serverTime": "2021-08-11T09:04:07.468+00:00",
    "deviceTime": "2021-08-11T09:04:05.000+00:00",
    "fixTime": "2021-08-11T09:04:01.000+00:00",
    "outdated": False,
    "valid": True,
    "latitude": 48.20835,
    "longitude": 16.37251,
    "altitude": 171.0,
    "speed": 10.0,
    "course": 212.5,
    "address": None,
    "accuracy": 6.0,
    "network": None,
    "attributes": {},
}
EVENT = {
    "id": 90211,
    "attributes": {},
    "deviceId": 7,
    "type": "deviceOnline",
    "serverTime": "2021-01-01T00:00:00.000+00:00",
}


def request(body: Any, **parts: Any) -> Request:
    known: dict[str, Any] = {"received_us": RECEIVED_US, "tenant_id": "t", "credential_id": "c"}
    return Request(body=orjson.dumps(body), **known | parts)


def made(body: Any, source: Source = TRACCAR, **parts: Any) -> list[Canonical | Defect]:
    return list(canonicalize(source, request(body, **parts)))


def view(body: Any, source: Source = TRACCAR, **parts: Any) -> dict[str, Any]:
    (only,) = made(body, source, **parts)
    assert isinstance(only, Canonical), only
    return telemetry_view(only.record)


def position(**fields: Any) -> dict[str, Any]:
    return {"position": POSITION | fields, "device": DEVICE}


def attributes(**values: Any) -> dict[str, Any]:
    return view(position(attributes=values))


def event(**fields: Any) -> dict[str, Any]:
    return {"event": EVENT | fields, "device": DEVICE}


def ids(body: Any, source: Source = TRACCAR, **parts: Any) -> list[bytes]:
    return [each.record["id"] for each in made(body, source, **parts) if isinstance(each, Canonical)]


def test_a_position_is_converted() -> None:
    only = view(position())
    assert (only["latitude"], only["longitude"], only["altitude_m"]) == (48.20835, 16.37251, 171)
    assert (only["speed_kmh"], only["course_deg"], only["accuracy_m"]) == (18.52, 212.5, 6)
    assert (only["type"], only["event"], only["source_device"]) == ("position", None, "861261020000077")


def test_the_four_times_of_a_position() -> None:
    only = view(position())
    assert only["observed_at"] == "2021-08-11T09:04:05.000000Z"
    assert only["fix_at"] == "2021-08-11T09:04:01.000000Z"
    assert only["platform_at"] == "2021-08-11T09:04:07.468000Z"


@pytest.mark.parametrize(
    "written", ["2021-08-11T09:04:05.000+00:00", "2021-08-11T09:04:05.000+0000", "2021-08-11T09:04:05Z"]
)
def test_every_way_an_offset_is_written(written: str) -> None:
    assert view(position(deviceTime=written))["observed_at"] == "2021-08-11T09:04:05.000000Z"


def test_without_a_device_time_the_fix_counts() -> None:
    assert view(position(deviceTime=None))["observed_at"] == "2021-08-11T09:04:01.000000Z"


def test_an_unset_clock_falls_back_to_the_server() -> None:
    only = view(position(fixTime="1970-01-01T00:00:00.000+00:00", deviceTime="1970-01-01T00:00:00.000+00:00"))
    assert (only["observed_at"], only["time_source"], only["fix_at"]) == (
        "2021-08-11T09:04:07.468000Z",
        "platform",
        None,
    )


@pytest.mark.parametrize(
    ("valid", "outdated", "expected"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_validity(valid: bool, outdated: bool, expected: bool) -> None:
    only = view(position(valid=valid, outdated=outdated))
    assert only["fix_valid"] is expected
    assert only["latitude"] == 48.20835  # the last coordinates are kept


def test_zero_zero_was_never_a_fix() -> None:
    only = view(position(latitude=0, longitude=0.0))
    assert (only["latitude"], only["longitude"], only["fix_valid"]) == (None, None, False)


def test_a_position_off_the_globe_is_kept_as_numbers() -> None:
    only = view(position(latitude=91.0))
    assert only["latitude"] is None
    assert only["numbers"]["traccar.latitude"] == 91


@pytest.mark.parametrize(
    ("name", "sent", "canonical", "value"),
    [
        ("humidity", 41.5, "humidity", 41.5),
        ("odometer", "245036118", "vehicle.mileage", 245036.118),
        ("power", 12480, "traccar.power", 12480),
        ("battery", 4012, "traccar.battery", 4012),
        ("batteryLevel", 255, "traccar.batteryLevel", 255),
        ("fuelLevel", 312.5, "traccar.fuelLevel", 312.5),
        ("fuelLevel", 62.5, "fuel.level", 62.5),
        ("io9", 2**53 - 1, "traccar.io9", 2**53 - 1),
        ("odometer", 245036118, "vehicle.mileage", 245036.118),
        ("obdOdometer", 1000, "vehicle.mileage", 1),
        ("totalDistance", 20665.79, "vehicle.mileage", 20.66579),
        ("tripOdometer", 1500, "trip.mileage", 1.5),
        ("distance", 25.79, "position.distance", 25.79),
        ("hours", 5400000, "engine.motorhours", 1.5),
        ("obdSpeed", 88, "vehicle.speed", 88),
        ("power", 27.84, "external.powersource.voltage", 27.84),
        ("battery", 4.05, "battery.voltage", 4.05),
        ("batteryLevel", 83, "battery.level", 83),
        ("fuel", 41.5, "fuel.volume", 41.5),
        ("fuelLevel", 60, "fuel.level", 60),
        ("fuelUsed", 900, "fuel.consumed", 900),
        ("fuelConsumption", 7.5, "fuel.consumption", 7.5),
        ("deviceTemp", 31, "device.temperature", 31),
        ("coolantTemp", 88, "engine.coolant.temperature", 88),
        ("rpm", 1850, "engine.rpm", 1850),
        ("throttle", 12, "throttle.level", 12),
        ("engineLoad", 33, "engine.load.level", 33),
        ("vdop", 1.2, "position.vdop", 1.2),
        ("input", 5, "din", 5),
        ("output", 1, "dout", 1),
        ("io200", 3, "traccar.io200", 3),
        ("adc1", 1312, "traccar.adc1", 1312),
        ("temp1", 4.5, "traccar.temp1", 4.5),
        ("rssi", 4, "traccar.rssi", 4),
    ],
)
def test_numbers_of_the_attributes(name: str, sent: float, canonical: str, value: float) -> None:
    assert attributes(**{name: sent})["numbers"][canonical] == pytest.approx(value)


def test_the_trackers_odometer_comes_before_the_servers_sum() -> None:
    numbers = attributes(totalDistance=5000, odometer=245036118)["numbers"]
    assert (numbers["vehicle.mileage"], numbers["traccar.totalDistance"]) == (245036.118, 5000)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("ignition", "engine.ignition.status"),
        ("motion", "movement.status"),
        ("charge", "battery.charging.status"),
        ("blocked", "engine.blocked.status"),
        ("in2", "din.2"),
        ("out1", "dout.1"),
        ("roaming", "traccar.roaming"),
    ],
)
def test_switches_of_the_attributes(name: str, canonical: str) -> None:
    assert attributes(**{name: False})["booleans"][canonical] is False
    assert attributes(**{name: True})["booleans"][canonical] is True


def test_satellites_and_dilution_are_columns() -> None:
    only = attributes(sat=14, hdop=0.8, pdop=1.4)
    assert (only["satellites"], only["hdop"], only["pdop"]) == (14, 0.8, 1.4)


@pytest.mark.parametrize("alarms", ["sos,lowBattery", "sos, lowBattery", "sos,lowBattery,sos", "sos,,lowBattery,"])
def test_several_alarms_stay_joined(alarms: str) -> None:
    only = attributes(alarm=alarms)
    assert only["texts"]["alarm.type"] == "sos,lowBattery"
    assert only["booleans"]["alarm.event"] is True


def test_no_alarm_is_no_alarm() -> None:
    for nothing in ("", ",", None):
        assert "alarm.event" not in attributes(alarm=nothing)["booleans"]


def test_texts_of_the_attributes() -> None:
    texts = attributes(driverUniqueId="0001A2", vin="WF05XX", versionFw="03.27", result="ok")["texts"]
    assert (texts["driver.id"], texts["vehicle.vin"], texts["firmware.version"]) == ("0001A2", "WF05XX", "03.27")
    assert texts["traccar.result"] == "ok"


@pytest.mark.parametrize("empty", [[], {}, None])
def test_empty_attributes_in_any_form(empty: Any) -> None:
    only = view(position(attributes=empty))
    assert only["latitude"] == 48.20835
    assert "traccar.attributes" not in only["texts"]


def test_values_of_the_wrong_type_cost_only_themselves() -> None:
    only = view(
        position(speed="fast", course=400, attributes={"odometer": "far", "ignition": 1, "sat": -3, "alarm": 5})
    )
    assert only["latitude"] == 48.20835
    assert (only["speed_kmh"], only["course_deg"], only["satellites"]) == (None, None, None)
    assert (only["texts"]["traccar.speed"], only["texts"]["traccar.odometer"]) == ("fast", "far")
    assert (only["numbers"]["traccar.course"], only["numbers"]["traccar.ignition"]) == (400, 1)


def test_the_guides_event_is_read() -> None:  # BT-a04, BT-a05, BT-a12, BT-c07
    only = view(event(positionId=0), BIKETRAX)
    assert only["event"] == {"type": "deviceOnline", "attributes": {}}
    assert (only["observed_at"], only["time_source"]) == ("2021-01-01T00:00:00.000000Z", "device")
    assert only["latitude"] is None
    assert "biketrax.event.positionId" not in only["numbers"]


@pytest.mark.parametrize(
    "kind",
    [
        "deviceOffline",
        "deviceMoving",
        "alarm",
        "geofenceEnter",
        "ignitionOn",
        "commandResult",
        "media",
        "aKindOfTomorrow",
    ],
)
def test_event_types_are_kept_as_they_are(kind: str) -> None:  # BT-a10, BT-a11
    assert view(event(type=kind), BIKETRAX)["event"]["type"] == kind


def test_the_events_own_time_is_preferred() -> None:  # BT-c07
    only = view(event(eventTime="2021-01-01T00:00:07.000+00:00"))
    assert only["observed_at"] == "2021-01-01T00:00:07.000000Z"
    assert only["platform_at"] == "2021-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("times", "observed"),
    [
        ({"serverTime": None, "eventTime": "2021-08-11T09:04:05.000+00:00"}, "2021-08-11T09:04:05.000000Z"),
        ({"serverTime": "2021-08-11T09:04:07.468+00:00"}, "2021-08-11T09:04:07.468000Z"),
        ({"serverTime": None}, "2021-08-11T09:04:05.000000Z"),
        ({"serverTime": None, "eventTime": "soon"}, "2021-08-11T09:04:05.000000Z"),
        ({"eventTime": "1970-01-01T00:00:00.000+00:00"}, "2021-01-01T00:00:00.000000Z"),
    ],
)
def test_the_time_of_an_event_with_a_position(times: dict[str, Any], observed: str) -> None:  # BT-c07
    only = view(event(**times) | {"position": POSITION})
    assert only["observed_at"] == observed
    assert only["fix_at"] == "2021-08-11T09:04:01.000000Z"


def test_the_position_of_an_event_is_its_place_not_its_time() -> None:  # BT-a13
    only = view(event() | {"position": POSITION})
    assert (only["latitude"], only["fix_at"]) == (48.20835, "2021-08-11T09:04:01.000000Z")
    assert only["observed_at"] == "2021-01-01T00:00:00.000000Z"


def test_what_an_event_is_about_is_among_its_attributes() -> None:  # BT-a13
    geofence = {"id": 9, "name": "Depot", "area": "CIRCLE (1 2, 3)"}
    only = view(event(type="geofenceExit", geofenceId=9, maintenanceId=0, attributes={"x": 1}) | {"geofence": geofence})
    assert only["event"]["attributes"] == {"x": 1, "geofenceId": 9, "geofence": geofence}


def test_an_alarm_event_names_its_alarm() -> None:
    only = view(
        event(type="alarm", attributes={"alarm": "sos"}) | {"position": POSITION | {"attributes": {"alarm": "sos,tow"}}}
    )
    assert only["texts"]["alarm.type"] == "sos,tow"
    assert only["event"]["attributes"] == {"alarm": "sos"}
    only = view(
        event(type="alarm", attributes={"alarm": "tow"}) | {"position": POSITION | {"attributes": {"alarm": "sos"}}}
    )
    assert only["texts"]["alarm.type"] == "sos,tow"


PULLED = {name: value for name, value in EVENT.items() if name != "serverTime"} | {"eventTime": EVENT["serverTime"]}
"""The event as newer servers list it (4.13 on), with the fields that REST adds."""


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param({"event": EVENT, "device": DEVICE | {"status": "offline", "positionId": 5}}, id="webhook-later"),
        pytest.param({"event": EVENT, "device": {"id": 7, "uniqueId": "861261020000077"}}, id="webhook-less"),
        pytest.param({"event": EVENT, "device": DEVICE, "position": POSITION}, id="webhook-with-position"),
        pytest.param({"event": PULLED | {"geofenceId": 0, "maintenanceId": 0}, "device": DEVICE}, id="rest"),
        pytest.param(
            [{"event": PULLED | {"attributes": None}, "device": DEVICE | {"lastUpdate": None}}], id="rest-list"
        ),
        pytest.param({"events": [PULLED | {"attributes": [], "positionId": 0}], "devices": [DEVICE]}, id="frame"),
        pytest.param(
            {"event": EVENT | {"serverTime": "2021-01-01T00:00:00.400+0000"}, "device": DEVICE}, id="milliseconds"
        ),
    ],
)
def test_the_same_event_is_one_record_however_it_came(copy: Any) -> None:  # BT-a15, BT-a19
    """A healed webhook is not counted twice: only who, what and the event's own number decide."""
    webhook = ids(event(), BIKETRAX, headers={"x-powtxn": "a"})
    assert ids(copy, BIKETRAX) == webhook
    assert ids(copy, BIKETRAX, headers={"x-powtxn": "b"}, credential_id="pull") == webhook
    assert ids(copy, TRACCAR) != webhook


def test_an_event_without_its_device_is_the_same_again_and_again() -> None:  # BT-a18
    bare = {"events": [EVENT]}
    assert ids(bare, BIKETRAX) == ids({"events": [EVENT | {"attributes": []}], "positions": []}, BIKETRAX)
    assert ids(bare, BIKETRAX) != ids({"events": [EVENT | {"deviceId": 8}]}, BIKETRAX)


@pytest.mark.parametrize("changed", [{"id": 90212}, {"type": "deviceOffline"}])
def test_another_event_is_another_record(changed: dict[str, Any]) -> None:
    assert ids(event()) != ids(event(**changed))


def test_events_without_an_id_are_told_apart_by_their_content() -> None:
    assert ids(event(id=0)) == ids(event(id=0))
    assert ids(event(id=0)) != ids(event(id=0, attributes={"x": 1}))


def test_a_forwarded_and_a_listed_position_are_one_record() -> None:  # BT-a19
    listed = {name: value for name, value in POSITION.items() if name not in {"type", "outdated"}} | {"id": 18321}
    listed |= {"geofenceIds": [4], "address": "Somewhere 1", "altitude": 171, "speed": 10, "accuracy": 6}
    assert ids(position()) == ids({"position": listed, "device": DEVICE | {"status": "offline"}})
    other_writing = {
        name: str(POSITION[name]).replace("+00:00", "Z") for name in ("fixTime", "deviceTime", "serverTime")
    }
    assert ids(position()) == ids(position(**other_writing))


@pytest.mark.parametrize(
    "changed",
    [
        {"latitude": 48.20836}, {"speed": 10.1}, {"course": 0.0}, {"valid": False}, {"attributes": {"ignition": True}},
        {"fixTime": "2021-08-11T09:04:02.000+00:00"}, {"deviceTime": "2021-08-11T09:04:06.000+00:00"},
        {"protocol": "osmand"}, {"altitude": "high"}, {"network": {"radioType": "lte"}},
    ],
)  # fmt: skip
def test_another_position_is_another_record(changed: dict[str, Any]) -> None:
    assert ids(position()) != ids(position(**changed))


def test_the_only_cell_is_named() -> None:
    tower = {
        "mobileCountryCode": 232,
        "mobileNetworkCode": 1,
        "locationAreaCode": 4,
        "cellId": 5,
        "signalStrength": -70,
    }
    network = {"radioType": "gsm", "considerIp": False, "carrier": None, "cellTowers": [tower | {"radioType": "lte"}]}
    only = view(position(network=network))
    named = {name: value for name, value in only["numbers"].items() if name.startswith("gsm.")}
    assert named == {"gsm.mcc": 232, "gsm.mnc": 1, "gsm.lac": 4, "gsm.cellid": 5, "gsm.signal.dbm": -70}
    assert only["texts"]["traccar.network.cellTower.radioType"] == "lte"
    assert only["texts"]["traccar.network.radioType"] == "gsm"


def test_of_several_cells_none_is_the_serving_one_for_certain() -> None:
    towers = [{"cellId": 5}, {"cellId": 6}]
    only = view(position(network={"cellTowers": towers, "wifiAccessPoints": []}))
    assert orjson.loads(only["texts"]["traccar.network.cellTowers"]) == towers
    assert "gsm.cellid" not in only["numbers"]
    assert view(position(network="none"))["texts"]["traccar.network"] == "none"


def test_what_traccar_needs_to_speak_to_the_device_is_left_out() -> None:
    device = DEVICE | {"attributes": {"devicePassword": "s3same", "speedLimit": 13.5, "empty": None}}
    only = view({"position": POSITION, "device": device})
    assert "s3same" not in str(only)
    assert only["numbers"]["traccar.device.attributes.speedLimit"] == 13.5


@pytest.mark.parametrize("local_id", [7, "7"])
def test_a_local_id_may_be_a_text(local_id: Any) -> None:
    assert view({"position": POSITION | {"deviceId": local_id}})["source_device"] == "deviceId:7"


def test_the_position_names_the_device_when_the_event_does_not() -> None:
    bare = {name: value for name, value in EVENT.items() if name != "deviceId"}
    assert view({"event": bare, "position": POSITION})["source_device"] == "deviceId:7"


def test_names_chosen_by_strangers_are_not_remembered_without_end() -> None:
    for number in range(0, 12_000, 50):
        wanted = {f"stranger{number + k}": [1.5, True, "x"][k % 3] for k in range(50)}
        only = attributes(**wanted)
        kept = only["numbers"] | only["booleans"] | only["texts"]
        assert {name: kept.get(f"traccar.{name}") for name in wanted} == wanted
    from sources.traccar_position import places_of

    places = places_of("traccar")
    assert max(len(places.numbers), len(places.booleans), len(places.texts), len(places.own)) <= 10_000


def test_the_device_is_known_by_its_unique_id() -> None:  # BT-a14
    (only,) = made(position())
    assert isinstance(only, Canonical)
    assert ("external_id", "861261020000077") in [(each.kind, each.value) for each in only.identities]
    assert only.record["numbers"]["traccar.device.id"] == 7
    assert only.record["texts"]["device.name"] == "Bike 7"


def test_the_servers_number_is_only_an_alias() -> None:  # BT-a14
    (only,) = made({"position": POSITION})
    assert isinstance(only, Canonical)
    assert only.record["source_device"] == "deviceId:7"
    assert [(each.kind, each.value) for each in only.identities] == [("traccar.device.id", "7")]


def test_a_numeric_unique_id_is_a_text() -> None:
    assert view({"event": EVENT, "device": DEVICE | {"uniqueId": 1}})["source_device"] == "1"


def test_a_frame_is_its_positions_and_events_with_their_devices() -> None:  # BT-a18
    everything = made({"positions": [POSITION], "events": [EVENT], "devices": [DEVICE], "logs": []}, BIKETRAX)
    assert [each.record["type"] for each in everything if isinstance(each, Canonical)] == ["position", "event"]
    assert {each.record["source_device"] for each in everything if isinstance(each, Canonical)} == {"861261020000077"}


@pytest.mark.parametrize("body", [{}, {"devices": [DEVICE]}, {"logs": [1]}, []])
def test_keep_alives_and_device_lists_hold_no_record(body: Any) -> None:  # BT-a18
    assert made(body, BIKETRAX) == []


def test_a_rest_list_is_read() -> None:  # BT-a19
    kinds = [each.record["type"] for each in made([POSITION, EVENT]) if isinstance(each, Canonical)]
    assert kinds == ["position", "event"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"event": {"id": 1, "deviceId": 7}}, "no_event_type"),
        ({"event": {"id": 1, "type": "alarm"}}, "no_device"),
        ({"event": "alarm", "device": DEVICE}, "not_an_object"),
        ({"device": DEVICE}, "unknown_shape"),
        ({"hello": "world"}, "unknown_shape"),
        ({"event": None, "position": None, "device": DEVICE}, "unknown_shape"),
        ({"event": EVENT | {"deviceId": 0}}, "no_device"),
        ({"event": EVENT | {"deviceId": "bike"}}, "no_device"),
        ("text", "not_an_object"),
    ],
)
def test_what_cannot_be_read_says_why(body: Any, reason: str) -> None:
    (defect,) = made(body)
    assert isinstance(defect, Defect)
    assert defect.reason == reason


def test_a_bad_part_of_a_frame_costs_only_itself() -> None:
    everything = made({"events": [{"id": 1, "deviceId": 7}, EVENT], "devices": [DEVICE]})
    assert [type(each) for each in everything] == [Defect, Canonical]


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "Bearer abc", "just a string"])
def test_the_whole_authorization_value_is_the_psk(authorization: str) -> None:  # BT-a09
    (extract,) = BIKETRAX.credentials
    assert extract(Request(headers={"authorization": authorization})) == authorization


def test_the_transaction_id_is_searchable_and_never_part_of_the_id() -> None:  # BT-a03, BT-c05
    assert "x-powtxn" in BIKETRAX.captured_headers
    assert view(event(), BIKETRAX, headers={"x-powtxn": "t-1"})["texts"]["biketrax.txn"] == "t-1"


def test_biketrax_never_sends_again() -> None:  # BT-a08
    assert BIKETRAX.on_failure is OnFailure.DROPS
    assert TRACCAR.on_failure is OnFailure.DROPS


@pytest.mark.parametrize("source", [BIKETRAX, TRACCAR], ids=lambda source: source.name)
def test_the_order_of_a_device_is_kept(source: Source) -> None:
    assert source.ordering_key(request(event())) == "861261020000077"
    assert source.ordering_key(request({"events": [EVENT], "devices": [DEVICE]})) == ""
    assert source.ordering_key(Request(body=b' {\n "devices" : [{"uniqueId": "1"}], "positions": []}')) == ""
    assert source.ordering_key(Request(body=b"\xff\xfe")) == ""


def test_own_names_carry_the_source() -> None:
    assert view(position(), BIKETRAX)["texts"]["biketrax.protocol"] == "teltonika"
    assert view(position(), TRACCAR)["texts"]["traccar.protocol"] == "teltonika"
