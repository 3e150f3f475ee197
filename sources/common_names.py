"""One mapping of the names devices give their own readings, for every way those readings can come in (AC-a40).

A reading sent over the device API, a gateway, the generic webhook, ChirpStack's or The Things Stack's decoder gives the same
numbers, booleans, texts and position; only what has no canonical name differs, by its `<source>.` prefix.
"""

from collections.abc import Mapping
from typing import Any

from schemas.vocabulary import BY_NAME, is_canonical
from sources.contract import Reading
from sources.values import put, put_all

_ALIASES = {
    "battery.level": "batteryLevel battery_level batteryPercent battery_percent batteryPercentage battery_percentage",
    "battery.voltage": "batteryVoltage battery_voltage batVoltage bat_voltage",
    "co2": "co2 CO2",
    "device.temperature": "deviceTemperature device_temperature internalTemperature internal_temperature",
    "engine.ignition.status": "ignition ignitionStatus ignition_status",
    "engine.motorhours": "engineHours engine_hours",
    "engine.rpm": "rpm engineRpm engine_rpm",
    "external.powersource.voltage": "externalVoltage external_voltage powerVoltage power_voltage",
    "fuel.level": "fuelLevel fuel_level",
    "humidity": "humidity relativeHumidity relative_humidity",
    "illuminance": "illuminance",
    "movement.status": "moving motion inMotion in_motion",
    "temperature": "temperature temp",
    "vehicle.mileage": "odometer_km odometerKm mileage_km mileageKm",
}
_COLUMNS = {
    "latitude": "latitude lat position.latitude",
    "longitude": "longitude lon lng long position.longitude",
    "altitude_m": "altitude_m altitude alt position.altitude",
    "speed_kmh": "speed_kmh speedKmh speed_kph position.speed",
    "course_deg": "course_deg heading course bearing position.direction",
    "accuracy_m": "accuracy_m accuracy position.accuracy",
    "hdop": "hdop HDOP position.hdop",
    "pdop": "pdop PDOP position.pdop",
    "satellites": "satellites sats numSatellites position.satellites",
}
_BOTH = frozenset(("latitude", "longitude"))
_POSITIONS = "gps GPS location position coordinates gnss"
_EXACT_INTEGER = 2**53
_LIMITS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "altitude_m": (-1_000.0, 100_000.0),
    "speed_kmh": (0.0, 2_000.0),
    "course_deg": (0.0, 360.0),
    "accuracy_m": (0.0, 1e8),
    "hdop": (0.0, 1e4),
    "pdop": (0.0, 1e4),
    "satellites": (0, 255),
    "battery.level": (0, 100),
    "battery.voltage": (0, 1_000),
    "external.powersource.voltage": (0, 1_000),
    "humidity": (0, 110),
}
"""Beyond them the unit is another one (3600 is no battery in V) or the value a marker (255, 655.35): it stays as it was sent."""
_NO_SENSOR = frozenset((327.67, -327.68, 3276.7, -3276.8))
"""What decoders make of the 16-bit extremes by which a sensor says that it has no temperature."""

_COLUMN, _NUMBER, _BOOLEAN, _TEXT, _NESTED, _OTHER = range(6)
_NUMERIC = (_COLUMN, _NUMBER)
_KINDS = {"number": _NUMBER, "boolean": _BOOLEAN, "text": _TEXT}
_Place = tuple[int, str, float, float]
_UNKNOWN: _Place = (_OTHER, "", 0, 0)


def _limits(name: str) -> tuple[float, float]:
    return _LIMITS.get(name, (-_EXACT_INTEGER, _EXACT_INTEGER))


def _places() -> dict[str, _Place]:
    """Work out where every known key belongs, so that a reading costs one lookup per key."""
    found: dict[str, _Place] = {
        name: (_KINDS[known.kind], name, *_limits(name))
        for name, known in BY_NAME.items()
        if not name.endswith(".N")  # the family's name itself; its members are found by `_member`
    }
    for name, aliases in _ALIASES.items():
        found.update(dict.fromkeys(aliases.split(), found[name]))
    for column, aliases in _COLUMNS.items():
        found.update(dict.fromkeys(aliases.split(), (_COLUMN, column, *_limits(column))))
    return found | dict.fromkeys(_POSITIONS.split(), (_NESTED, "", 0, 0))


