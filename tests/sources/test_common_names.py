"""Names that devices give their readings: one meaning, one place, nothing lost, in whatever order the keys come."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.vocabulary import BY_NAME
from sources import common_names
from sources.common_names import place
from sources.contract import Reading

COLUMNS = (
    "latitude", "longitude", "altitude_m", "speed_kmh", "course_deg", "accuracy_m", "hdop", "pdop", "satellites",
)  # fmt: skip


def placed(values: dict[str, Any], reading: Reading | None = None, source: str = "s") -> dict[str, Any]:
    """Place a device's values and return everything the reading says then, columns included, by name."""
    reading = reading or Reading(type="telemetry")
    place(reading, source, values)
    columns = {name: getattr(reading, name) for name in COLUMNS}
    columns = {name: value for name, value in columns.items() if value == value and value != -1}
    stores = (columns, reading.numbers, reading.booleans, reading.texts)
    assert sum(map(len, stores)) == len(set().union(*stores)), "one name in two stores"
    return {name: value for store in stores for name, value in store.items()}


# --- names and types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "made"),
    [
        ({"temperature": 24.5}, {"temperature": 24.5}),
        ({"temp_c": -3}, {"temperature": -3}),
        ({"batteryLevel": 87, "batV": 3.61}, {"battery.level": 87, "battery.voltage": 3.61}),
        ({"ignition": True, "moving": False}, {"engine.ignition.status": True, "movement.status": False}),
        ({"vehicle.mileage": 3276.7}, {"vehicle.mileage": 3276.7}),
        ({"odometerKm": 12.5}, {"vehicle.mileage": 12.5}),
        ({"adc.voltage.2": 4.8, "din.1": True}, {"adc.voltage.2": 4.8, "din.1": True}),
        ({"vehicle.vin": "WVW1"}, {"vehicle.vin": "WVW1"}),
        ({"ambient.air.temperature": 31}, {"ambient.air.temperature": 31}),
    ],
)
def test_a_known_name_gets_its_canonical_one(sent: dict[str, Any], made: dict[str, Any]) -> None:
    assert placed(sent) == made


@pytest.mark.parametrize(
    "sent",
    [
        {"speed": 12},  # km/h, m/s or knots: nobody knows
        {"battery": 87},  # % or V
        {"odometer": 12000},  # m or km
        {"pressure": 1013},
        {"door": "open", "count": 3, "ok": True},
        {"adc.voltage.x": 1, "din.N": True, "adc.voltage.²": 2},
    ],
)
def test_an_unknown_name_is_kept_under_the_sources_and_no_unit_is_guessed(sent: dict[str, Any]) -> None:
    assert placed(sent) == {f"s.{key}": value for key, value in sent.items()}


@pytest.mark.parametrize(
    "sent",
    [
        {"temperature": "24.5"},
        {"latitude": "52.5", "longitude": "13.4"},
        {"batteryLevel": "87"},
        {"ignition": "true"},
        {"ignition": 1},
        {"temperature": True},
        {"satellites": True},
        {"satellites": 7.5},
        {"device.name": 7},
        {"timestamp.sent": "2026-01-01"},  # the engine's own
    ],
)
def test_a_value_of_another_type_is_never_cast(sent: dict[str, Any]) -> None:  # AC-c09
    assert placed(sent) == {f"s.{key}": value for key, value in sent.items()}


@pytest.mark.parametrize(
    "sent",
    [
        {"batteryVoltage": 3600},  # mV
        {"batteryLevel": 255},  # the marker for "unknown"
        {"humidity": 655.35},
        {"temperature": 327.67},
        {"temperature": 327.6700134277344},  # the same as a single float
        {"temperature": -3276.8},
        {"heading": 400},
        {"altitude": 1e9},
        {"fuelLevel": 255},
        {"speed_kmh": -1},
        {"satellites": 256},
        {"hdop": 1e6},
    ],
)
def test_what_no_value_in_that_unit_can_be_stays_as_it_was_sent(sent: dict[str, Any]) -> None:
    assert placed(sent) == {f"s.{key}": value for key, value in sent.items()}


