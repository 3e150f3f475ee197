"""One mapping of the names devices give their own readings, for every way those readings can come in (AC-a40).

A reading sent over the device API, a gateway, the generic webhook, ChirpStack's or The Things Stack's decoder gives the same
numbers, booleans, texts and position; only what has no canonical name differs, by its `<source>.` prefix.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from schemas.vocabulary import BY_NAME, is_canonical
from sources.contract import Reading
from sources.values import put

_ALIASES = {
    "battery.level": "batteryLevel battery_level batteryPercent battery_percent batteryPercentage battery_percentage"
    " BatteryLevel Battery_Level batteryPct battery_pct battery_level_percent batteryLevelInPercentage batterypercent",
    "battery.voltage": "batteryVoltage battery_voltage batVoltage bat_voltage batV BatV BAT_V Bat_V bat_v batt_v BattV"
    " battV BatteryVoltage Battery_Voltage battery_volt batt_volt battery_v battery_V",
    "co2": "co2 CO2",
    "device.temperature": "deviceTemperature device_temperature internalTemperature internal_temperature",
    "engine.ignition.status": "ignition ignitionStatus ignition_status",
    "engine.motorhours": "engineHours engine_hours",
    "engine.rpm": "rpm engineRpm engine_rpm",
    "external.powersource.voltage": "externalVoltage external_voltage powerVoltage power_voltage vExt v_ext",
    "fuel.level": "fuelLevel fuel_level",
    "humidity": "humidity relativeHumidity relative_humidity Humidity",
    "illuminance": "illuminance",
    "movement.status": "moving motion inMotion in_motion",
    "temperature": "temperature temp temperatureC temperature_c tempC temp_c Temperature TempC temperatureCelsius",
    "vehicle.mileage": "odometer_km odometerKm mileage_km mileageKm",
}
_COLUMNS = {
    "latitude": "latitude lat latitudeDeg latitude_deg Latitude Lat LATITUDE LAT gpsLatitude gps_latitude gpsLat gps_lat"
    " gnss_latitude latitud position.latitude",
    "longitude": "longitude lon lng long longitudeDeg longitude_deg Longitude Lon Lng Long LONGITUDE LON gpsLongitude"
    " gps_longitude gpsLon gpsLng gps_lon gps_lng gnss_longitude longitud Longitud position.longitude",
    "altitude_m": "altitude_m altitude alt alt_m altitudeM Altitude gpsAltitude gps_altitude gpsAlt gps_alt"
    " position.altitude",
    "speed_kmh": "speed_kmh speedKmh speed_kph speedKph speedKmph speed_kmph position.speed",
    "course_deg": "course_deg heading headingDeg heading_deg course courseDeg bearing cog position.direction",
    "accuracy_m": "accuracy_m accuracy accuracyM gpsAccM gpsAccuracy gps_accuracy horizontalAccuracy horizontal_accuracy"
    " position.accuracy",
    "hdop": "hdop HDOP gpsHdop gps_hdop position.hdop",
    "pdop": "pdop PDOP position.pdop",
    "satellites": "satellites sats nsat numSat num_sat numSats num_sats numSatellites numberOfSatellites"
    " numberSatellitesUsed gpsSatellites gps_satellites satelliteCount satellite_count position.satellites",
}
_BOTH = frozenset(("latitude", "longitude"))
_POSITIONS = (
    "gps Gps GPS gnss Gnss GNSS location Location position Position coordinates coords gpsLocation gps_location"
    " gpsPosition gps_position gnssFix"
)
_CHANNEL = "gps_"
"""Cayenne's GPS channels are `gps_1` and on."""
_DEEPEST_POSITION = 3
_VALIDITY = {
    **dict.fromkeys("fixFailed fix_failed gpsFixFailed".split(), False),
    **dict.fromkeys("gpsValid gps_valid fixValid fix_valid gpsFixValid gps_fix_valid position.valid".split(), True),
}
"""What receivers say of their fix, and the word that means it is one."""
_UNITS = {
    "°C": "°C ℃ C degC Celsius",
    "%": "% %RH",
    "V": "V",
    "ppm": "ppm",
    "lx": "lx lux",
    "hPa": "hPa mbar",
    "km": "km",
}
_OF_A_POSITION = "accuracy"
"""Metres beside a position; without one it may be any sensor's accuracy, in any unit."""
_OURS = frozenset(("timestamp.sent",))
"""Names the engine writes itself: a device's own value under them would be overwritten."""
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
    "fuel.level": (0, 100),
    "humidity": (0, 110),
    "vehicle.mileage": (0, 1e8),
}
"""Beyond them the unit is another one (3600 is no battery in V) or the value a marker (255, 655.35): it stays as it was sent."""
_TEMPERATURES = (-273.15, 2_000.0)
_NO_SENSOR = 327.67
"""What decoders make of the 16-bit extreme by which a sensor says that it has no temperature."""
_ROUNDING = 1e-4

