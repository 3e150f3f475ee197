"""Positions of AutoPi: `track.pos` from the modem's API or from NMEA sentences, and `loc` wherever it stands."""

from typing import Any

from schemas.records import NAN
from sources.autopi.kinds import COLUMNS
from sources.contract import Reading
from sources.values import number_or, put, put_all, time_or_zero

_META = frozenset(("@t", "@ts"))
_LOC = frozenset(("lat", "lon"))
_FIXES = {"2D": 1, "3D": 1, "no_fix": 0, "invalid_fix": 0}


def read_track(reading: Reading, record: dict[str, Any]) -> None:
    """Take a position. Without a fix there is no `loc`; newer devices name the date beside the time of day."""
    flat = [NAN, NAN]
    for key, value in record.items():
        if key in _META:
            continue
        if key == "loc":
            read_loc(reading, value, keep=True)
        elif not _column(reading, key, value, flat):
            keep_raw(reading, key, value)
    if "loc" not in record:
        _flat_position(reading, flat[0], flat[1])
    if reading.latitude != reading.latitude:
        reading.fix_valid = 0
        return
    fix = record.get("fix")
    if isinstance(fix, str):
        reading.fix_valid = _FIXES.get(fix, reading.fix_valid)
    day, clock = record.get("date_utc"), record.get("utc")
    if isinstance(day, str) and isinstance(clock, str):
        reading.fix_us = time_or_zero(f"{day}T{clock}")


def _column(reading: Reading, key: str, value: Any, flat: list[float]) -> bool:
    """Put a field of a position where it belongs. False: it has no column, or its value does not fit there."""
    number = number_or(value, NAN)
    if number != number:
        return False
    column = COLUMNS.get(key)
    if column is not None and _can_be(key, number, value):
        setattr(reading, column, float(number))
        if key == "sog":
            reading.numbers["autopi.sog"] = number
    elif key == "nsat" and 0 <= number <= 255:
        reading.satellites = int(number)
    elif key in {"loc.lat", "loc.lon"}:
        flat[key == "loc.lon"] = float(number)
    else:
        return False
    return True


def _can_be(key: str, number: float, value: Any) -> bool:
    """Tell whether the number can be what the field means."""
    if key == "cog":
        measured = number != 0 or value.__class__ is float  # the NMEA path writes a constant 0, the modem's API 0.0
        return measured and 0 <= number <= 360
    return key == "alt" or number >= 0


def read_loc(reading: Reading, loc: Any, *, keep: bool) -> None:
    """Take `loc`: {"lat": …, "lon": …}, or "lat,lon" as the cloud stores it. `keep` what cannot be used."""
    latitude = longitude = NAN
    if isinstance(loc, dict):
        latitude, longitude = number_or(loc.get("lat"), NAN), number_or(loc.get("lon"), NAN)
    elif isinstance(loc, str):
        first, _, second = loc.partition(",")
        latitude, longitude = number_or(first, NAN), number_or(second, NAN)
    if keep and (latitude != latitude or longitude != longitude or not (latitude or longitude)):
        keep_raw(reading, "loc", loc)
    elif keep and isinstance(loc, dict) and len(loc) > 2:
        put_all(reading, "autopi.loc.", {key: value for key, value in loc.items() if key not in _LOC})
    _fix(reading, latitude, longitude)


def _flat_position(reading: Reading, latitude: float, longitude: float) -> None:
    """Take `loc.lat` and `loc.lon` as the cloud's exports name them; one without the other is kept as it is."""
    if (latitude == latitude) != (longitude == longitude):
        put(reading, *(("autopi.loc.lat", latitude) if latitude == latitude else ("autopi.loc.lon", longitude)))
    _fix(reading, latitude, longitude)


def _fix(reading: Reading, latitude: float, longitude: float) -> None:
    if latitude == latitude and longitude == longitude and (latitude or longitude):
        reading.latitude, reading.longitude = float(latitude), float(longitude)


def keep_raw(reading: Reading, key: str, value: Any) -> None:
    """Keep a field under its own name."""
    if isinstance(value, dict) and value:
        put_all(reading, f"autopi.{key}.", value)
    else:
        put(reading, f"autopi.{key}", value)
