"""The device's clock: it counts from 2013-01-01, and writes `2017-05-11 05:58:44`, without a zone, in UTC."""

from functools import lru_cache
from typing import Any

from schemas.times import DAY_US, SECOND_US, format_us, parse_iso_us
from sources.contract import Reading
from sources.values import time_or_zero

EPOCH_US = 1_356_998_400_000_000
"""2013-01-01, the zero of Digital Matter's binary protocol."""
_SET_FROM_US = EPOCH_US + DAY_US
_LENGTH = len("2017-05-11 05:58:44")
_MINUTES = {f"{at // 60:02}:{at % 60:02}:": at * 60 * SECOND_US for at in range(24 * 60)}
_SECONDS = {f"{at:02}": at * SECOND_US for at in range(60)}


def utc_us(value: Any) -> int:
    """Read a time; 0 when there is none, or it cannot be read."""
    if value.__class__ is str and len(value) == _LENGTH:
        try:
            return _day(value[:11]) + _MINUTES[value[11:17]] + _SECONDS[value[17:]]
        except (ValueError, KeyError):
            pass
    return time_or_zero(value)


@lru_cache(maxsize=4096)
def _day(text: str) -> int:
    """Return when a day begins, given with the separator behind it."""
    if text[10] not in " T":
        raise ValueError(text)
    return parse_iso_us(text[:10])


def is_set(ticks: int) -> bool:
    """Tell whether a clock was ever set: one that was not still counts its first day."""
    return not EPOCH_US <= ticks < _SET_FROM_US


def put_sent(reading: Reading, ticks: int) -> None:
    """Set the device's own time, unless its clock was never set: then what it said is kept, and not believed."""
    if is_set(ticks):
        reading.sent_us = ticks
    else:
        reading.texts["timestamp.sent"] = format_us(ticks)
