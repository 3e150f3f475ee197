"""What ChirpStack and The Things Stack share: DevEUIs, clocks, radio metadata and the names of network events."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from schemas.times import EARLIEST_US, SECOND_US, format_us
from sources.contract import Identity, Reading
from sources.errors import Unreadable
from sources.values import number_or, put, time_or_zero

_NAN = float("nan")
_EUI_HEX = 16
_HEX = frozenset("0123456789abcdef")
_EXACT_INTEGER = 2**53
_DEEPEST = 40
"""Nothing a LoRaWAN frame can say is nested deeper; without a limit a few hundred bytes exhaust the stack."""
CLOCK_TOLERANCE_US = 300 * SECOND_US
"""A gateway's clock further than this from every server's is wrong: LoRaWAN networks forward at once."""

JOIN = "lorawan.join"
ACK = "lorawan.ack"
NACK = "lorawan.nack"
TX_ACK = "lorawan.txack"
LOG = "lorawan.log"

ELSEWHERE = ""
"""In a table for `spread`: this key is read by other code."""


def eui(value: Any) -> str:
    """Bring a DevEUI into one spelling: 16 lower-case hex digits (AC-a32); empty text when it is none.

    ChirpStack v3's protobuf JSON has it in base64, the others in hex of either case, with or without separators.
    """
    return _eui(value) if value.__class__ is str and len(value) <= 2 * _EUI_HEX else ""


@lru_cache(maxsize=65_536)
def _eui(value: str) -> str:
    plain = value.replace("-", "").replace(":", "").replace(" ", "").lower()
    if len(plain) == _EUI_HEX and _HEX.issuperset(plain):
        return plain
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == _EUI_HEX // 2 else ""


@lru_cache(maxsize=65_536)
def by_dev_eui(dev_eui: str) -> tuple[Identity, ...]:
    """Return the one way to find a device of which only the DevEUI is known (AC-a30, AC-a32)."""
    return (Identity("dev_eui", dev_eui),)


def real_time(value: Any) -> int:
    """Read a time; 0 when there is none, as also for the year 1 of messages that were only simulated."""
    if value is None:
        return 0
    ticks = time_or_zero(value)
    return ticks if ticks > 0 else 0  # noqa: FURB136  a call of max() costs more than all the rest


def spread(reading: Reading, prefix: str, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Sort an object's members: numbers with a canonical name in `names`, the rest under `prefix` + its own name.

    Numbers in quotes are read (The Things Stack's frequency); what is no number stays as it was sent.
    """
    numbers, texts = reading.numbers, reading.texts
    known = names.get
    for key, value in values.items():
        name = known(key)
        kind = value.__class__
        if name is None:
            if kind is str:
                if value:
                    texts[prefix + key] = value
            elif kind is bool:
                reading.booleans[prefix + key] = value
            elif value is not None:
                keep(reading, prefix + key, value)
        elif name:
            if kind is int or kind is float:
                numbers[name] = value
            elif value is not None:
                _odd_number(reading, name, prefix + key, value)


def _odd_number(reading: Reading, name: str, raw: str, value: Any) -> None:
    """Read a number in quotes. What is none is no zero either: it takes the place of the zero that absence means."""
    number = number_or(value, _NAN)
    if number == number:
        reading.numbers[name] = number
    else:
        reading.numbers.pop(name, None)
        keep(reading, raw, value)


def keep(reading: Reading, name: str, value: Any, depth: int = 0) -> None:
    """Keep what nobody understood: objects member by member, names joined with dots, lists as JSON text.

    null and what is empty say nothing. Raises Unreadable("nested_too_deep").
    """
    kind = value.__class__
    if kind is str:
        if value:
            reading.texts[name] = value
    elif kind is dict:
        if depth > _DEEPEST:
            raise Unreadable("nested_too_deep", name[:100])
        for key, inner in value.items():
            keep(reading, f"{name}.{key}", inner, depth + 1)
    elif kind is list:
        if value:
            reading.texts[name] = as_text(value)
    elif value is not None:
        put(reading, name, value)


