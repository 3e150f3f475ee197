"""AutoPi events: `@t` is the tag without its last part, so the state is nowhere but in `@tag` (AP-a10)."""

from typing import Any

from sources.contract import Reading
from sources.values import number_or

_META = frozenset(("@t", "@ts", "@tag"))
_PLAYERS = {
    "event.vehicle.geofence.": "geofence",
    "event.system.rfid.": "rfid",
    "event.system.usb.": "usb",
    "event.system.hotspot.client.": "client",
    "event.system.docker.": "docker",
}
"""Families whose `@t` names who or what it happened to: a geofence's slug, a tag's id. As record types these would be
without number, so the type is the family's and the name is an attribute."""
_MOVES = {"moving": True, "standstill": False}
_SWITCHED = {"on": True, "off": False}


def read_event(reading: Reading, kind: str, record: dict[str, Any]) -> None:
    """Take an event: its name is the whole `@tag`, everything else is its attributes; none is fine (AP-a08)."""
    tag = record.get("@tag")
    reading.event_type = tag if isinstance(tag, str) and tag else kind
    attributes = {key: value for key, value in record.items() if key not in _META}
    reading.event_attributes = attributes
    for family, role in _PLAYERS.items():
        if kind.startswith(family) and len(kind) > len(family):
            reading.type = family[:-1]
            attributes.setdefault(role, kind[len(family) :])
    _state(reading, kind, reading.event_type.rpartition("/")[2], attributes)


def _state(reading: Reading, kind: str, state: str, attributes: dict[str, Any]) -> None:
    """Take the states that have a canonical name. A running engine is not the ignition, so that is left alone."""
    if kind == "event.vehicle.battery":
        reading.texts["battery.state"] = state
        level = number_or(attributes.get("level"), -1)
        if 0 <= level <= 100:
            reading.numbers["battery.level"] = level
    elif kind == "event.vehicle.position" and state in _MOVES:
        reading.booleans["movement.status"] = _MOVES[state]
    elif kind == "event.vehicle.ignition" and state in _SWITCHED:
        reading.booleans["engine.ignition.status"] = _SWITCHED[state]
