"""Traccar's JSON model to readings: positions and events as any Traccar server forwards, pushes or lists them.

Shared by `biketrax` (PowUnity runs on Traccar) and `traccar`. Units are Traccar's (`model/Position.java`): knots, metres,
milliseconds, degrees true north. Times carry an offset (`+00:00`, in old versions `+0000`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.records import NAN
from schemas.units import HOURS_PER_MS, KM_PER_M, KMH_PER_KNOT, scaled
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.peek import peek
from sources.values import as_object, json_items, number_or, put, put_all, time_or_zero

_FRAME = ("positions", "events", "devices")
_FRAME_STARTS = tuple(b'{"%s"' % name.encode() for name in (*_FRAME, "logs"))
_NOTHING: Mapping[str, Any] = {}
_INFINITY = float("inf")

_NUMBERS: Mapping[str, tuple[str, float]] = {
    "odometer": ("vehicle.mileage", KM_PER_M),
    "tripOdometer": ("trip.mileage", KM_PER_M),
    "distance": ("position.distance", 1.0),
    "hours": ("engine.motorhours", HOURS_PER_MS),
    "obdSpeed": ("vehicle.speed", 1.0),
    "power": ("external.powersource.voltage", 1.0),
    "battery": ("battery.voltage", 1.0),
    "batteryLevel": ("battery.level", 1.0),
    "fuel": ("fuel.volume", 1.0),
    "fuelLevel": ("fuel.level", 1.0),
    "fuelUsed": ("fuel.consumed", 1.0),
    "fuelConsumption": ("fuel.consumption", 1.0),
    "deviceTemp": ("device.temperature", 1.0),
    "coolantTemp": ("engine.coolant.temperature", 1.0),
    "rpm": ("engine.rpm", 1.0),
    "throttle": ("throttle.level", 1.0),
    "engineLoad": ("engine.load.level", 1.0),
    "vdop": ("position.vdop", 1.0),
    "input": ("din", 1.0),
    "output": ("dout", 1.0),
}
_BOOLEANS: Mapping[str, str] = {
    "ignition": "engine.ignition.status",
    "motion": "movement.status",
    "charge": "battery.charging.status",
    "blocked": "engine.blocked.status",
    **{f"in{number}": f"din.{number}" for number in range(1, 33)},
    **{f"out{number}": f"dout.{number}" for number in range(1, 33)},
}
_TEXTS: Mapping[str, str] = {
    "driverUniqueId": "driver.id",
    "vin": "vehicle.vin",
    "versionFw": "firmware.version",
    "iccid": "iccid",
}
_SPECIAL = frozenset(("alarm", "sat", "hdop", "pdop", *_TEXTS))
_COLUMNS: Mapping[str, tuple[str, float]] = {
    "altitude": ("altitude_m", 1.0),
    "speed": ("speed_kmh", KMH_PER_KNOT),
    "course": ("course_deg", 1.0),
    "accuracy": ("accuracy_m", 1.0),
}
_ODOMETERS = ("obdOdometer", "totalDistance")
"""What stands in for `odometer` when the tracker has none; both keep their own names too."""
_POSITION_READ = frozenset(
    (
        *_COLUMNS,
        *("latitude", "longitude", "valid", "outdated", "fixTime", "deviceTime", "serverTime", "attributes"),
        *("id", "deviceId", "type"),
    )
)
_POSITION_UNSTABLE = frozenset(("id", "type", "outdated", "serverTime", "address", "geofenceIds"))
"""What differs between the copies of one position that are forwarded, pushed and listed."""
_EVENT_READ = frozenset(
    ("id", "type", "deviceId", "eventTime", "serverTime", "attributes", "geofenceId", "maintenanceId", "positionId")
)
_DEVICE_READ = frozenset(("id", "uniqueId"))
_DEVICE_IDS = frozenset(("groupId", "calendarId", "positionId"))
"""0 means none."""
_PARTS = frozenset(("event", "position", "device", "geofence", "maintenance"))


def device_key(request: Request) -> str:
    """Keep the order of one device. A frame of the WebSocket mixes devices: there the connection's order is kept."""
    body = request.body
    return "" if body[:64].lstrip().startswith(_FRAME_STARTS) else peek(body, b'"uniqueId"')