def test_a_marker_of_temperatures_is_a_value_elsewhere() -> None:
    values = {"altitude": 327.67, "odometerKm": 3276.7, "lat": 47.0, "lon": 8.0}
    expected = {"altitude_m": 327.67, "vehicle.mileage": 3276.7, "latitude": 47.0, "longitude": 8.0}
    assert placed(values) == expected


def test_large_integers_are_kept_as_text_and_null_says_nothing() -> None:
    assert placed({"id": 2**53 + 1, "temperature": None, "x": None}) == {"s.id": str(2**53 + 1)}


# --- positions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"latitude": 52.5, "longitude": 13.4, "altitude": 34, "accuracy": 5},
        {"lat": 52.5, "lng": 13.4, "alt": 34, "accuracy_m": 5},
        {"latitudeDeg": 52.5, "longitudeDeg": 13.4, "altitude_m": 34, "accuracy": 5},
        {"position.latitude": 52.5, "position.longitude": 13.4, "position.altitude": 34, "position.accuracy": 5},
        {"gps": {"lat": 52.5, "lon": 13.4, "alt": 34, "accuracy": 5}},
        {"position": {"latitude": 52.5, "longitude": 13.4, "altitude": 34, "accuracy": 5}},
        {"gps_1": {"latitude": 52.5, "longitude": 13.4, "altitude": 34}, "accuracy_m": 5},
        {"gps_136": {"latitude": 52.5, "longitude": 13.4, "altitude": 34}, "accuracy_m": 5},
        {"gpsLocation": {"1": {"latitude": 52.5, "longitude": 13.4, "altitude": 34, "accuracy": 5}}},
        {"gpsLatitude": 52.5, "gpsLongitude": 13.4, "altitude": 34, "horizontalAccuracy": 5},  # Abeeway
        {"latitudeDeg": 52.5, "longitudeDeg": 13.4, "alt_m": 34, "gpsAccM": 5},  # Digital Matter over LoRaWAN
        {"Latitude": 52.5, "Longitud": 13.4, "Altitude": 34, "accuracy": 5},  # Dragino spells it so
        {"position": {"gnssFix": {"latitude": 52.5, "longitude": 13.4, "altitude": 34, "accuracy": 5}}},
    ],
)
def test_a_position_is_found_in_every_usual_form(sent: dict[str, Any]) -> None:
    assert placed(sent) == {"latitude": 52.5, "longitude": 13.4, "altitude_m": 34.0, "accuracy_m": 5.0}


@pytest.mark.parametrize(
    "sent",
    [
        {"lat": 52.5},
        {"lon": 13.4},
        {"lat": 52.5, "lon": None},
        {"lat": 52.5, "lon": 200},
        {"lat": 91, "lon": 13.4},
        {"lat": 0, "lon": 0},  # no fix
        {"lat": 0.0, "lng": -0.0},
    ],
)
def test_half_a_position_or_none_is_no_position_and_is_kept_as_sent(sent: dict[str, Any]) -> None:
    kept = {key: value for key, value in sent.items() if value is not None}
    assert placed(sent) == {f"s.{key}": value for key, value in kept.items()}
    assert placed({"gps": sent}) == {f"s.gps.{key}": value for key, value in kept.items()}


def test_on_the_equator_or_the_meridian_is_a_position() -> None:
    assert placed({"lat": 0, "lon": 13.4}) == {"latitude": 0, "longitude": 13.4}
    assert placed({"lat": 52.5, "lon": 0}) == {"latitude": 52.5, "longitude": 0}


def test_the_first_position_counts_and_another_stays_whole() -> None:
    sent = {"lat": 1.0, "lon": 2.0, "gps": {"lat": 3.0, "lon": 4.0, "alt": 5}, "location": {"lat": 6.0, "lon": 7.0}}
    expected = {"latitude": 1.0, "longitude": 2.0, "s.gps.lat": 3.0, "s.gps.lon": 4.0, "s.gps.alt": 5}
    assert placed(sent) == {**expected, "s.location.lat": 6.0, "s.location.lon": 7.0}
    del sent["lat"]
    expected = {"latitude": 3.0, "longitude": 4.0, "altitude_m": 5.0, "s.lon": 2.0}
    assert placed(sent) == {**expected, "s.location.lat": 6.0, "s.location.lon": 7.0}


