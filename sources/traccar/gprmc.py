"""The NMEA sentence of `{gprmc}`, which OpenGTS receivers are fed with: time, place, knots and degrees in one text."""

from collections.abc import Mapping
from typing import Any

_FIELDS = 10


def read_sentence(text: str) -> Mapping[str, Any] | None:
    """Return the sentence as fields of Traccar's position, None when it is no RMC sentence.

    `$GPRMC,091438.000,A,4722.6134,N,00832.5014,E,27.00,301.50,311225,,*1F`: Traccar writes `A` whether or not the fix is
    valid, so only another letter says something about it. The checksum is not looked at: HTTP has its own.
    """
    parts = text.partition("*")[0].split(",")
    if len(parts) < _FIELDS or not parts[0].endswith("RMC"):
        return None
    _, clock, status, latitude, north, longitude, east, speed, course, day, *_ = parts
    if not (day.isdecimal() and len(day) == 6 and clock[:6].isdecimal() and len(clock) >= 6):
        return None
    try:
        place = {
            "latitude": _degrees(latitude, 2, -1 if north == "S" else 1),
            "longitude": _degrees(longitude, 3, -1 if east == "W" else 1),
        }
        moving = {"speed": float(speed), "course": float(course)} if speed and course else {}
    except ValueError:
        return None
    time = f"20{day[4:]}-{day[2:4]}-{day[:2]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
    return {"fixTime": time, **place, **moving, **({} if status == "A" else {"valid": False})}


def _degrees(text: str, digits: int, sign: int) -> float:
    """Read `ddmm.mmmm`; the whole degrees are the first `digits`."""
    return round(sign * (int(text[:digits]) + float(text[digits:]) / 60), 7)