_PLACES = _places()


def place(reading: Reading, source: str, values: Mapping[str, Any]) -> None:
    """Put a device's own key-value readings where they belong in `reading`.

    Known names get their canonical one when the JSON type fits and the number can be one in that unit; latitude and
    longitude make a position only together and in range. Strings are never cast (AC-c09), units are never guessed: `speed`
    and `battery` stay as they are. The rest is kept under `<source>.<key>`. Of two keys with the same meaning the canonical
    one counts, else the first by alphabet, and the other is kept as it was sent: the order of keys does not matter.
    """
    stores: tuple[dict[str, Any], ...] = ({}, reading.numbers, reading.booleans, reading.texts)
    taken: dict[str, str] = {}
    nested: list[str] = []
    for key, value in values.items():
        kind, name, low, high = _PLACES.get(key) or _member(key)
        if kind == _NESTED and isinstance(value, Mapping):
            nested.append(key)
        elif not _fits(kind, value, low, high):
            _raw(reading, source, key, value)
        else:
            best = key
            if name in taken:
                best, other = _better(name, key, taken[name])
                _raw(reading, source, other, values[other])
            taken[name] = best
            stores[kind][name] = values[best]
    if stores[_COLUMN]:
        for key in _set_columns(reading, values, taken):
            _raw(reading, source, key, values[key])
    for key in sorted(nested):
        _nested_position(reading, source, key, values[key])


def _member(key: str) -> _Place:
    """Place a member of a numbered family, e.g. `adc.voltage.2`; anything else is unknown."""
    if key[-1:].isdigit() and "." in key and is_canonical(key):
        return (_KINDS[BY_NAME[f"{key.rpartition('.')[0]}.N"].kind], key, *_limits(key))
    return _UNKNOWN


def _fits(kind: int, value: Any, low: float, high: float) -> bool:
    """Tell whether a value has the JSON type of its place, and can be a number in its unit."""
    found = value.__class__
    if kind in _NUMERIC:
        return (found is float or found is int) and low <= value <= high and value not in _NO_SENSOR
    return (kind == _BOOLEAN and found is bool) or (kind == _TEXT and found is str)


def _better(name: str, one: str, other: str) -> tuple[str, str]:
    return (one, other) if (one != name, one) < (other != name, other) else (other, one)


def _set_columns(reading: Reading, values: Mapping[str, Any], taken: Mapping[str, str]) -> list[str]:
    """Fill the position's columns and return the keys left over: half a position, and what would overwrite a column."""
    left: list[str] = []
    whole = taken.keys() >= _BOTH and reading.latitude != reading.latitude
    for name, key in taken.items():
        if name not in _COLUMNS:
            continue
        value, present = values[key], getattr(reading, name)
        if name == "satellites":
            if present < 0 and value == int(value):
                reading.satellites = int(value)
            else:
                left.append(key)
        elif present != present and (whole or name not in _BOTH):
            setattr(reading, name, float(value))
        else:
            left.append(key)
    return left


def _nested_position(reading: Reading, source: str, outer: str, values: Mapping[str, Any]) -> None:
    """Take a position out of an object like `gps: {lat, lon}`, unless there is one already or it holds none."""
    taken: dict[str, str] = {}
    for key, value in values.items():
        kind, name, low, high = _PLACES.get(key, _UNKNOWN)
        if kind == _COLUMN and _fits(kind, value, low, high):
            taken[name] = _better(name, key, taken[name])[0] if name in taken else key
    left = values
    if taken.keys() >= _BOTH and reading.latitude != reading.latitude:
        used = set(taken.values()).difference(_set_columns(reading, values, taken))
        left = {key: value for key, value in values.items() if key not in used}
    if left or not values:
        _raw(reading, source, outer, left)


def _raw(reading: Reading, source: str, key: str, value: Any) -> None:
    if isinstance(value, Mapping) and value:
        put_all(reading, f"{source}.{key}.", value)
    else:
        put(reading, f"{source}.{key}", value)
