"""What a device's decoder made of its frame, to readings; both networks run the same published decoders."""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.times import MILLISECONDS_FROM
from schemas.units import PA_PER_HPA, divided
from sources.common_names import place
from sources.contract import Reading
from sources.values import number_or

_US_PER_MS = 1000
_DEEPEST_LIST = 3
_PRESSURE = "4101"
_SENSECAP = {
    "3000": "battery.level",
    "4097": "temperature",
    "4098": "humidity",
    "4099": "illuminance",
    "4100": "co2",
    _PRESSURE: "air.pressure",
    "4197": "longitude",
    "4198": "latitude",
}
"""SenseCAP's published measurement ids: % , °C, %RH, lx, ppm, Pa, degrees."""


def place_decoded(reading: Reading, source: str, decoded: Mapping[str, Any]) -> None:
    """Put decoded values where they belong, like `sources.common_names.place`.

    SenseCAP's decoders give a list instead, `messages: [{measurementId, measurementValue, timestamp}]`, for trackers one
    such list per group: the newest of every known measurement counts too, and the list is kept whole.
    """
    place(reading, source, decoded)
    messages = decoded.get("messages")
    if messages.__class__ is list:
        _measurements(reading, source, messages)


def _measurements(reading: Reading, source: str, messages: list[Any]) -> None:
    found: dict[str, Any] = {}
    newest = 0.0
    for entry in sorted(_entries(messages), key=_timestamp, reverse=True):
        number = str(entry.get("measurementId"))
        name, value = _SENSECAP.get(number), entry.get("measurementValue")
        if name is None or name in found or value.__class__ not in {int, float}:
            continue
        found[name] = divided(value, PA_PER_HPA) if number == _PRESSURE else value
        if name == "latitude":
            newest = _timestamp(entry)
    had = reading.latitude == reading.latitude
    place(reading, source, found)
    if newest > MILLISECONDS_FROM and not had and reading.latitude == reading.latitude and not reading.fix_us:
        reading.fix_us = int(newest) * _US_PER_MS


def _entries(messages: list[Any], depth: int = 1) -> Iterator[Mapping[str, Any]]:
    for each in messages:
        if each.__class__ is dict and "measurementId" in each:
            yield each
        elif each.__class__ is list and depth < _DEEPEST_LIST:
            yield from _entries(each, depth + 1)


def _timestamp(entry: Mapping[str, Any]) -> float:
    return number_or(entry.get("timestamp"), 0)