def test_an_accuracy_without_a_position_is_any_sensors() -> None:
    assert placed({"accuracy": 3, "iaq": 50}) == {"s.accuracy": 3, "s.iaq": 50}
    assert placed({"heading": 90, "satellites": 7}) == {"course_deg": 90, "satellites": 7}


def test_what_a_position_does_not_use_of_its_object_is_kept() -> None:
    sent = {"gps": {"lat": 1.5, "lon": 2.5, "speed": 9, "fix": True, "sats": 8, "latitude": "?"}}
    expected = {"latitude": 1.5, "longitude": 2.5, "satellites": 8, "s.gps.speed": 9, "s.gps.fix": True}
    assert placed(sent) == {**expected, "s.gps.latitude": "?"}


def test_an_object_without_a_position_stays_whole_however_deep_one_would_be() -> None:
    sent: dict[str, Any] = {"gps": {"a": {"b": {"c": {"lat": 1.5, "lon": 2.5}}}}}
    assert placed(sent) == {"s.gps.a.b.c.lat": 1.5, "s.gps.a.b.c.lon": 2.5}
    sent = {"cached": {"latitudeDeg": 1.5, "longitudeDeg": 2.5}}  # an old position, beside a fix that failed
    assert placed(sent) == {"s.cached.latitudeDeg": 1.5, "s.cached.longitudeDeg": 2.5}


@pytest.mark.parametrize(
    ("said", "valid"),
    [
        ({"fixFailed": False}, 1),
        ({"fixFailed": True}, 0),
        ({"gps_valid": True, "fixFailed": True}, 0),
        ({"position.valid": False}, 0),
        ({"fixFailed": "no"}, -1),
        ({}, -1),
    ],
)
def test_what_a_receiver_says_of_its_fix_counts_and_is_kept(said: dict[str, Any], valid: int) -> None:
    reading = Reading(type="telemetry")
    kept = {f"s.{key}": value for key, value in said.items()}
    assert placed({"lat": 1.5, "lon": 2.5, **said}, reading) == {"latitude": 1.5, "longitude": 2.5, **kept}
    assert reading.fix_valid == valid


def test_without_a_position_only_a_failed_fix_says_something() -> None:
    failed, fine = Reading(type="telemetry"), Reading(type="telemetry")
    placed({"fixFailed": True}, failed)
    placed({"fixFailed": False}, fine)
    assert (failed.fix_valid, fine.fix_valid) == (0, -1)


@pytest.mark.parametrize(
    ("sent", "made"),
    [
        ({"battery_voltage": {"value": 3.1, "unit": "V"}}, {"battery.voltage": 3.1, "s.battery_voltage.unit": "V"}),
        ({"temperature": {"value": 21}}, {"temperature": 21}),
        ({"temp": {"value": 1}, "temperature": {"value": 2}}, {"temperature": 2, "s.temp.value": 1}),
        ({"temp": {"value": 1}, "temperature": 2}, {"temperature": 2, "s.temp.value": 1}),
        ({"battery_voltage": {"value": 800, "unit": "mV"}}, None),
        ({"temperature": {"value": 70, "unit": "°F"}}, None),
        ({"temperature": {"value": "21", "unit": "°C"}}, None),
        ({"soil": {"value": 21, "unit": "°C"}}, None),
    ],
)
def test_an_object_of_value_and_unit_is_its_value_where_the_unit_is_ours(
    sent: dict[str, Any], made: dict[str, Any] | None
) -> None:
    whole = {f"s.{key}.{name}": value for key, inner in sent.items() for name, value in getattr(inner, "items", dict)()}
    assert placed(sent) == (whole if made is None else made)


# --- two keys, one meaning -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "made"),
    [
        ({"battery_level": 1, "battery.level": 2}, {"battery.level": 2, "s.battery_level": 1}),
        ({"battery_level": 1, "batteryLevel": 2}, {"battery.level": 2, "s.battery_level": 1}),
        ({"temp": 1, "temperature": 327.67}, {"temperature": 1, "s.temperature": 327.67}),
        ({"a.b": 1, "a": {"b": 2}}, {"s.a.b": 1, "s.a": '{"b":2}'}),
        ({"a": {"b.c": 1, "b": {"c": 2}}}, {"s.a": '{"b":{"c":2},"b.c":1}'}),
        ({"a": {"b": {"c": 1}}, "a.b": {"c": 2}}, {"s.a.b.c": 2, "s.a": '{"b":{"c":1}}'}),
        ({"a": {"b": 1}, "a.b": {"c": 2}, "a.b.c": 3}, {"s.a.b.c": 3, "s.a.b": '{"c":2}', "s.a": '{"b":1}'}),
        ({"a": {}, "b": [], "c": {"d": {}}}, {"s.a": "{}", "s.b": "[]", "s.c.d": "{}"}),
        ({"l": [{"b": 1, "a": None}]}, {"s.l": '[{"a":null,"b":1}]'}),
    ],
)
def test_of_two_values_for_one_name_none_is_lost(sent: dict[str, Any], made: dict[str, Any]) -> None:
    assert placed(sent) == made
    assert placed(dict(reversed(sent.items()))) == made


