"""Traccar forwarding to readings: its JSON model, or the query a forward URL's placeholders were filled into."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sources.contract import Reading, Request
from sources.errors import Unreadable
from sources.traccar.gprmc import read_sentence
from sources.traccar_model import device_key, identify, is_local_id, model_items, read_model
from sources.traccar_position import add_position, name_position
from sources.values import put

SECRET_QUERY = "token"  # noqa: S105  the parameter's name
_FORM = "application/x-www-form-urlencoded"
_UNIQUE = ("uniqueId", "uniqueid", "unique_id", "id", "deviceid", "device_id", "imei", "dev")
_POSITION: Mapping[str, str] = {
    "lat": "latitude",
    "latitude": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "long": "longitude",
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
    "servertime": "serverTime",
    "valid": "valid",
    "protocol": "protocol",
    "address": "address",
}
"""Names people give the placeholders, OsmAnd's own among them, and what they are in Traccar's model."""
_ATTRIBUTES: Mapping[str, str] = {"batt": "batteryLevel"}
_STATUS_CODES = ("statusCode", "statuscode", "code")
_PANIC = "0xF841"
"""What Traccar writes for `{statusCode}` when the position carries an alarm, whichever it is."""
_DEVICE_STATES = frozenset(("online", "offline", "unknown"))
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
_LITERAL = frozenset(("driverUniqueId", "vin", "iccid", "imei", "protocol", "address", *_STATUS_CODES))
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
    unique = next((values.pop(name) for name in _UNIQUE if values.get(name)), "")
    local_id, name = values.pop("deviceId", ""), values.pop("name", "")
    state = values.pop("status") if values.get("status") in _DEVICE_STATES else ""
    reading = Reading(type="position", content=dict(values))
    position, attributes = _sorted(values)
    if not position and not attributes:
        raise Unreadable("unknown_shape", "the query holds no position")
    position["attributes"] = attributes
    add_position("traccar", reading, position)
    name_position(reading, position)
    if name:
        reading.texts["device.name"] = name
    if state:
        put(reading, "traccar.device.status", state)
    if _PANIC in (attributes.get(code) for code in _STATUS_CODES):
        reading.booleans["alarm.event"] = True
    if not is_local_id(local_id):
        unique, local_id = unique or local_id, ""
    identify("traccar", reading, unique, local_id, request)
    return reading


def _sorted(values: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a query's position from its attributes. What stands alone comes before what a sentence repeats."""
    position: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    sentence: Mapping[str, Any] | None = None
    for key, value in values.items():
        if key == "location":
            position["latitude"], _, position["longitude"] = value.partition(",")
        elif key == "attributes":
            attributes |= _embedded(value)
        elif key == "gprmc" and (found := read_sentence(value)) is not None:
            sentence = found
        elif key in _POSITION:
            position.setdefault(_POSITION[key], _typed(key, value))
        else:
            attributes[_ATTRIBUTES.get(key, key)] = _typed(key, value)
    return {**(sentence or {}), **position}, attributes


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
