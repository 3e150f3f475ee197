"""The fields of a traditional record: each `FType` is another kind of measurement, in any order and any number."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import M_PER_KM, S_PER_HOUR, TENTHS_PER_ONE, divided, kmh_of_cm_s
from sources.contract import Reading
from sources.digital_matter.clock import is_set, utc_us
from sources.digital_matter.keep import keep, keep_others, keep_value, number_of, place, unsettled
from sources.digital_matter.sdi12 import DEVICE, MEASUREMENTS, add_sensors
from sources.digital_matter.tables import LEVEL_ANALOGUE, LEVEL_IN_HUNDREDTHS, UNCERTAIN_ANALOGUE, Scale
from sources.values import number_or

_GPS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    ("Alt", "altitude_m", float),
    ("Spd", "speed_kmh", kmh_of_cm_s),
    ("PDOP", "pdop", lambda pdop: divided(pdop, TENTHS_PER_ONE)),
    ("PosAcc", "accuracy_m", float),
)
_GPS_READ = frozenset(("FType", "Lat", "Long", "GpsUTC", "SpdAcc", "Head", "GpsStat", *(name for name, _, _ in _GPS)))
_LARGEST_HALVED_HEADING = 180
_BITMASK_LIMIT = 2**53
_ANY = float("inf")
_TRIP = {
    "Dist": Scale("trip.mileage", M_PER_KM, 0, _ANY),
    "IdleTime": Scale("trip.idle.duration", 1, 0, _ANY),
}
_RUN_HOURS = Scale("engine.motorhours", S_PER_HOUR, 0, _ANY)

Field = dict[str, Any]
Scales = Mapping[str, Scale]


def add_fields(reading: Reading, fields: list[Any], analogues: Scales) -> None:
    """Read the fields into the record. What is not understood is kept, with its `FType` (DM-a14)."""
    seen: set[int] = set()
    sensors: list[Field] = []
    for field in fields:
        if field.__class__ is not dict:
            keep(reading, {"Fields": field})
            continue
        kind = field.get("FType")
        if kind.__class__ is not int:
            kind = int(kind) if isinstance(kind, str) and kind.isdecimal() and len(kind) < 4 else -1
        reader = _READERS.get(kind)
        if reader is not None and (kind not in seen or kind in _REPEATED):
            seen.add(kind)
            reader(reading, field, analogues)
        elif kind in (DEVICE, MEASUREMENTS):
            sensors.append(field)
        else:
            keep(reading, field)
    if sensors:
        add_sensors(reading, sensors)


def _gps(reading: Reading, field: Field, _: Scales) -> None:
    """Take a position. `GpsUTC` is the time of the fix, days older than the record when there was no new one (DM-a16)."""
    get = field.get
    latitude, longitude = get("Lat"), get("Long")
    if latitude.__class__ is not float or longitude.__class__ is not float:
        latitude, longitude = number_or(latitude, NAN), number_or(longitude, NAN)
    if not (latitude or longitude) or latitude != latitude or longitude != longitude:
        reading.fix_valid = 0  # a tracker without a fix says 0, 0: then height, speed and heading mean nothing either
        keep(reading, {name: value for name, value in field.items() if name != "FType"})
        return
    reading.latitude, reading.longitude = float(latitude), float(longitude)
    alt, speed, pdop, accuracy = get("Alt"), get("Spd"), get("PDOP"), get("PosAcc")
    if alt.__class__ is speed.__class__ is pdop.__class__ is accuracy.__class__ is int:
        reading.altitude_m, reading.accuracy_m = float(alt), float(accuracy)
        reading.speed_kmh, reading.pdop = kmh_of_cm_s(speed), divided(pdop, TENTHS_PER_ONE)
    else:
        _columns(reading, field)
    heading, status = get("Head"), get("GpsStat")
    course = heading if heading.__class__ is int else number_of(heading)
    if 0 <= course <= 360:  # the raw number stays: whether it counts single or double degrees is not settled
        reading.course_deg = float(course * 2 if course <= _LARGEST_HALVED_HEADING else course)
    valid = status if status.__class__ is int else number_of(status)
    if valid == valid:
        reading.fix_valid = 1 if valid > 0 else 0
    _fix_time(reading, get("GpsUTC"))
    keep_value(reading, "SpdAcc", get("SpdAcc"))
    keep_value(reading, "Head", heading)
    keep_value(reading, "GpsStat", status)
    if not field.keys() <= _GPS_READ:
        keep_others(reading, field, _GPS_READ)


def _columns(reading: Reading, field: Field) -> None:
    """Take the columns from a position whose numbers are not all whole ones; what is no number is kept as it is."""
    for name, column, convert in _GPS:
        number = number_of(field.get(name))
        if number == number:
            setattr(reading, column, convert(number))
        else:
            keep_value(reading, name, field.get(name))


def _fix_time(reading: Reading, sent: Any) -> None:
    fix = utc_us(sent)
    if fix and is_set(fix):
        reading.fix_us = fix
    elif sent is not None:
        keep_value(reading, "GpsUTC", sent)
        if fix:
            reading.fix_valid = 0  # no satellite ever told it the time, so none told it the place


def _digital(reading: Reading, field: Field, _: Scales) -> None:
    for name, value in field.items():
        if name == "FType":
            continue
        canonical = _MASKS.get(name)
        if canonical is None or not bit_mask(reading, canonical, value):
            keep_value(reading, name, value)


_MASKS = {"DIn": "din", "DOut": "dout"}


def bit_mask(reading: Reading, canonical: str, value: Any) -> bool:
    """Take the bit mask of inputs or outputs; input bit 0 is the ignition. False: it is none, or there is one already."""
    number = value if value.__class__ is int else number_or(value, -1)
    if not 0 <= number < _BITMASK_LIMIT or number != int(number) or canonical in reading.numbers:
        return False
    reading.numbers[canonical] = number
    if canonical == "din":
        reading.booleans["engine.ignition.status"] = int(number) & 1 == 1
    return True


def _analogue(reading: Reading, field: Field, analogues: Scales) -> None:
    """Take 16-bit analogues. Number 5 is another thing on every product: raw and flagged, unless the product is known."""
    values = field.get("AnalogueData")
    if values.__class__ is not dict:
        _named(reading, field, analogues)
        return
    for number, value in values.items():
        scale = analogues.get(number)
        if scale is None:
            if number == UNCERTAIN_ANALOGUE and value is not None:
                unsettled(reading, "AnalogueData.5")
        elif number == LEVEL_ANALOGUE:
            if place(reading, scale, value) or place(reading, LEVEL_IN_HUNDREDTHS, value):
                unsettled(reading, "AnalogueData.6")
        elif place(reading, scale, value) and number != UNCERTAIN_ANALOGUE:
            continue
        keep_value(reading, "AnalogueData." + number, value)
    if len(field) > 2:
        _named(reading, {name: value for name, value in field.items() if name != "AnalogueData"}, analogues)


def _named(reading: Reading, field: Field, _: Scales) -> None:
    """Keep a field whose numbers are known by name only: 32-bit analogues, the type of a trip."""
    for name, value in field.items():
        if value.__class__ is dict:
            for inner, each in value.items():
                keep_value(reading, f"{name}.{inner}", each)
        elif name != "FType":
            keep_value(reading, name, value)


def _driver(reading: Reading, field: Field, analogues: Scales) -> None:
    rest = field.copy()
    if isinstance(rest.get("Data"), str) and rest["Data"]:
        reading.texts["driver.id"] = rest.pop("Data")
    _named(reading, rest, analogues)


def _trip(reading: Reading, field: Field, analogues: Scales) -> None:
    """Take distance and idle time: metres and seconds by the one receiver that knows them, so the raw numbers stay."""
    for name, scale in _TRIP.items():
        if place(reading, scale, field.get(name)):
            unsettled(reading, name)
    _named(reading, field, analogues)


def _odometer(reading: Reading, field: Field, analogues: Scales) -> None:
    """Take the run hours; `RH` stays too, being known from one receiver only. `Odo` is in no agreed unit: raw."""
    if place(reading, _RUN_HOURS, field.get("RH")):
        unsettled(reading, "RH")
    if field.get("Odo") is not None:
        unsettled(reading, "Odo")
    _named(reading, field, analogues)


_READERS: Mapping[int, Callable[[Reading, Field, Scales], None]] = {
    0: _gps,
    2: _digital,
    3: _driver,
    6: _analogue,
    7: _named,
    9: _trip,
    15: _named,
    27: _odometer,
}
_REPEATED = frozenset((6, 7))
"""Kinds that can be split over several fields; the second one of any other kind is kept whole, beside the first."""
