"""Parameter names as flespi's catalogue has them, whatever notation the stream was set to (FL-a13, FL-a16).

`position.speed` may come as `PositionSpeed`, `positionSpeed` or `position_speed`. flespi's own names have neither
capitals nor underscores, so the way back needs no list; a name of the sender's own that has underscores comes back with dots.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from schemas.vocabulary import BY_NAME

_ALWAYS_THERE = """
    channel.id device.id device.name device.type.id protocol.id server.timestamp position.altitude position.direction
    position.hdop position.latitude position.longitude position.pdop position.satellites position.speed position.timestamp
    position.valid
"""
_TAG = re.compile(r"(?=[A-Z])|(?<=\D)(?=\d+$)")
"""A tag begins at a capital; a number at the end is one of its own (`AdcVoltage1` is `adc.voltage.1`)."""
_DEEPEST = 16
"""Levels of nesting that become a name; what is deeper stays one value, as JSON."""
_WORTH_KEEPING = 100
"""Characters of a name that is remembered; no parameter has a longer one."""


def _aliases() -> dict[str, str]:
    """Work out every known name in the other notations: what tells a notation, and what keeps `Co2` from being `co.2`."""
    made = {"Ident": "ident", "Timestamp": "timestamp"}
    for name in (*BY_NAME, *_ALWAYS_THERE.split()):
        tags = name.removesuffix(".N").split(".")
        pascal = "".join(tag.capitalize() for tag in tags)
        camel, snake = pascal[0].lower() + pascal[1:], "_".join(tags)
        made[pascal] = made[camel] = made[snake] = ".".join(tags)
    return made


_ALIASES = _aliases()
_TELLING = frozenset(alias for alias, name in _ALIASES.items() if alias != name)


def dotted(message: dict[str, Any], notation: str) -> dict[str, Any]:
    """Return the message with dotted names; the very same one when it has them already.

    Recognised by its keys if `notation` is empty: none has a dot and one at least is known in another notation. Of two
    keys that mean the same the first by alphabet counts, and the other stays under `flespi.<key>`.
    """
    if notation == "dots":
        return message
    if not notation:
        for key in message:
            if "." in key:
                return message
        if _TELLING.isdisjoint(message):
            return message
    made = {_dotted(key): value for key, value in message.items()}
    return made if len(made) == len(message) else _without_loss({key: _dotted(key) for key in message}, message)


def renamed(message: dict[str, Any], pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return the message with fields renamed as the stream's settings say; what would overwrite another stays beside it."""
    wanted = dict(pairs)
    names = {key: wanted.get(key, key) for key in message}
    return _without_loss(names, message)


def flattened(message: dict[str, Any]) -> dict[str, Any]:
    """Join the names of nested objects with dots: `{"position": {"speed": 5}}` says what `position.speed` says.

    A key that stands in the message by its whole name counts; what is nested then stays under `flespi.<name>`.
    """
    made: dict[str, Any] = {}
    nested: list[tuple[str, Any]] = []
    for key, value in message.items():
        if value.__class__ is dict and value:
            nested.extend(_members(key, value, _DEEPEST))
        else:
            made[key] = value
    for name, value in sorted(nested, key=_by_name_and_value):  # whatever the order of keys was
        while name in made:
            name = f"flespi.{name}"  # noqa: PLW2901
        made[name] = value
    return made


def _by_name_and_value(member: tuple[str, Any]) -> tuple[str, bytes]:
    return member[0], orjson.dumps(member[1], option=orjson.OPT_SORT_KEYS)


def _members(name: str, values: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if value.__class__ is dict and value and depth:
            yield from _members(f"{name}.{key}", value, depth - 1)
        else:
            yield f"{name}.{key}", value


def indexed(key: str, message: Mapping[str, Any]) -> str:
    """Return the name of an indexed parameter: `adc.voltage#1` and `adc.voltage.1` are the same member of one family."""
    stem, _, number = key.rpartition("#")
    if not stem or not (number.isascii() and number.isdecimal()):
        return key
    name = f"{stem}.{number}"
    return f"flespi.{key}" if name in message else name


def _dotted(key: str) -> str:
    return _remembered(key) if len(key) <= _WORTH_KEEPING else _worked_out(key)


def _worked_out(key: str) -> str:
    known = _ALIASES.get(key)
    if known is not None:
        return known
    if "_" in key:
        return key.replace("_", ".").lower()
    return ".".join(filter(None, _TAG.split(key))).lower()


_remembered = lru_cache(maxsize=16_384)(_worked_out)


def _without_loss(names: Mapping[str, str], message: dict[str, Any]) -> dict[str, Any]:
    """Rename; a key that already has the name, else the first by alphabet, gets it."""
    made: dict[str, Any] = {}
    for key in sorted(message, key=lambda each: (each != names[each], each)):
        name = names[key]
        made[f"flespi.{key}" if name in made else name] = message[key]
    return made