def as_text(value: Any) -> str:
    """Print nested data as JSON, whatever the order of its keys the same way. Raises Unreadable("nested_too_deep")."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise Unreadable("nested_too_deep", str(error)[:100]) from None


def plain(value: Any, depth: int = 0) -> Any:
    """Bring decoded data into one spelling: `21.0` is `21`, as protobuf's structs know doubles only.

    Returns the same object where there is nothing to change. Raises Unreadable("nested_too_deep").
    """
    kind = value.__class__
    if kind is float:
        return int(value) if value.is_integer() and -_EXACT_INTEGER <= value <= _EXACT_INTEGER else value
    if kind is not dict and kind is not list:
        return value
    if depth > _DEEPEST:
        raise Unreadable("nested_too_deep", "decoded payload")
    changes = {}
    for key, inner in value.items() if kind is dict else enumerate(value):
        of = inner.__class__
        if of is float:
            if inner.is_integer() and -_EXACT_INTEGER <= inner <= _EXACT_INTEGER:
                changes[key] = int(inner)
        elif of is dict or of is list:
            made = plain(inner, depth + 1)
            if made is not inner:
                changes[key] = made
    if not changes:
        return value
    return value | changes if kind is dict else [changes.get(at, inner) for at, inner in enumerate(value)]


def said(value: Any, depth: int = 0) -> Any:
    """Leave out what protobuf would not send: zero, false and empty are the same as absent, at every level.

    Raises Unreadable("nested_too_deep").
    """
    kind = value.__class__
    if kind is not dict and kind is not list:
        return plain(value)
    if depth > _DEEPEST:
        raise Unreadable("nested_too_deep", "event")
    if kind is list:
        return [said(inner, depth + 1) for inner in value]
    left = {}
    for key, inner in value.items():
        if inner:
            of = inner.__class__
            made = said(inner, depth + 1) if of is dict or of is list or of is float else inner
            if made:
                left[key] = made
    return left


def attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    """Make an event's attributes: what is said, in the same order whatever that of the keys."""
    ordered: dict[str, Any] = orjson.loads(as_text(said(told)))
    return ordered


def best_gateway(receptions: Any) -> Mapping[str, Any]:
    """Return the reception of the gateway that heard the uplink best; a reception without an RSSI comes last."""
    if receptions.__class__ is not list:
        return {}
    heard = [each for each in receptions if each.__class__ is dict]
    if len(heard) == 1:
        found: Mapping[str, Any] = heard[0]
        return found
    return max(heard, key=_rssi, default={})


def _rssi(reception: Mapping[str, Any]) -> float:
    rssi = reception.get("rssi")
    return (rssi if rssi.__class__ is int else number_or(rssi, 0)) or -_EXACT_INTEGER


def set_times(reading: Reading, heard_us: int, clocks: Iterable[Any]) -> None:
    """Set the times of an uplink: when a gateway heard it, and the clocks of the servers behind it, the best first.

    A gateway's clock may be days off. Where no other clock confirms it, the best of these counts and what the gateway
    said is kept as `timestamp.sent`. One confirmation is enough: gateways that buffer deliver late, with their own
    computer's clock beside the radio's.
    """
    disputed = False
    for clock in clocks:
        ticks = real_time(clock)
        if ticks < EARLIEST_US:
            continue
        reading.platform_us = reading.platform_us or ticks
        disputed = abs(heard_us - ticks) > CLOCK_TOLERANCE_US
        if not heard_us or not disputed:
            break
    if heard_us and disputed:
        reading.texts["timestamp.sent"] = format_us(heard_us)
    else:
        reading.sent_us = heard_us


_LOCATED = {"latitude": ELSEWHERE, "longitude": ELSEWHERE, "altitude": ELSEWHERE, "accuracy": ELSEWHERE}


def location(reading: Reading, prefix: str, place: Any) -> bool:
    """Take the device's position out of an object; False when it holds none, and then all of it is kept as it is.

    An absent coordinate is 0, an empty object is no position, nor is 0/0, which is what a receiver without a fix says, and
    an accuracy of 0 is unknown.
    """
    found = position(place)
    if found is None:
        keep(reading, prefix, place)
        return False
    reading.latitude, reading.longitude = found
    altitude, accuracy = place.get("altitude"), place.get("accuracy")
    if altitude is not None:
        reading.altitude_m = number_or(altitude, _NAN)
        if reading.altitude_m != reading.altitude_m:
            keep(reading, f"{prefix}.altitude", altitude)
    if accuracy is not None:
        number = number_or(accuracy, _NAN)
        if number > 0:
            reading.accuracy_m = number
        elif number != 0:
            keep(reading, f"{prefix}.accuracy", accuracy)
    spread(reading, f"{prefix}.", place, _LOCATED)
    return True


def position(place: Any) -> tuple[float, float] | None:
    """Read latitude and longitude of a location; None when it states none."""
    if place.__class__ is not dict:
        return None
    latitude, longitude = place.get("latitude"), place.get("longitude")
    if latitude is None and longitude is None:
        return None
    latitude = 0 if latitude is None else latitude if latitude.__class__ is float else number_or(latitude, _NAN)
    longitude = 0 if longitude is None else longitude if longitude.__class__ is float else number_or(longitude, _NAN)
    if latitude != latitude or longitude != longitude:
        return None
    if latitude == 0 and longitude == 0:
        return None
    return latitude, longitude
