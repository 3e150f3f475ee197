"""A position of Traccar's model to a reading: times, place, motion, attributes.

Units are Traccar's (`model/Position.java`): knots, metres, milliseconds, degrees true north, volts, percent. Times carry an
offset (`+00:00`, in old versions `+0000`); URL forwarding writes milliseconds since 1970.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from schemas.records import NAN
from schemas.units import KMH_PER_KNOT, M_PER_KM, MS_PER_HOUR, scaled
from sources.contract import Reading
from sources.values import number_or, put, put_all, time_or_zero

_EXACT_INTEGER = float(2**53)
_INFINITY = float("inf")
_MOST_NAMES = 10_000
"""Senders choose the names of attributes: beyond these nothing more is remembered."""
NOTHING: Mapping[str, Any] = {}

_NUMBERS: Mapping[str, tuple[str, float]] = {
    "odometer": ("vehicle.mileage", M_PER_KM),
    "tripOdometer": ("trip.mileage", M_PER_KM),
    "distance": ("position.distance", 1.0),
    "hours": ("engine.motorhours", MS_PER_HOUR),
    "obdSpeed": ("vehicle.speed", 1.0),
    "power": ("external.powersource.voltage", 1.0),
    "battery": ("battery.voltage", 1.0),
    "batteryLevel": ("battery.level", 1.0),
    "fuel": ("fuel.volume", 1.0),
    "fuelLevel": ("fuel.level", 1.0),
    "fuelUsed": ("fuel.consumed", 1.0),
    "fuelConsumption": ("fuel.consumption", 1.0),
    "deviceTemp": ("device.temperature", 1.0),
    "coolantTemp": ("engine.coolant.temperature", 1.0),
    "humidity": ("humidity", 1.0),
    "rpm": ("engine.rpm", 1.0),
    "throttle": ("throttle.level", 1.0),
    "engineLoad": ("engine.load.level", 1.0),
    "vdop": ("position.vdop", 1.0),
    "input": ("din", 1.0),
    "output": ("dout", 1.0),
}
_LIMITS: Mapping[str, tuple[float, float]] = {
    "power": (0, 1_000),
    "battery": (0, 1_000),
    "batteryLevel": (0, 100),
    "fuelLevel": (0, 100),
}
"""Traccar's model says that the units of these vary by protocol: beyond the limits it is another unit (4012 is no battery in
V), and the value keeps its own name."""
_ATTRIBUTE_COLUMNS = {"hdop": "hdop", "pdop": "pdop", "sat": "satellites"}
_BOOLEANS: Mapping[str, str] = {
    "ignition": "engine.ignition.status",
    "motion": "movement.status",
    "charge": "battery.charging.status",
    "blocked": "engine.blocked.status",
    **{f"in{number}": f"din.{number}" for number in range(1, 33)},
    **{f"out{number}": f"dout.{number}" for number in range(1, 33)},
}
_TEXTS: Mapping[str, str] = {
    "driverUniqueId": "driver.id",
    "vin": "vehicle.vin",
    "versionFw": "firmware.version",
    "iccid": "iccid",
    "imei": "imei",
}
_CELL: Mapping[str, str] = {
    "mobileCountryCode": "gsm.mcc",
    "mobileNetworkCode": "gsm.mnc",
    "locationAreaCode": "gsm.lac",
    "cellId": "gsm.cellid",
    "signalStrength": "gsm.signal.dbm",
}
_ODOMETERS = ("obdOdometer", "totalDistance")
"""What stands in for `odometer` when the tracker has none; both keep their own names too."""
_READ = frozenset(
    (
        *("altitude", "speed", "course", "accuracy", "latitude", "longitude", "valid", "outdated"),
        *("fixTime", "deviceTime", "serverTime", "attributes", "id", "deviceId", "type", "network"),
    )
)
_UNSTABLE = frozenset(("address", "geofenceIds"))
"""What differs between the copies of one position that are forwarded, pushed and listed, besides what `_READ` holds."""


class Names(dict[str, str]):
    """Where values go, by their own name: the canonical name, else `<source>.<name>`, made once."""

    def __init__(self, prefix: str, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self._prefix = prefix

    def __missing__(self, name: str) -> str:
        made = f"{self._prefix}{name}"
        if len(self) < _MOST_NAMES:
            self[name] = made
        return made


class _NumberPlaces(dict[str, tuple[str, float, float, float]]):
    """Where a number goes, what it is divided by, and its limits; a divisor of 0 means a column of the reading."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        for name, (canonical, divisor) in _NUMBERS.items():
            self[name] = (canonical, divisor, *_LIMITS.get(name, (-_EXACT_INTEGER, _EXACT_INTEGER)))
        for name, column in _ATTRIBUTE_COLUMNS.items():
            self[name] = (column, 0.0, *((0, 255) if name == "sat" else (-_EXACT_INTEGER, _EXACT_INTEGER)))

    def __missing__(self, name: str) -> tuple[str, float, float, float]:
        made = (f"{self._prefix}{name}", 1.0, -_EXACT_INTEGER, _EXACT_INTEGER)
        if len(self) < _MOST_NAMES:
            self[name] = made
        return made


