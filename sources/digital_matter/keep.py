"""Keeping what has no canonical name, and reading numbers that have one."""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import scaled
from sources.contract import Reading
from sources.values import number_or, put

PREFIX = "digital_matter."


def converted(value: Any, factor: float = 1.0) -> float:
    """Return a number in the vocabulary's unit, NaN when the value is none."""
    number = number_or(value, NAN)
    if factor != 1.0:
        number = scaled(number, factor)
    return float(number) if abs(number) < float("inf") else NAN


def place(reading: Reading, name: str, factor: float, value: Any) -> bool:
    """Set a canonical number. False: the value is none, or the name is taken already."""
    number = converted(value, factor)
    if number != number or name in reading.numbers:
        return False
    reading.numbers[name] = number
    return True


def keep(reading: Reading, values: Mapping[str, Any]) -> None:
    """Keep values under their own names.

    A second field of the same kind gets `.2` behind each of its names, and so on: nothing is overwritten, and what
    came together stays together.
    """
    pairs = list(_flat("", values))
    turn = ""
    count = 1
    while any(_taken(reading, f"{PREFIX}{name}{turn}") for name, _ in pairs):
        count += 1
        turn = f".{count}"
    for name, value in pairs:
        put(reading, f"{PREFIX}{name}{turn}", value)


def _taken(reading: Reading, name: str) -> bool:
    return name in reading.numbers or name in reading.texts or name in reading.booleans


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        elif value is not None and value not in ("", []):
            yield prefix + str(key), value
