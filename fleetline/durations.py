"""How people write a length of time on the command line, and a moment in the past: `30m`, `24h`, `90d`, RFC 3339."""

import re
from typing import Any

import click

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse_duration_s(text: str) -> float:
    """Read `90d`, `24h`, `1h30m`, `45s` or `0` as seconds. Raises ValueError on anything else: a bare number has no unit."""
    plain = text.strip().lower()
    if plain == "0":
        return 0.0
    if not _WHOLE.fullmatch(plain):
        raise ValueError(f"{text!r} is no length of time; write 30m, 24h, 90d, 1h30m or 0")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))


class Duration(click.ParamType):
    """An option that takes a length of time; the command gets seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or end with exit status 2."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Since(click.ParamType):
    """An option that takes a moment in the past: RFC 3339, or a length of time before now; the command gets µs since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or end with exit status 2."""
        from schemas.times import now_us, parse_iso_us

        if isinstance(value, int):
            return value
        try:
            return now_us() - int(parse_duration_s(value) * 1e6)
        except ValueError:
            pass
        try:
            return parse_iso_us(value)
        except ValueError:
            self.fail(
                f"{value!r} is no moment: write 2026-03-01T08:00:00Z, 2026-03-01, or how long ago: 24h", param, ctx
            )