class Places:
    """One source's names: `<source>.<name>` for whatever has no canonical name."""

    __slots__ = ("booleans", "cell", "device", "network", "numbers", "own", "texts")

    def __init__(self, source: str) -> None:
        prefix = f"{source}."
        self.numbers = _NumberPlaces(prefix)
        self.booleans = Names(prefix, _BOOLEANS)
        self.texts = Names(prefix, _TEXTS)
        self.own = Names(prefix, {})
        self.device = Names(f"{prefix}device.", {"name": "device.name"})
        self.network = Names(f"{prefix}network.", {})
        self.cell = Names(f"{prefix}network.cellTower.", _CELL)


places_of = cache(Places)


def add_position(source: str, reading: Reading, position: Mapping[str, Any]) -> list[Any]:
    """Add a position's times, place, motion and attributes.

    Returns what tells this position from another one of the same times, for `Reading.content`: the same whether it was
    forwarded, pushed or listed, and whether whole numbers came with or without their `.0`.
    """
    get = position.get
    fix, sent = get("fixTime"), get("deviceTime")
    reading.fix_us = time_or_zero(fix)
    reading.sent_us = reading.fix_us if sent == fix else time_or_zero(sent) or reading.fix_us
    reading.platform_us = time_or_zero(get("serverTime"))
    rest: dict[str, Any] = {}
    reading.altitude_m = _number(source, reading, rest, "altitude", get("altitude"))
    reading.accuracy_m = _number(source, reading, rest, "accuracy", get("accuracy"))
    reading.course_deg = _number(source, reading, rest, "course", get("course"), 0.0, 360.0)
    knots = _number(source, reading, rest, "speed", get("speed"))
    reading.speed_kmh = scaled(knots, KMH_PER_KNOT) if knots else knots
    _place(source, reading, position, rest)
    attributes = attributes_of(source, reading, get("attributes"))
    add_attributes(source, reading, attributes)
    more = {name: value for name, value in position.items() if name not in _READ and value is not None}
    spread(reading, places_of(source).own, more)
    for name in _UNSTABLE:
        more.pop(name, None)
    rest |= more
    network, kind = get("network"), get("type")
    if network is not None:
        rest["network"] = network
        _add_network(source, reading, network)
    said = {"position.id": get("id") or None, "type": kind if kind.__class__ is str else None}
    spread(reading, places_of(source).own, said)
    place = (reading.latitude, reading.longitude, reading.altitude_m, reading.speed_kmh, reading.course_deg)
    return [*place, reading.accuracy_m, reading.fix_valid, attributes, rest]


def _number(
    source: str,
    reading: Reading,
    rest: dict[str, Any],
    name: str,
    value: Any,
    low: float = -_EXACT_INTEGER,
    high: float = _EXACT_INTEGER,
) -> float:
    """Return a number within limits, or NaN; what is none is kept as it was sent."""
    number = value if value.__class__ is float else number_or(value, NAN)
    if low <= number <= high:
        return float(number)
    if value is not None:
        rest[name] = value
        keep(source, reading, name, value)
    return NAN


def name_position(reading: Reading, position: Mapping[str, Any]) -> None:
    """Name a position by what it is about: its `id` is 0 when it is forwarded before it was stored."""
    if reading.fix_us or reading.sent_us:
        reading.natural_key = f"{reading.fix_us}|{reading.sent_us}|{position.get('protocol')}"


def _place(source: str, reading: Reading, position: Mapping[str, Any], rest: dict[str, Any]) -> None:
    get = position.get
    latitude, longitude, valid, outdated = get("latitude"), get("longitude"), get("valid"), get("outdated")
    if valid is True or valid is False:
        reading.fix_valid = int(valid)
    elif valid is not None:
        rest["valid"] = valid
        keep(source, reading, "valid", valid)
    if outdated is True:
        reading.fix_valid = 0
        reading.booleans[f"{source}.outdated"] = True
    elif outdated is not None and outdated is not False:
        keep(source, reading, "outdated", outdated)
    if latitude.__class__ is not float or longitude.__class__ is not float:
        latitude, longitude = number_or(latitude, NAN), number_or(longitude, NAN)
    if latitude == latitude and longitude == longitude:
        if latitude or longitude:
            reading.latitude, reading.longitude = float(latitude), float(longitude)
        else:
            reading.fix_valid = 0  # before the first fix Traccar says 0, 0
        return
    for name in ("latitude", "longitude"):
        if get(name) is not None:
            rest[name] = get(name)
            keep(source, reading, name, get(name))


