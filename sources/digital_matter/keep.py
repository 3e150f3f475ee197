"""Keeping what has no canonical name, and reading numbers that have one."""

from collections.abc import Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import divided
from sources.contract import Reading
from sources.digital_matter.tables import Scale
from sources.values import number_or, put

PREFIX = "digital_matter."
UNSETTLED = PREFIX + "units.unsettled"
_INFINITY = float("inf")
_EXACT_INTEGER = 2**53


def number_of(value: Any) -> float:
    """Return a number as it was sent, NaN when the value is none."""
    if value.__class__ is int:
        return float(value)
    if value is None:
        return NAN
    return float(number_or(value, NAN))


def place(reading: Reading, scale: Scale, value: Any) -> bool:
    """Set a canonical number. False: the value is none or cannot be one, or the name is taken already."""
    name, divisor, low, high = scale
    number = divided(value if value.__class__ is int else number_of(value), divisor)
    if not low <= number <= high or name in reading.numbers:
        return False
    reading.numbers[name] = number
    return True


def keep_value(reading: Reading, name: str, value: Any) -> None:
    """Keep one value under its own name, or the first of `name.2`, `name.3`, … that is free."""
    key = PREFIX + name
    kind = value.__class__
    if kind is int:
        if key not in reading.numbers and -_EXACT_INTEGER <= value <= _EXACT_INTEGER:
            reading.numbers[key] = value
            return
    elif kind is float:
        if key not in reading.numbers and -_INFINITY < value < _INFINITY:
            reading.numbers[key] = value
            return
    elif kind is str:
        if value and key not in reading.texts:
            reading.texts[key] = value
            return
    elif value is None:
        return
    keep(reading, {name: value})


def keep(reading: Reading, values: Mapping[str, Any]) -> None:
    """Keep values under their own names. Null and empty values say nothing.

    A second field of the same kind gets `.2` behind each of its names, and so on: nothing is overwritten, and what
    came together stays together.
    """
    flat: dict[str, Any] = {}
    _flatten(flat, PREFIX, values)
    count = 1
    named = flat
    while not _are_free(reading, named):
        count += 1
        named = {f"{name}.{count}": value for name, value in flat.items()}
    for name, value in named.items():
        put(reading, name, value)


def keep_others(reading: Reading, values: Mapping[str, Any], known: frozenset[str]) -> None:
    """Keep every member but the known ones."""
    keep(reading, {name: value for name, value in values.items() if name not in known})


def unsettled(reading: Reading, name: str) -> None:
    """Note that nobody says for certain which unit or meaning a value has; its raw number is kept under that name."""
    known = reading.texts.get(UNSETTLED)
    reading.texts[UNSETTLED] = f"{known},{name}" if known else name


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