_COLUMN, _NUMBER, _BOOLEAN, _TEXT, _TEMPERATURE, _NESTED, _OTHER = range(7)
_NUMERIC = (_COLUMN, _NUMBER)
_KINDS = {"number": _NUMBER, "boolean": _BOOLEAN, "text": _TEXT}
_Place = tuple[int, str, float, float]
_UNKNOWN: _Place = (_OTHER, "", 0, 0)


def _canonical(name: str, kind: str) -> _Place:
    if name.endswith("temperature"):
        return (_TEMPERATURE, name, *_TEMPERATURES)
    return (_KINDS[kind], name, *_limits(name))


def _limits(name: str) -> tuple[float, float]:
    return _LIMITS.get(name, (-_EXACT_INTEGER, _EXACT_INTEGER))


def _places() -> dict[str, _Place]:
    """Work out where every known key belongs, so that a reading costs one lookup per key."""
    found: dict[str, _Place] = {
        name: _canonical(name, known.kind)
        for name, known in BY_NAME.items()
        if not name.endswith(".N") and name not in _OURS  # a family's name itself; its members are found by `_member`
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
    longitude make a position only together, in range and not both exactly 0, which is what receivers say without a fix.
    Strings are never cast (AC-c09), units are never guessed: `speed` and `battery` stay as they are. The rest is kept
    under `<source>.<key>`, or `<source>.sent.<key>` where that is a canonical name. Of two keys with the same meaning the
    canonical one counts, else the first by alphabet, and the other is kept as it was sent; what `reading` says already is
    not overwritten. The order of keys does not matter. An object `{value, unit}` is its value where the unit is ours, and
    what the receiver says of its fix is `fix_valid`, and kept.
    """
    stores: tuple[dict[str, Any], ...] = ({}, reading.numbers, reading.booleans, reading.texts, reading.numbers)
    taken: dict[str, str] = {}
    objects: dict[str, Mapping[str, Any]] = {}
    for key, value in values.items():
        kind, name, low, high = _PLACES.get(key) or _member(key)
        if isinstance(value, dict) and value:
            objects[key] = value
        elif not _fits(kind, value, low, high):
            _raw(reading, _own(source, key), value)
        else:
            store = stores[kind]
            if name not in store:
                taken[name] = key
                store[name] = value
            else:
                _raw_second(reading, source, values, taken, store, name, key)
    if stores[_COLUMN]:
        for key in _set_columns(reading, values, taken):
            _raw(reading, _own(source, key), values[key])
    if objects:
        _open(reading, source, objects)
    if not _VALIDITY.keys().isdisjoint(values):
        _judge(reading, values)


def _open(reading: Reading, source: str, objects: dict[str, Mapping[str, Any]]) -> None:
    """Take a position and measured values out of objects, and keep what is left of them."""
    for key in sorted(objects, key=lambda each: (each not in BY_NAME, each)):
        if key.startswith(_CHANNEL) or _PLACES.get(key, _UNKNOWN)[0] == _NESTED:
            objects[key] = _nested_position(reading, objects[key])
        elif "value" in objects[key]:
            objects[key] = _without_value(reading, key, objects[key])
    # Backwards, so that `a.b` has its place before `a` is opened, which may hold a `b`.
    for key in sorted(filter(objects.get, objects), reverse=True):
        _object(reading, _own(source, key), objects[key])


def _judge(reading: Reading, values: Mapping[str, Any]) -> None:
    """Set whether the fix is one, by what the receiver says; a doubt counts without a position too."""
    said = [value is good for key, good in _VALIDITY.items() if (value := values.get(key)).__class__ is bool]
    if said and reading.fix_valid < 0 and (not all(said) or reading.latitude == reading.latitude):
        reading.fix_valid = 1 if all(said) else 0


def _member(key: str) -> _Place:
    """Place a member of a numbered family, e.g. `adc.voltage.2`; anything else is unknown."""
    if key[-1:].isdecimal() and "." in key and key.isascii() and is_canonical(key):
        return _canonical(key, BY_NAME[f"{key.rpartition('.')[0]}.N"].kind)
    return _UNKNOWN


def _fits(kind: int, value: Any, low: float, high: float) -> bool:
    """Tell whether a value has the JSON type of its place, and can be a number in its unit."""
    found = value.__class__
    if found is float or found is int:
        if not low <= value <= high:
            return False
        return kind in _NUMERIC or (kind == _TEMPERATURE and abs(value - _NO_SENSOR) > _ROUNDING)
    return (kind == _BOOLEAN and found is bool) or (kind == _TEXT and found is str)


def _raw_second(
    reading: Reading,
    source: str,
    values: Mapping[str, Any],
    taken: dict[str, str],
    store: dict[str, Any],
    name: str,
    key: str,
) -> None:
    """Decide between two values for one name, and keep the other as it was sent; what the source said itself stays."""
    if name in taken:
        best, key = _better(name, key, taken[name])
        taken[name] = best
        store[name] = values[best]
    _raw(reading, _own(source, key), values[key])


def _better(name: str, one: str, other: str) -> tuple[str, str]:
    return (one, other) if (one != name, one) < (other != name, other) else (other, one)


def _is_position(reading: Reading, values: Mapping[str, Any], taken: Mapping[str, str]) -> bool:
    """Tell whether these keys make a position where there is none yet. 0, 0 is what receivers without a fix say."""
    if not taken.keys() >= _BOTH or reading.latitude == reading.latitude:
        return False
    return bool(values[taken["latitude"]] or values[taken["longitude"]])


def _set_columns(reading: Reading, values: Mapping[str, Any], taken: Mapping[str, str]) -> list[str]:
    """Fill the position's columns and return the keys left over: half a position, and what would overwrite a column."""
    left: list[str] = []
    whole = _is_position(reading, values, taken)
    for name, key in taken.items():
        if name not in _COLUMNS:
            continue
        value, present = values[key], getattr(reading, name)
        if name == "satellites":
            if present < 0 and value == int(value):
                reading.satellites = int(value)
            else:
                left.append(key)
        elif present != present and (whole or (name not in _BOTH and key != _OF_A_POSITION)):
            setattr(reading, name, float(value))
        else:
            left.append(key)
    return left


def _nested_position(reading: Reading, values: Mapping[str, Any], depth: int = 1) -> Mapping[str, Any]:
    """Take a position out of an object like `gps: {lat, lon}` and return what is left of it.

    One without a position, or beside another position, stays whole. Its own objects are searched too: Cayenne's
    `gpsLocation: {"1": {…}}`, Abeeway's `position: {gnssFix: {…}}`.
    """
    left = _without_position(reading, values)
    if left is not values or depth == _DEEPEST_POSITION:
        return left
    for key in sorted(values):
        inner = values[key]
        if isinstance(inner, dict) and inner:
            rest = _nested_position(reading, inner, depth + 1)
            if rest is not inner:
                return {name: value for name, value in {**values, key: rest}.items() if name != key or rest}
    return values


def _without_value(reading: Reading, key: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take the value out of an object like `battery_voltage: {value, unit}` and return what is left of it.

    It stays whole where its unit is another than ours, or there is such a value already.
    """
    kind, name, low, high = _PLACES.get(key) or _member(key)
    value, unit = values["value"], values.get("unit")
    if kind not in {_NUMBER, _TEMPERATURE} or name in reading.numbers or not _fits(kind, value, low, high):
        return values
    ours = BY_NAME[name].unit if name in BY_NAME else ""
    if unit is not None and unit not in _UNITS.get(ours, ours).split():
        return values
    reading.numbers[name] = value
    return {key: each for key, each in values.items() if key != "value"}


def _without_position(reading: Reading, values: Mapping[str, Any]) -> Mapping[str, Any]:
    taken: dict[str, str] = {}
    for key, value in values.items():
        kind, name, low, high = _PLACES.get(key, _UNKNOWN)
        if kind == _COLUMN and _fits(kind, value, low, high):
            taken[name] = _better(name, key, taken[name])[0] if name in taken else key
    if not _is_position(reading, values, taken):
        return values
    used = set(taken.values()).difference(_set_columns(reading, values, taken))
    return {key: value for key, value in values.items() if key not in used}


def _object(reading: Reading, name: str, values: Mapping[str, Any]) -> None:
    """Keep an object's members under their names joined with dots; as JSON where one of them would hide another value."""
    members = list(_members(f"{name}.", values))
    stores = (reading.numbers, reading.booleans, reading.texts)
    names = {each for each, _ in members}
    if len(names) < len(members) or any(not names.isdisjoint(store) for store in stores):
        _raw(reading, name, values)
        return
    for each, value in members:
        _raw(reading, each, value)


def _members(prefix: str, values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _members(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def _own(source: str, key: str) -> str:
    """Name what has no canonical name; `temperature` of the source `device` must not pass for `device.temperature`."""
    name = f"{source}.{key}"
    return f"{source}.sent.{key}" if name in BY_NAME else name


def _raw(reading: Reading, name: str, value: Any) -> None:
    """Keep one value as it was sent; arrays as JSON with sorted keys: CBOR and protobuf senders have them in another order."""
    if isinstance(value, (list, dict)):
        reading.texts[name] = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    else:
        put(reading, name, value)
