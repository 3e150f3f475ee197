"""Sensors on an SDI-12 bus: FType 4 names one, the FType 5 behind it are its measurements, in thousandths."""

from collections.abc import Sequence
from typing import Any

from schemas.units import THOUSANDTHS_PER_ONE, divided
from sources.contract import Reading
from sources.digital_matter.keep import PREFIX, keep_value, number_of

DEVICE, MEASUREMENTS = 4, 5
_PRINTABLE = range(0x21, 0x7F)


def add_sensors(reading: Reading, fields: Sequence[dict[str, Any]]) -> None:
    """Add measurements as `digital_matter.sdi12.<address>.M<type>.<n>`, from 1; the fields themselves are kept too.

    One receiver is the evidence for the factor. Measurements ahead of every sensor belong to the only one there is, else to
    none.
    """
    addresses = [_address(field) for field in fields if _kind(field) == DEVICE]
    current = addresses[0] if len(addresses) == 1 else ""
    for field in fields:
        if _kind(field) == DEVICE:
            current = _address(field)
            name = field.get("DevId")
            if isinstance(name, str) and name:
                reading.texts.setdefault(f"{PREFIX}sdi12.{current}device", name)
        else:
            _measurements(reading, f"{PREFIX}sdi12.{current}M{field.get('MType', '')}.", field.get("Ms"))
        for name, value in field.items():
            if name != "FType":
                keep_value(reading, name, value)


def _measurements(reading: Reading, prefix: str, values: Any) -> None:
    if isinstance(values, list):
        for place, value in enumerate(values, 1):
            number = divided(value if value.__class__ is int else number_of(value), THOUSANDTHS_PER_ONE)
            if number == number:
                reading.numbers.setdefault(f"{prefix}{place}", number)


def _kind(field: dict[str, Any]) -> int:
    return int(field["FType"])


def _address(field: dict[str, Any]) -> str:
    """Return `<address>.`: the address is sent as the code of its character, 48 for `0`."""
    code = field.get("DevAddr")
    if isinstance(code, int) and code in _PRINTABLE:
        return f"{chr(code)}."
    return f"{code}." if isinstance(code, (str, int)) and code != "" else ""
