"""Times as whole microseconds since 1970 UTC (`*_us`): parsed, guarded and printed without datetime objects.

`0` means "no time". Everything here takes what senders really write: no zone, a space for the `T`, 0 to 9 fractional
digits, `+00:00`, `+0000` and `Z`, seconds or milliseconds since 1970, numbers in quotes.
"""

import re
import time
from datetime import UTC, date, datetime
from functools import lru_cache

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EARLIEST_US = 1_262_304_000 * SECOND_US
"""2010-01-01: no device of today reported earlier, so an earlier clock is a clock that was never set."""
FUTURE_TOLERANCE_US = DAY_US
MILLISECONDS_FROM = 100_000_000_000
"""A number from here on is milliseconds, below it seconds (sources.md AC-c02)."""
_MICROSECONDS_FROM = 100_000_000_000_000
_NANOSECONDS_FROM = 100_000_000_000_000_000
_LARGEST_US = 253_402_300_799 * SECOND_US
"""9999-12-31: beyond it a time cannot be printed, so it counts as no time."""
_SMALLEST_US = -62_135_596_800 * SECOND_US

_ISO = re.compile(
    r"\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?\s*$",
    re.ASCII,
)
_WHOLE_TIME = len("2020-09-03T12:38:24")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  a time without a zone is UTC
_NUMBER = re.compile(r"\s*-?\d{1,20}(?:\.\d{0,12})?\s*$", re.ASCII)


def now_us() -> int:
    """Return the present time."""
    return time.time_ns() // 1000


@lru_cache(maxsize=4096)
def _day_us(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - 719_163) * DAY_US


def parse_iso_us(text: str) -> int:
    """Read an ISO 8601 / RFC 3339 time; without a zone it is UTC. Fractions finer than 1 µs are cut off.

    Raises ValueError on anything else.
    """
    if len(text) >= _WHOLE_TIME and text[10] in "T ":
        try:
            read = datetime.fromisoformat(text)  # an eighth of the time that the expression below takes
            passed = read - (_EPOCH if read.tzinfo is not None else _NAIVE_EPOCH)
        except ValueError:
            pass
        else:
            return passed.days * DAY_US + passed.seconds * SECOND_US + passed.microseconds
    found = _ISO.match(text)
    if found is None:
        raise ValueError(f"not an ISO 8601 time: {text[:40]!r}")
    day, hours, minutes, seconds, fraction, zone = found.groups()
    ticks = _day_us(day)
    if hours is not None:
        hour, minute, second = int(hours), int(minutes), int(seconds or 0)
        if hour > 24 or minute > 59 or second > 60:
            raise ValueError(f"no such time of day: {text[:40]!r}")
        ticks += (hour * 3600 + minute * 60 + second) * SECOND_US
        if fraction:
            ticks += int(fraction[:6].ljust(6, "0"))
    if zone is not None and zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        offset_us = (int(digits[:2]) * 60 + int(digits[2:] or 0)) * 60 * SECOND_US
        ticks += offset_us if zone[0] == "-" else -offset_us
    return ticks


def seconds_to_us(seconds: float) -> int:
    """Turn Unix seconds into ticks. Exact for every double that was written with six decimals (FL-a06)."""
    if not 0 < seconds < _LARGEST_US / SECOND_US:
        raise ValueError(f"not a time since 1970: {seconds!r}")
    return round(seconds * SECOND_US)


def epoch_to_us(number: float) -> int:
    """Turn a number of seconds, milliseconds, microseconds or nanoseconds since 1970 into ticks, told apart by size."""
    if number < MILLISECONDS_FROM:
        return seconds_to_us(number)
    if number < _MICROSECONDS_FROM:
        return round(number * 1000)
    if number < _NANOSECONDS_FROM:
        return round(number)
    return seconds_to_us(number / 1e9)


def parse_us(value: object) -> int:
    """Read a time in whatever form a sender wrote it: ISO 8601 text, a number, or a number in quotes.

    Raises ValueError when it is none of these.
    """
    if isinstance(value, str):
        if value[4:5] != "-" and _NUMBER.match(value):
            return epoch_to_us(float(value))
        return parse_iso_us(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("not a time: not a finite number")
        return epoch_to_us(value)
    raise ValueError(f"not a time: {type(value).__name__}")


def is_plausible(ticks: int, received_us: int) -> bool:
    """Tell whether a device's clock can be believed: not before 2010, not more than a day ahead of the reception."""
    return EARLIEST_US <= ticks <= received_us + FUTURE_TOLERANCE_US


def format_us(ticks: int) -> str:
    """Print as RFC 3339 UTC with microseconds, e.g. `2020-09-03T12:38:24.374314Z`; years beyond 1 to 9999 as the nearest."""
    ticks = min(max(ticks, _SMALLEST_US), _LARGEST_US)
    days, rest = divmod(ticks, DAY_US)
    seconds, fraction = divmod(rest, SECOND_US)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.fromordinal(days + 719_163).isoformat()}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
