"""Traccar's JSON model to readings: positions and events as any Traccar server forwards, pushes or lists them.

Shared by `biketrax` (PowUnity runs on Traccar) and `traccar`. `sources.traccar_position` reads the positions.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.peek import peek
from sources.traccar_position import (
    NOTHING,
    add_alarms,
    add_position,
    attributes_of,
    keep,
    name_position,
    places_of,
    spread,
)
from sources.values import as_object, json_items, put, time_or_zero

_FRAME = ("positions", "events", "devices")
_FRAME_STARTS = tuple(b'{"%s"' % name.encode() for name in (*_FRAME, "logs"))
_EVENT_READ = frozenset(
    ("id", "type", "deviceId", "eventTime", "serverTime", "attributes", "geofenceId", "maintenanceId", "positionId")
)
_DEVICE_READ = frozenset(("id", "uniqueId"))
_DEVICE_IDS = frozenset(("groupId", "calendarId", "positionId"))
"""0 means none."""
_DEVICE_SECRETS = frozenset(("devicePassword",))
"""Attributes of a device that Traccar keeps to talk to it: nobody who reads records needs them."""
_PARTS = frozenset(("event", "position", "device", "geofence", "maintenance"))
_LONGEST_LOCAL_ID = 12
"""Digits a server's own number for a device can have; more are an IMEI or a serial."""


def device_key(request: Request) -> str:
    """Keep the order of one device. A frame of the WebSocket mixes devices: there the connection's order is kept."""
    start = request.body[:64].translate(None, b" \t\r\n")
    return "" if start.startswith(_FRAME_STARTS) else peek(request.body, b'"uniqueId"')


def model_items(request: Request) -> Sequence[Any]:
    """Split a body into items `{"event"|"position": …, "device": …}`.

    A webhook is one item; a WebSocket frame is its positions and events, each with its device when the frame names it
    (BT-a18); a REST list is its elements. The keep-alive `{}` is nothing.
    """
    items: list[Any] = []
    for each in json_items(request):
        if isinstance(each, dict) and _PARTS.isdisjoint(each):
            items.extend(_frame_items(each))
        else:
            items.append(each)
    return items


def _frame_items(frame: dict[str, Any]) -> list[Any]:
    if not frame:
        return []
    if not any(isinstance(frame.get(name), list) for name in (*_FRAME, "logs")):
        return [_bare_item(frame)]
    devices = {
        device["id"]: device
        for device in _list(frame, "devices")
        if isinstance(device, dict) and isinstance(device.get("id"), int)
    }
    items = []
    for name, part in (("positions", "position"), ("events", "event")):
        for each in _list(frame, name):
            device_id = each.get("deviceId") if isinstance(each, dict) else None
            device = devices.get(device_id) if isinstance(device_id, int) else None
            items.append({part: each} if device is None else {part: each, "device": device})
    return items


def _list(frame: dict[str, Any], name: str) -> list[Any]:
    value = frame.get(name)
    return value if isinstance(value, list) else []


def _bare_item(each: dict[str, Any]) -> dict[str, Any]:
    """Wrap an element of a REST list. Anything else stays what it is, and is found unreadable there."""
    if "latitude" in each or "fixTime" in each:
        return {"position": each}
    if "type" in each and "deviceId" in each:
        return {"event": each}
    return each


def read_model(source: str, item: Any, request: Request) -> Reading:
    """Read one item. Raises Unreadable: not an object, neither event nor position, no type, no device."""
    parts = as_object(item)
    event, position = parts.get("event"), parts.get("position")
    if event is not None:
        event = _part(event, "event")
        reading = _event(source, event, position, parts)
        local_id = event.get("deviceId")
        if local_id is None and isinstance(position, dict):
            local_id = position.get("deviceId")
    elif position is not None:
        position = _part(position, "position")
        reading = Reading(type="position")
        reading.content = add_position(source, reading, position)
        name_position(reading, position)
        local_id = position.get("deviceId")
    else:
        raise Unreadable("unknown_shape", "the object holds neither an `event` nor a `position`")
    _identify(source, reading, parts.get("device"), local_id, request)
    if not parts.keys() <= _PARTS:
        for name, part in parts.items():
            if name not in _PARTS:
                keep(source, reading, name, part)
    return reading


