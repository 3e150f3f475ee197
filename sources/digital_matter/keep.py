"""Keeping what has no canonical name, and reading numbers that have one."""

from collections.abc import Collection, Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import scaled
from sources.contract import Reading
from sources.values import number_or, put

PREFIX = "digital_matter."
_INFINITY = float("inf")
_NOTHING: Collection[str] = ()


def converted(value: Any, factor: float = 1.0) -> float:
    """Return a number in the vocabulary's unit, NaN when the value is none."""
    if value is None:
        return NAN
    number = value if value.__class__ is int or value.__class__ is float else number_or(value, NAN)
    if factor != 1.0:
        number = scaled(number, factor)
    return float(number) if -_INFINITY < number < _INFINITY else NAN


def place(reading: Reading, name: str, factor: float, value: Any) -> bool:
    """Set a canonical number. False: the value is none, or the name is taken already."""
    number = converted(value, factor)
    if number != number or name in reading.numbers:
        return False
    reading.numbers[name] = number
    return True


def keep(reading: Reading, values: Mapping[str, Any], skip: Collection[str] = _NOTHING) -> None:
    """Keep values under their own names, except `skip`. Null and empty values say nothing.

    A second field of the same kind gets `.2` behind each of its names, and so on: nothing is overwritten, and what
    came together stays together.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in skip or value is None:
            continue
        if value.__class__ is dict:
            _flatten(flat, f"{PREFIX}{key}.", value)
        elif value not in ("", []):
            flat[PREFIX + key] = value
    count = 1
    named = flat
    while not _are_free(reading, named):
        count += 1
        named = {f"{name}.{count}": value for name, value in flat.items()}
    for name, value in named.items():
        if value.__class__ is str:
            reading.texts[name] = value
        else:
            put(reading, name, value)


def _are_free(reading: Reading, names: Mapping[str, Any]) -> bool:
    return (
        reading.numbers.keys().isdisjoint(names)
        and reading.texts.keys().isdisjoint(names)
        and reading.booleans.keys().isdisjoint(names)
    )


def _flatten(flat: dict[str, Any], prefix: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if value.__class__ is dict:
            _flatten(flat, f"{prefix}{key}.", value)
        elif value is not None and value not in ("", []):
            flat[prefix + key] = value