def test_a_sources_own_names_never_pass_for_canonical_ones() -> None:
    sent = {"temperature": "24.5", "name": "pump", "product": 7, "deviceTemperature": 30, "device.name": 5}
    assert placed(sent, source="device") == {
        "device.sent.temperature": "24.5",
        "device.sent.name": "pump",
        "device.sent.product": 7,
        "device.temperature": 30,
        "device.device.name": 5,
    }


def test_what_the_source_said_itself_is_not_overwritten() -> None:
    reading = Reading(type="up", latitude=1.0, longitude=2.0, numbers={"lorawan.port": 1, "battery.level": 5})
    made = placed({"lorawan.port": 99, "batteryLevel": 7, "lat": 3.0, "lon": 4.0, "alt": 9}, reading)
    expected = {"latitude": 1.0, "longitude": 2.0, "altitude_m": 9.0, "lorawan.port": 1, "battery.level": 5}
    assert made == {**expected, "s.lorawan.port": 99, "s.batteryLevel": 7, "s.lat": 3.0, "s.lon": 4.0}


# --- any values ------------------------------------------------------------------------------------------------------

KNOWN = sorted(common_names._PLACES)
KEYS = st.sampled_from(
    [
        *KNOWN,
        *common_names._VALIDITY,
        "value",
        "unit",
        "a",
        "b",
        "a.b",
        "a.b.c",
        "b.c",
        "gps.lat",
        "adc.voltage.1",
        "name",
        "product",
    ]
) | st.text(max_size=4)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.integers(-10, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 0.0, 12.5, 327.67, 255, 7])
    | st.text(st.characters(codec="utf-8", exclude_characters="[{"), max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
SOURCES = st.sampled_from(["s", "device"])
TELEMETRY = st.dictionaries(KEYS, VALUES, max_size=8)


def shuffled(value: Any, rnd: Any) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        rnd.shuffle(keys)
        return {key: shuffled(value[key], rnd) for key in keys}
    return [shuffled(each, rnd) for each in value] if isinstance(value, list) else value


@settings(max_examples=500, deadline=None)
@given(values=TELEMETRY, rnd=st.randoms(use_true_random=False), source=SOURCES)
def test_the_order_of_keys_never_matters(values: dict[str, Any], rnd: Any, source: str) -> None:
    assert placed(shuffled(values, rnd), source=source) == placed(values, source=source)


def leaves(value: Any) -> list[Any]:
    """List the scalars in a value that say something, as they can be compared with what was kept."""
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    if value is None:
        return []
    if isinstance(value, (bool, str)):
        return [value]
    return [str(value) if isinstance(value, int) and abs(value) > 2**53 else float(value)]


def opened(text: str) -> list[Any]:
    """List the scalars in a text that was made of an array or an object; the text itself where it was not."""
    if text[:1] in ("[", "{"):
        return leaves(orjson.loads(text))
    return [text]


@settings(max_examples=500, deadline=None)
@given(values=TELEMETRY, source=SOURCES)
def test_nothing_is_lost(values: dict[str, Any], source: str) -> None:
    made = placed(values, source=source)
    kept = [leaf for value in made.values() for leaf in (opened(value) if isinstance(value, str) else leaves(value))]
    assert sorted(map(repr, kept)) == sorted(map(repr, leaves(values)))
    assert all(math.isfinite(value) for value in made.values() if isinstance(value, float))
    for name in made:
        assert name.startswith(f"{source}.") or name in COLUMNS or name in BY_NAME or name == "adc.voltage.1"
