"""flespi messages to readings. flespi's parameter names are the canonical ones, so they are kept literally (FL-a05)."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from schemas.records import NAN
from schemas.times import SECOND_US
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.flespi.batch import COPY, REGISTRATION, messages_in, named, without_copies
from sources.flespi.notation import indexed
from sources.flespi.options import options_of
from sources.values import as_object, number_or, parse_json, put, time_or_zero

LATE_AFTER_US = 3600 * SECOND_US
"""Beyond it a message was buffered in the device, or its clock is wrong (FL-a18)."""
_FORBIDDEN_IN_IDENT = frozenset("#+/")
_IMEI_INSIDE = re.compile(r"(?<!\d)\d{14,17}(?!\d)", re.ASCII)
_EXACT_INTEGER = 2**53
_WORTH_KEEPING = 100
"""Characters of an ident that is remembered; longer ones are no tracker's and would fill the memory."""
_INFINITE = float("inf")
_ANY = (-_INFINITE, _INFINITE)
_POSITION = {
    "position.latitude": ("latitude", *_ANY),
    "position.longitude": ("longitude", *_ANY),
    "position.altitude": ("altitude_m", *_ANY),
    "position.speed": ("speed_kmh", 0, _INFINITE),
    "position.direction": ("course_deg", 0, 360),
    "position.accuracy": ("accuracy_m", 0, _INFINITE),
    "position.hdop": ("hdop", 0, _INFINITE),
    "position.pdop": ("pdop", 0, _INFINITE),
}
"""Parameter -> column and the values that can be one; another stays as it was sent, under `flespi.<name>`."""
_HANDLED = frozenset(
    ("ident", "timestamp", "server.timestamp", "position.timestamp", "position.satellites", "position.valid")
)


def ordering_key(_: Request) -> str:
    """Keep the order of the stream: it has one request in flight and carries many idents (FL-a04, FL-a19)."""
    return ""


def split(request: Request) -> Sequence[Any]:
    """Return the messages in the order they stand; nothing for an empty body (FL-a15)."""
    body = request.body
    if not body or body.isspace():
        return []
    options = options_of(request)
    return without_copies(messages_in(parse_json(body), options), options)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one message. Raises Unreadable when it is no object or its ident is missing or impossible (FL-a20, FL-a17)."""
    if item is COPY:
        return ()
    options = options_of(request)
    message = named(as_object(item), options)
    ident = message.get("ident")
    if ident.__class__ is int:
        ident = str(ident)
    if not isinstance(ident, str) or not ident.strip():
        raise Unreadable("no_ident", "the message has no `ident`")
    sender = _sender if len(ident) <= _WORTH_KEEPING else _sender.__wrapped__
    device, identities = sender(ident, options.ident_prefix)
    reading = Reading(type="message", source_device=device, identities=identities)
    registration = _values(reading, message)
    if registration:
        reading.content = message.copy()
        for key in registration:
            del reading.content[key]
    elif message is not item:
        reading.content = message
    _times(reading, message)
    _fix(reading, message)
    return (reading,)


@lru_cache(maxsize=65_536)
def _sender(ident: str, prefix: str) -> tuple[str, tuple[Identity, ...]]:
    """Return who sent it and how to find the device. Raises Unreadable for an ident that flespi would not make.

    A prefix the stream's settings name is no part of the ident (FL-a09). Without them an IMEI inside is looked for too,
    after the ident as it is: an ident mask like `flespi-%ident%` then needs no setting.
    """
    if not ident.isprintable() or not _FORBIDDEN_IN_IDENT.isdisjoint(ident):
        raise Unreadable("bad_ident", "an ident never holds #, +, / or control characters")
    device = (ident.removeprefix(prefix) or ident) if prefix else ident
    found = [device, *_IMEI_INSIDE.findall(device)]
    candidates = dict.fromkeys(found if len(found) == 2 else found[:1])
    kinds = ("external_id", "imei", "serial")
    return device, tuple(Identity(kind, candidate) for candidate in candidates for kind in kinds)


def _values(reading: Reading, message: dict[str, Any]) -> list[str]:
    """Sort the parameters by their JSON type (FL-a07). Returns those of its registration to a device (FL-a10)."""
    numbers, booleans = reading.numbers, reading.booleans
    registration: list[str] = []
    for key, value in message.items():
        place = _POSITION.get(key)
        kind = value.__class__
        if place is not None:
            name, low, high = place
            if (kind is float or kind is int) and low <= value <= high:
                setattr(reading, name, value)
            else:
                _odd(reading, key, value)
        elif key not in _HANDLED:
            if key[:7] == REGISTRATION:
                registration.append(key)
            if "#" in key:
                key = indexed(key, message)  # noqa: PLW2901  FL-a16
            if kind is float or (kind is int and -_EXACT_INTEGER < value < _EXACT_INTEGER):
                numbers[key] = value
            elif kind is bool:
                booleans[key] = value
            else:
                put(reading, key, value)
    return registration


def _odd(reading: Reading, key: str, value: Any) -> None:
    """Read a number in quotes, and keep what cannot be one."""
    name, low, high = _POSITION[key]
    number = number_or(value, NAN)
    if low <= number <= high:
        setattr(reading, name, number)
    else:
        put(reading, f"flespi.{key}", value)


def _times(reading: Reading, message: dict[str, Any]) -> None:
    reading.sent_us = sent = _time(reading, message, "timestamp")
    reading.platform_us = platform = _time(reading, message, "server.timestamp")
    if "position.timestamp" in message:
        reading.fix_us = _time(reading, message, "position.timestamp")
    if not sent:
        if platform:  # nothing else tells a repetition from the next message without a time (FL-c08)
            reading.natural_key = f"server.timestamp|{platform}"
    elif platform - sent > LATE_AFTER_US:
        reading.booleans["late.status"] = True


def _time(reading: Reading, message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    ticks = time_or_zero(value)
    if not ticks and value:
        put(reading, f"flespi.{name}", value)
    return ticks


def _fix(reading: Reading, message: dict[str, Any]) -> None:
    satellites = message.get("position.satellites")
    if satellites is not None:
        number = number_or(satellites, -1)
        if 0 <= number <= 255:
            reading.satellites = int(number)
        else:
            put(reading, "flespi.position.satellites", satellites)
    valid = message.get("position.valid")
    if valid is True or valid is False:
        reading.fix_valid = int(valid)
    elif valid is not None:
        put(reading, "flespi.position.valid", valid)
    latitude, longitude = reading.latitude, reading.longitude
    if latitude == 0 and longitude == 0 and reading.fix_valid != 1:
        _as_sent(reading)  # what trackers send without a fix
        reading.fix_valid = 0
    elif not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        _as_sent(reading)


def _as_sent(reading: Reading) -> None:
    """Keep what is no position, half of one included, under its own names."""
    for name in ("latitude", "longitude"):
        value = getattr(reading, name)
        if value == value:
            put(reading, f"flespi.position.{name}", value)
            setattr(reading, name, NAN)