def _part(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("not_an_object", f"`{name}` is not an object")
    return value


def _event(source: str, event: dict[str, Any], position: Any, parts: dict[str, Any]) -> Reading:
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        raise Unreadable("no_event_type", "the event has no `type`")
    reading = Reading(type="event", event_type=kind)
    if isinstance(position, dict):
        add_position(source, reading, position)
    elif position is not None:
        keep(source, reading, "position", position)
    attributes = attributes_of(source, reading, event.get("attributes"))
    reading.event_attributes = dict(attributes)
    _event_values(source, reading, event, parts)
    alarms = attributes.get("alarm")
    if isinstance(alarms, str):
        add_alarms(reading, alarms)
    _event_times(reading, event, position if isinstance(position, dict) else NOTHING)
    number = event.get("id")
    if number:
        # One event is one record whichever way it came: its time is left out because databases without fractions of a
        # second round it, the device because its status differs by the minute, the position because not every way has it
        # (BT-a15, BT-a21).
        reading.natural_key = f"{kind}|{number}"
        reading.content = (kind, number, attributes)
    else:
        reading.content = {name: value for name, value in event.items() if value not in (None, {}, [])}
    return reading


def _event_times(reading: Reading, event: Mapping[str, Any], position: Mapping[str, Any]) -> None:
    """Set when it happened: `eventTime`, in old versions `serverTime`, else the position's time (BT-c07)."""
    happened = _time(event.get("eventTime"), position.get("deviceTime"), reading.sent_us)
    taken = _time(event.get("serverTime"), position.get("serverTime"), reading.platform_us)
    reading.sent_us = happened or taken or reading.sent_us
    reading.platform_us = taken or reading.platform_us


def _time(value: Any, read: Any, read_us: int) -> int:
    """Read a time, unless it is the text of one that has been read: Traccar copies the position's into the event."""
    if value is None:
        return 0
    return read_us if value == read else time_or_zero(value)


def _event_values(source: str, reading: Reading, event: dict[str, Any], parts: dict[str, Any]) -> None:
    made = reading.event_attributes
    assert made is not None
    for key, name in (("geofenceId", "geofence"), ("maintenanceId", "maintenance")):
        number, whole = event.get(key), parts.get(name)
        if number:
            made[key] = number
        if whole:
            made[name] = whole
    own = places_of(source).own
    for key, name in (("id", "event.id"), ("positionId", "event.positionId")):
        number = event.get(key)
        if number:
            put(reading, own[name], number)
    if not event.keys() <= _EVENT_READ:
        for name, value in event.items():
            if name not in _EVENT_READ:
                keep(source, reading, f"event.{name}", value)


def _identify(source: str, reading: Reading, device: Any, local_id: Any, request: Request) -> None:
    """Find out whose record it is: `uniqueId` is the device's key, `id` only this server's number for it (BT-a14)."""
    unique = None
    if isinstance(device, dict):
        unique = device.get("uniqueId")
        if local_id is None:
            local_id = device.get("id")
        _add_device(source, reading, device)
    elif device is not None:
        keep(source, reading, "device", device)
    identify(source, reading, unique, local_id, request)


def _add_device(source: str, reading: Reading, device: Mapping[str, Any]) -> None:
    """Keep what is known of the device, without what says nothing and without what nobody who reads records needs."""
    told = {
        field: value
        for field, value in device.items()
        if field not in _DEVICE_READ and value is not None and (value or field not in _DEVICE_IDS)
    }
    attributes = device.get("attributes")
    if attributes.__class__ is dict and attributes:
        told["attributes"] = {name: each for name, each in attributes.items() if name not in _DEVICE_SECRETS}
    spread(reading, places_of(source).device, told)


def identify(source: str, reading: Reading, unique: Any, local_id: Any, request: Request) -> None:
    """Set the sender's device id and the ways to find the device. Raises Unreadable("no_device") when there is none."""
    if unique.__class__ is not str:
        unique = str(unique) if isinstance(unique, int) and not isinstance(unique, bool) else ""
    if local_id.__class__ is not int:
        local_id = int(local_id) if is_local_id(local_id) else 0
    if local_id:
        put(reading, places_of(source).own["device.id"], local_id)
    elif not unique and not request.device_id:
        raise Unreadable("no_device", "neither `device.uniqueId` nor `deviceId` says whose record this is")
    reading.source_device = unique or (f"deviceId:{local_id}" if local_id else "")
    reading.identities = _identities(source, unique, local_id)


def is_local_id(text: Any) -> bool:
    """Tell whether a text can be a server's own number for a device."""
    return isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= _LONGEST_LOCAL_ID


@lru_cache(maxsize=65_536)
def _identities(source: str, unique: str, local_id: int) -> tuple[Identity, ...]:
    found = [Identity(kind, unique) for kind in ("external_id", "imei", "serial")] if unique else []
    if local_id:
        found.append(Identity(f"{source}.device.id", str(local_id)))
    return tuple(found)
