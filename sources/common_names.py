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
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_FIELDS = {
    **dict.fromkeys(("latitude", "lat", "position.latitude"), "latitude"),
    **dict.fromkeys(("longitude", "lon", "lng", "long", "position.longitude"), "longitude"),
    **dict.fromkeys(("altitude", "alt", "altitude_m", "position.altitude"), "altitude_m"),
    **dict.fromkeys(("speed_kmh", "speedKmh", "speed_kph", "position.speed"), "speed_kmh"),
    **dict.fromkeys(("heading", "course", "bearing", "course_deg", "position.direction"), "course_deg"),
    **dict.fromkeys(("accuracy", "accuracy_m", "position.accuracy"), "accuracy_m"),
    **dict.fromkeys(("hdop", "HDOP", "position.hdop"), "hdop"),
    **dict.fromkeys(("pdop", "PDOP", "position.pdop"), "pdop"),
    **dict.fromkeys(("satellites", "sats", "numSatellites", "position.satellites"), "satellites"),
}
_POSITIONS = frozenset(("gps", "GPS", "location", "position", "coordinates", "gnss"))
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
}


def place(reading: Reading, source: str, values: Mapping[str, Any]) -> None:
    """Put a device's own key-value readings where they belong in `reading`.

    Known names get their canonical one when the JSON type fits; latitude and longitude make a position only together and
    in range. Strings are never cast (AC-c09), units are never guessed: `speed` and `battery` stay as they are. The rest
    is kept under `<source>.<key>`.
    """
    fields = _position_fields(values)
    for key, value in values.items():
        if key in fields:
            continue
        if key in _POSITIONS and isinstance(value, Mapping) and _nested_position(reading, source, key, value):
            continue
        _keep(reading, source, key, value)
    for key, field in fields.items():
        setattr(reading, field, values[key])


def _position_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Find the keys that fill position columns: each column once, numbers in range only."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key, value in values.items():
        field = _FIELDS.get(key)
        if field is None or field in taken or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        low, high = _LIMITS[field]
        if low <= value <= high and (field != "satellites" or value == int(value)):
            found[key] = field
            taken.add(field)
    if ("latitude" in taken) != ("longitude" in taken):
        return {key: field for key, field in found.items() if field not in {"latitude", "longitude"}}
    return found


def _nested_position(reading: Reading, source: str, name: str, values: Mapping[str, Any]) -> bool:
    """Take a position out of an object like `gps: {lat, lon}`; False when it holds none."""
    fields = _position_fields(values)
    if "latitude" not in fields.values():
        return False
    for key, field in fields.items():
        setattr(reading, field, values[key])
    put_all(reading, f"{source}.{name}.", {key: value for key, value in values.items() if key not in fields})
    return True


def _keep(reading: Reading, source: str, key: str, value: Any) -> None:
    name = _CANONICAL.get(key) or (key if is_canonical(key) else "")
    if name and _fits(name, value):
        put(reading, name, value)
    elif isinstance(value, Mapping) and value:
        put_all(reading, f"{source}.{key}.", value)
    else:
        put(reading, f"{source}.{key}", value)


def _fits(name: str, value: Any) -> bool:
    known = BY_NAME.get(name)
    kind = known.kind if known else BY_NAME[f"{name.rpartition('.')[0]}.N"].kind
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "boolean" else str)