def model_items(request: Request) -> Sequence[Any]:
    """Split a body into items `{"event"|"position": …, "device": …}`.

    A webhook is one item; a WebSocket frame is its positions and events, each with its device when the frame names it
    (BT-a18); a REST list is its elements. The keep-alive `{}` is nothing.
    """
    items: list[Any] = []
    for each in json_items(request):
        if isinstance(each, dict) and not _PARTS.intersection(each):
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
        reading = _event(source, _part(event, "event"), position, parts)
    elif position is not None:
        reading = Reading(type="position")
        add_position(source, reading, _part(position, "position"))
        name_position(reading, position)
        reading.content = {
            name: value for name, value in position.items() if value is not None and name not in _POSITION_UNSTABLE
        }
    else:
        raise Unreadable("unknown_shape", "the object holds neither an `event` nor a `position`")
    main: Mapping[str, Any] = event if isinstance(event, dict) else position if isinstance(position, dict) else _NOTHING
    _identify(source, reading, parts.get("device"), main.get("deviceId"), request)
    for name, part in parts.items():
        if name not in _PARTS:
            keep(source, reading, name, part)
    return reading


def _part(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("not_an_object", f"`{name}` is not an object")
    return value


def name_position(reading: Reading, position: Mapping[str, Any]) -> None:
    """Name a position by what it is about: its `id` is 0 when it is forwarded before it was stored."""
    fix, sent, protocol = position.get("fixTime"), position.get("deviceTime"), position.get("protocol")
    if fix or sent:
        reading.natural_key = f"{fix}|{sent}|{protocol}"


def _event(source: str, event: dict[str, Any], position: Any, parts: dict[str, Any]) -> Reading:
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        raise Unreadable("no_event_type", "the event has no `type`")
    reading = Reading(type="event", event_type=kind)
    if isinstance(position, dict):
        add_position(source, reading, position)
    elif position is not None:
        keep(source, reading, "position", position)
    attributes = _attributes(source, reading, event.get("attributes"))
    reading.event_attributes = dict(attributes)
    _event_values(source, reading, event, parts)
    if isinstance(attributes.get("alarm"), str):
        _alarm(reading, attributes["alarm"])
    taken = time_or_zero(event.get("serverTime"))
    reading.sent_us = time_or_zero(event.get("eventTime")) or taken or reading.sent_us  # BT-c07
    reading.platform_us = taken or reading.platform_us
    number = event.get("id")
    if number:
        # One event is one record whichever way it came and whatever was known about its device then (BT-a15).
        reading.natural_key = f"{kind}|{number}"
        reading.content = [kind, number, event.get("deviceId"), reading.sent_us]
    else:
        reading.content = {name: value for name, value in event.items() if value not in (None, {}, [])}
    return reading


def _event_values(source: str, reading: Reading, event: dict[str, Any], parts: dict[str, Any]) -> None:
    made = reading.event_attributes
    assert made is not None
    for name in ("geofence", "maintenance"):
        if event.get(f"{name}Id"):
            made[f"{name}Id"] = event[f"{name}Id"]
        if parts.get(name):
            made[name] = parts[name]
    for name in ("id", "positionId"):
        if event.get(name):
            put(reading, f"{source}.event.{name}", event[name])
    for name, value in event.items():
        if name not in _EVENT_READ:
            keep(source, reading, f"event.{name}", value)


def _attributes(source: str, reading: Reading, value: Any) -> Mapping[str, Any]:
    """Return attributes; `[]` stands for `{}` in some receivers' copies. Anything else odd is kept as it is."""
    if isinstance(value, dict):
        return value
    if value:
        keep(source, reading, "attributes", value)
    return _NOTHING


def _alarm(reading: Reading, kinds: str) -> None:
    """Note alarms. The position of an event may name several, the event only its own: none is lost, none twice."""
    if not kinds:
        return
    noted = reading.texts.get("alarm.type")
    if noted:
        kinds = ",".join(dict.fromkeys((*noted.split(","), *kinds.split(","))))
    reading.texts["alarm.type"] = kinds
    reading.booleans["alarm.event"] = True


def add_position(source: str, reading: Reading, position: Mapping[str, Any]) -> None:
    """Add a position's times, place, motion and attributes."""
    fix, sent = position.get("fixTime"), position.get("deviceTime")
    reading.fix_us = time_or_zero(fix)
    reading.sent_us = reading.fix_us if sent == fix else time_or_zero(sent) or reading.fix_us
    reading.platform_us = time_or_zero(position.get("serverTime"))
    for name, (column, factor) in _COLUMNS.items():
        value = position.get(name)
        number = converted(value, factor)
        if number == number and (name != "course" or 0 <= number <= 360):
            setattr(reading, column, number)
        elif value is not None:
            keep(source, reading, name, value)
    _place(source, reading, position)
    for name, value in position.items():
        if name not in _POSITION_READ and value is not None:
            keep(source, reading, name, value)
    if position.get("id"):
        put(reading, f"{source}.position.id", position["id"])
    if isinstance(position.get("type"), str) and position["type"]:
        put(reading, f"{source}.type", position["type"])
    add_attributes(source, reading, _attributes(source, reading, position.get("attributes")))


def _place(source: str, reading: Reading, position: Mapping[str, Any]) -> None:
    latitude, longitude = number_or(position.get("latitude"), NAN), number_or(position.get("longitude"), NAN)
    valid, outdated = position.get("valid"), position.get("outdated")
    if isinstance(valid, bool):
        reading.fix_valid = int(valid)
    elif valid is not None:
        keep(source, reading, "valid", valid)
    if outdated is True:
        reading.fix_valid = 0
        reading.booleans[f"{source}.outdated"] = True
    elif outdated is not None and outdated is not False:
        keep(source, reading, "outdated", outdated)
    if latitude == latitude and longitude == longitude:
        if latitude or longitude:
            reading.latitude, reading.longitude = float(latitude), float(longitude)
        else:
            reading.fix_valid = 0  # before the first fix Traccar says 0, 0
        return
    for name in ("latitude", "longitude"):
        keep(source, reading, name, position.get(name))


def add_attributes(source: str, reading: Reading, attributes: Mapping[str, Any]) -> None:
    """Sort a position's attributes: known ones by canonical name and unit, the rest as `<source>.<name>`."""
    numbers = reading.numbers
    for name, value in attributes.items():
        known = _NUMBERS.get(name)
        if known is not None:
            number = converted(value, known[1])
            if number == number:
                numbers[known[0]] = number
                continue
        elif value is True or value is False:
            canonical = _BOOLEANS.get(name)
            if canonical is not None:
                reading.booleans[canonical] = value
                continue
        elif name in _SPECIAL and _special(reading, name, value):
            continue
        keep(source, reading, name, value)
    if "vehicle.mileage" not in numbers:
        for name in _ODOMETERS:
            metres = converted(attributes.get(name), KM_PER_M)
            if metres == metres:
                numbers["vehicle.mileage"] = metres
                break


def _special(reading: Reading, name: str, value: Any) -> bool:
    """Take an attribute that is a column, a text or an alarm. False: its value does not fit there."""
    if name == "alarm" or name in _TEXTS:
        if not isinstance(value, str):
            return False
        if name == "alarm":
            _alarm(reading, value)
        elif value:
            reading.texts[_TEXTS[name]] = value
        return True
    number = converted(value, 1.0)
    if name == "sat":
        if not 0 <= number <= 255:
            return False
        reading.satellites = int(number)
    elif number == number:
        setattr(reading, name, number)
    return number == number


def converted(value: Any, factor: float) -> float:
    """Return a number in the vocabulary's unit, NaN when the value is none."""
    number = value if value.__class__ is float or value.__class__ is int else number_or(value, NAN)
    if factor != 1.0:
        number = scaled(number, factor)
    return float(number) if -_INFINITY < number < _INFINITY else NAN


def keep(source: str, reading: Reading, name: str, value: Any) -> None:
    """Keep a value without a canonical name. Null and empty values say nothing."""
    if value is True or value is False:
        reading.booleans[f"{source}.{name}"] = value
    elif value.__class__ is str:
        if value:
            reading.texts[f"{source}.{name}"] = value
    elif value.__class__ is dict:
        put_all(reading, f"{source}.{name}.", {key: each for key, each in value.items() if each not in ({}, [])})
    elif value is not None and value != []:
        put(reading, f"{source}.{name}", value)


def _identify(source: str, reading: Reading, device: Any, local_id: Any, request: Request) -> None:
    """Find out whose record it is: `uniqueId` is the device's key, `id` only this server's number for it (BT-a14)."""
    if isinstance(device, dict):
        unique = device.get("uniqueId")
        if local_id is None:
            local_id = device.get("id")
        for field, value in device.items():
            if field == "name" and isinstance(value, str) and value:
                reading.texts["device.name"] = value
            elif field not in _DEVICE_READ and value is not None and (value or field not in _DEVICE_IDS):
                keep(source, reading, f"device.{field}", value)
    else:
        unique = None
        if device is not None:
            keep(source, reading, "device", device)
    identify(source, reading, unique, local_id, request)


def identify(source: str, reading: Reading, unique: Any, local_id: Any, request: Request) -> None:
    """Set the sender's device id and the ways to find the device. Raises Unreadable("no_device") when there is none."""
    if isinstance(unique, int) and not isinstance(unique, bool):
        unique = str(unique)
    identities: list[Identity] = []
    if isinstance(unique, str) and unique:
        reading.source_device = unique
        identities += [Identity("external_id", unique), Identity("imei", unique), Identity("serial", unique)]
    if isinstance(local_id, int) and not isinstance(local_id, bool) and local_id:
        put(reading, f"{source}.device.id", local_id)
        identities.append(Identity(f"{source}.device.id", str(local_id)))
        if not reading.source_device:
            reading.source_device = f"deviceId:{local_id}"
    if not identities and not request.device_id:
        raise Unreadable("no_device", "neither `device.uniqueId` nor `deviceId` says whose record this is")
    reading.identities = tuple(identities)