def _add_network(source: str, reading: Reading, network: Any) -> None:
    """Name the cell when it is the only one. Several come in no order, so none of them is the serving one for certain."""
    places = places_of(source)
    if not isinstance(network, dict):
        keep(source, reading, "network", network)
        return
    towers = network.get("cellTowers")
    if isinstance(towers, list) and len(towers) == 1 and isinstance(towers[0], dict):
        spread(reading, places.cell, towers[0])
        network = {name: value for name, value in network.items() if name != "cellTowers"}
    spread(reading, places.network, network)


def spread(reading: Reading, names: Names, values: Mapping[str, Any]) -> None:
    """Keep every value under its name in `names`; null and empty values say nothing."""
    for name, value in values.items():
        kind = value.__class__
        if kind is str:
            if value:
                reading.texts[names[name]] = value
        elif kind is bool:
            reading.booleans[names[name]] = value
        elif kind is dict:
            put_all(reading, f"{names[name]}.", {key: each for key, each in value.items() if each not in ({}, [])})
        elif value is not None and value != []:
            put(reading, names[name], value)


def attributes_of(source: str, reading: Reading, value: Any) -> Mapping[str, Any]:
    """Return attributes; `[]` stands for `{}` in some receivers' copies. Anything else odd is kept as it is."""
    if isinstance(value, dict):
        return value
    if value:
        keep(source, reading, "attributes", value)
    return NOTHING


def add_attributes(source: str, reading: Reading, attributes: Mapping[str, Any]) -> None:
    """Sort a position's attributes: known ones by canonical name and unit, the rest as `<source>.<name>`."""
    places = places_of(source)
    numeric, numbers = places.numbers, reading.numbers
    for name, value in attributes.items():
        kind = value.__class__
        if kind is float or kind is int:
            place, divisor, low, high = numeric[name]
            if low <= value <= high:
                if divisor == 1.0:
                    numbers[place] = value
                elif divisor:
                    numbers[place] = value / divisor
                else:
                    setattr(reading, place, int(value) if name == "sat" else float(value))
                continue
        elif kind is bool:
            reading.booleans[places.booleans[name]] = value
            continue
        elif kind is str:
            _add_text(source, reading, places, name, value)
            continue
        keep(source, reading, name, value)
    if "vehicle.mileage" not in numbers:
        _stand_in(numbers, attributes)


def _stand_in(numbers: dict[str, float], attributes: Mapping[str, Any]) -> None:
    """Take the mileage from what the tracker's or the server's own count says, when there is no odometer."""
    for name in _ODOMETERS:
        if name not in attributes:
            continue
        metres = number_or(attributes[name], NAN)
        if -_EXACT_INTEGER < metres < _EXACT_INTEGER:
            numbers["vehicle.mileage"] = metres / M_PER_KM
            return


def _add_text(source: str, reading: Reading, places: Places, name: str, value: str) -> None:
    """Take an attribute that came as text: an alarm, a text, or the number of a known name in quotes."""
    if not value:
        return
    if name == "alarm":
        add_alarms(reading, value)
    elif name in _NUMBERS or name in _ATTRIBUTE_COLUMNS:
        number = number_or(value, NAN)
        place, divisor, low, high = places.numbers[name]
        if not low <= number <= high:
            keep(source, reading, name, value)
        elif divisor:
            reading.numbers[place] = number / divisor
        else:
            setattr(reading, place, int(number) if name == "sat" else float(number))
    else:
        reading.texts[places.texts[name]] = value


def add_alarms(reading: Reading, kinds: str) -> None:
    """Note alarms. The position of an event may name several, the event only its own: none is lost, none twice."""
    texts = reading.texts
    noted = texts.get("alarm.type", "")
    if noted and kinds.strip() == noted:
        return
    if noted or "," in kinds:
        kinds = ",".join(dict.fromkeys(filter(None, map(str.strip, f"{noted},{kinds}".split(",")))))
    if kinds:
        texts["alarm.type"] = kinds
        reading.booleans["alarm.event"] = True


def keep(source: str, reading: Reading, name: str, value: Any) -> None:
    """Keep a value without a canonical name. Null and empty values say nothing."""
    spread(reading, places_of(source).own, {name: value})
