"""Traccar forwarding to readings: its JSON model, or the query a forward URL's placeholders were filled into."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sources.contract import Reading, Request
from sources.errors import Unreadable
from sources.traccar_model import (
    add_attributes,
    add_position,
    device_key,
    identify,
    model_items,
    name_position,
    read_model,
)

SECRET_QUERY = "token"  # noqa: S105  the parameter's name
_FORM = "application/x-www-form-urlencoded"
_UNIQUE = ("id", "uniqueId", "deviceid", "device_id", "imei")
_POSITION: Mapping[str, str] = {
    "lat": "latitude",
    "latitude": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "longitude": "longitude",
    "altitude": "altitude",
    "alt": "altitude",
    "speed": "speed",
    "bearing": "course",
    "heading": "course",
    "course": "course",
    "accuracy": "accuracy",
    "timestamp": "fixTime",
    "time": "fixTime",
    "fixTime": "fixTime",
    "fixtime": "fixTime",
    "deviceTime": "deviceTime",
    "devicetime": "deviceTime",
    "serverTime": "serverTime",
    "valid": "valid",
    "protocol": "protocol",
    "address": "address",
}
"""Names people give the placeholders, OsmAnd's own among them, and what they are in Traccar's model."""
_ATTRIBUTES: Mapping[str, str] = {"batt": "batteryLevel"}
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
_LITERAL = frozenset(("driverUniqueId", "vin", "iccid", "protocol", "address"))
_SWITCHES = frozenset(("valid", "charge", "ignition", "motion", "blocked"))


class _Query(dict[str, str]):
    """An item that came as a query: the same names can mean something else in JSON."""


def split(request: Request) -> Sequence[Any]:
    """Return the items of a JSON body, or the query as one item when there is no body. A bare GET has none."""
    if request.body.strip():
        if request.content_type.lower().startswith(_FORM):
            return [_Query(parse_qsl(request.body.decode("utf-8", "replace")))]
        return model_items(request)
    said = _said(request.query)
    return [_Query(said)] if said else []


def ordering_key(request: Request) -> str:
    """Keep the order of one device, as far as Traccar keeps it: forwards are sent without waiting for each other."""
    if request.body:
        return device_key(request)
    return next((value for name in _UNIQUE if (value := request.query.get(name))), "")


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one forwarded position or event."""
    if isinstance(item, _Query):
        return (_from_query(item, request),)
    return (read_model("traccar", item, request),)


def _said(values: Mapping[str, str]) -> dict[str, str]:
    """Leave out what says nothing: Traccar writes `null` for a missing value and leaves `{address}` as it stands."""
    return {
        name: value
        for name, value in values.items()
        if value and value != "null" and not (value[0] == "{" and value[-1] == "}" and value[1:-1].isalpha())
        if name != SECRET_QUERY
    }


def _from_query(item: _Query, request: Request) -> Reading:
    values = _said(item)
    position: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    unique = next((values.pop(name) for name in _UNIQUE if values.get(name)), "")
    local_id, name = values.pop("deviceId", ""), values.pop("name", "")
    for key, value in values.items():
        if key == "location":
            position["latitude"], _, position["longitude"] = value.partition(",")
        elif key == "attributes":
            attributes |= _embedded(value)
        elif key in _POSITION:
            position.setdefault(_POSITION[key], _typed(key, value))
        else:
            attributes[_ATTRIBUTES.get(key, key)] = _typed(key, value)
    if not position and not attributes:
        raise Unreadable("unknown_shape", "the query holds no position")
    reading = Reading(type="position", content=dict(values))
    add_position("traccar", reading, position)
    add_attributes("traccar", reading, attributes)
    name_position(reading, position)
    if name:
        reading.texts["device.name"] = name
    local = int(local_id) if local_id.isascii() and local_id.isdecimal() and len(local_id) < 16 else None
    identify("traccar", reading, unique or (local_id if local is None else ""), local, request)
    return reading


def _typed(name: str, value: str) -> Any:
    """Give a value of a query its type back: switches by their word, numbers by their look."""
    if name in _SWITCHES:
        return _BOOLEANS.get(value.lower(), value)
    if name in _LITERAL:
        return value
    try:
        return orjson.loads(value) if value[0] in "-0123456789" else value
    except orjson.JSONDecodeError:
        return value


def _embedded(value: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"attributes": value}
    return parsed if isinstance(parsed, dict) else {"attributes": value}
