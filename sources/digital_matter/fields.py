"""The fields of a traditional record: each `FType` is another kind of measurement, in any order and any number."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import HOURS_PER_S, KMH_PER_CM_S
from sources.contract import Reading
from sources.digital_matter.keep import converted, keep, place
from sources.digital_matter.tables import ANALOGUES
from sources.values import number_or, time_or_zero

_PDOP_SCALE = 0.1
_GPS: Mapping[str, tuple[str, float]] = {
    "Alt": ("altitude_m", 1.0),
    "Spd": ("speed_kmh", KMH_PER_CM_S),
    "PDOP": ("pdop", _PDOP_SCALE),
    "PosAcc": ("accuracy_m", 1.0),
}
_LARGEST_HALVED_HEADING = 180
_BITMASK_LIMIT = 2**53

Leftover = dict[str, Any]


def add_field(reading: Reading, field: Any, seen: set[int]) -> None:
    """Read one field into the record. What is not understood is kept, with its `FType` (DM-a14)."""
    if not isinstance(field, dict):
        keep(reading, {"Fields": field})
        return
    kind = field.get("FType")
    if not isinstance(kind, int) or (kind not in _READERS and kind not in _NAMED):
        keep(reading, field)
        return
    if kind in seen and kind in _ONCE:
        keep(reading, field)
        return
    seen.add(kind)
    rest = field.copy()
    del rest["FType"]
    reader = _READERS.get(kind)
    if reader is not None:
        reader(reading, rest)
    if rest:
        keep(reading, rest)


def _gps(reading: Reading, rest: Leftover) -> None:
    """Take a position. `GpsUTC` is the time of the fix, days older than the record when there was no new one (DM-a16)."""
    status = number_or(rest.get("GpsStat"), NAN)
    if status == status:
        reading.fix_valid = int(status > 0)
    latitude, longitude = number_or(rest.get("Lat"), NAN), number_or(rest.get("Long"), NAN)
    if not (latitude or longitude) or latitude != latitude or longitude != longitude:
        reading.fix_valid = 0  # a tracker without a fix says 0, 0: then height, speed and heading mean nothing either
        return
    del rest["Lat"], rest["Long"]
    reading.latitude, reading.longitude = float(latitude), float(longitude)
    reading.fix_us = time_or_zero(rest.get("GpsUTC"))
    if reading.fix_us:
        del rest["GpsUTC"]
    for name, (column, factor) in _GPS.items():
        number = converted(rest.get(name), factor)
        if number == number:
            setattr(reading, column, number)
            del rest[name]
    heading = number_or(rest.get("Head"), -1)
    if 0 <= heading <= 360:  # the raw number stays: whether it counts single or double degrees is not settled
        reading.course_deg = float(heading * 2 if heading <= _LARGEST_HALVED_HEADING else heading)


def _digital(reading: Reading, rest: Leftover) -> None:
    digital(reading, rest, "DIn", "DOut")


def digital(reading: Reading, rest: Leftover, inputs: str, outputs: str) -> None:
    """Take the bit masks of inputs and outputs out of `rest`; input bit 0 is the ignition."""
    for name, canonical in ((inputs, "din"), (outputs, "dout")):
        number = number_or(rest.get(name), -1)
        if number != int(number) or not 0 <= number < _BITMASK_LIMIT:
            continue
        del rest[name]
        reading.numbers[canonical] = number
        if canonical == "din":
            reading.booleans["engine.ignition.status"] = bool(int(number) & 1)


def _analogue(reading: Reading, rest: Leftover) -> None:
    values = rest.get("AnalogueData")
    if not isinstance(values, dict):
        return
    rest["AnalogueData"] = {
        number: value
        for number, value in values.items()
        if number not in ANALOGUES or not place(reading, *ANALOGUES[number], value)
    }


def _driver(reading: Reading, rest: Leftover) -> None:
    if isinstance(rest.get("Data"), str) and rest["Data"]:
        reading.texts["driver.id"] = rest.pop("Data")


def _odometer(reading: Reading, rest: Leftover) -> None:
    """Take the run hours; `RH` stays too, being known from one receiver only. `Odo` is in no agreed unit: raw."""
    place(reading, "engine.motorhours", HOURS_PER_S, rest.get("RH"))


_READERS: Mapping[int, Callable[[Reading, Leftover], None]] = {
    0: _gps,
    2: _digital,
    3: _driver,
    6: _analogue,
    27: _odometer,
}
_NAMED = frozenset((4, 5, 7, 9, 15))
"""SDI-12 device and measurements, 32-bit analogues, trip data, trip type: kept under their own names."""
_ONCE = frozenset(_READERS)
