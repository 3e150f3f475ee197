"""flespi messages to readings. flespi's parameter names are the canonical ones, so they are kept literally (FL-a05)."""

from collections.abc import Iterable, Sequence
from typing import Any

from schemas.times import SECOND_US
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.values import as_object, json_items, number_or, put, time_or_zero

LATE_AFTER_US = 3600 * SECOND_US
"""Beyond it a message was buffered in the device, or its clock is wrong (FL-a18)."""
_FORBIDDEN_IN_IDENT = frozenset("#+/")
_REGISTRATION = frozenset(("device.id", "device.name", "device.type.id"))
"""All that differs between the copies of a stream subscribed to both a channel and a device (FL-a10)."""
_POSITION = {
    "position.latitude": "latitude",
    "position.longitude": "longitude",
    "position.altitude": "altitude_m",
    "position.speed": "speed_kmh",
    "position.direction": "course_deg",
    "position.accuracy": "accuracy_m",
    "position.hdop": "hdop",
    "position.pdop": "pdop",
}
_NAN = float("nan")


def ordering_key(_: Request) -> str:
    """Keep the order of the stream: it has one request in flight and carries many idents (FL-a04, FL-a19)."""
    return ""


def split(request: Request) -> Sequence[Any]:
    """Return the messages: the body is an array, or the `result` of flespi's REST API."""
    items = json_items(request)
    if len(items) == 1 and isinstance(items[0], dict) and isinstance(items[0].get("result"), list):
        result: list[Any] = items[0]["result"]
        return result
    return items


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one message. Raises Unreadable when it is no object or its ident is missing or impossible."""
    message = as_object(item)
    ident = _ident(message)
    reading = Reading(
        type="message",
        source_device=ident,
        identities=(Identity("external_id", ident), Identity("imei", ident), Identity("serial", ident)),
    )
    numbers = reading.numbers
    registered = False
    for key, value in message.items():
        kind = value.__class__
        field = _POSITION.get(key)
        if field is not None:
            if kind is float or kind is int:
                setattr(reading, field, value)
            else:
                _odd_position(reading, key, field, value)
        elif key not in _HANDLED:
            registered = registered or key in _REGISTRATION
            if kind is float or (kind is int and -_EXACT_INTEGER < value < _EXACT_INTEGER):
                numbers[key] = value
            else:
                put(reading, key, value)
    if registered:
        reading.content = {key: value for key, value in message.items() if key not in _REGISTRATION}
    get = message.get
    reading.sent_us = time_or_zero(get("timestamp"))
    reading.platform_us = time_or_zero(get("server.timestamp"))
    reading.fix_us = time_or_zero(get("position.timestamp"))
    reading.satellites = _satellites(reading, get("position.satellites"))
    valid = get("position.valid")
    if isinstance(valid, bool):
        reading.fix_valid = int(valid)
    if reading.sent_us and reading.platform_us - reading.sent_us > LATE_AFTER_US:
        reading.booleans["late.status"] = True
    return (reading,)


_HANDLED = frozenset(
    ("ident", "timestamp", "server.timestamp", "position.timestamp", "position.satellites", "position.valid")
)
_EXACT_INTEGER = 2**53


def _odd_position(reading: Reading, key: str, field: str, value: Any) -> None:
    """Read a number in quotes, and keep what is none under its own name."""
    number = number_or(value, _NAN)
    if number == number:
        setattr(reading, field, number)
    else:
        put(reading, f"flespi.{key}", value)


def _ident(message: dict[str, Any]) -> str:
    ident = message.get("ident")
    if ident.__class__ is int:
        ident = str(ident)
    if not isinstance(ident, str) or not ident:
        raise Unreadable("no_ident", "the message has no `ident`")
    if not ident.isprintable() or not _FORBIDDEN_IN_IDENT.isdisjoint(ident):
        raise Unreadable("bad_ident", "an ident never holds #, +, / or control characters")  # FL-a17
    return ident


def _satellites(reading: Reading, value: Any) -> int:
    number = number_or(value, -1)
    if 0 <= number <= 255:
        return int(number)
    if value is not None:
        put(reading, "flespi.position.satellites", value)
    return -1
