"""The devices of an account and the latest positions, as the server names them: what an event or a position is joined with."""

from collections.abc import Iterable, Mapping
from typing import Any

from sources.values import time_or_zero

_MOST_POSITIONS = 20_000


class Fleet:
    """Devices by the server's number, and recent positions by theirs."""

    def __init__(self) -> None:
        self.devices: dict[int, dict[str, Any]] = {}
        self._positions: dict[int, dict[str, Any]] = {}

    def replace(self, devices: Iterable[Any]) -> None:
        """Take the server's list: devices it no longer names are gone."""
        self.devices = {}
        self.update(devices)

    def update(self, devices: Iterable[Any]) -> None:
        """Take devices that changed."""
        for device in devices:
            if isinstance(device, dict) and isinstance(device.get("id"), int):
                self.devices[device["id"]] = device

    def remember(self, positions: Iterable[Any]) -> None:
        """Keep positions for the events that refer to them; the oldest are forgotten."""
        known = self._positions
        for position in positions:
            if isinstance(position, dict) and isinstance(position.get("id"), int) and position["id"]:
                known.pop(position["id"], None)
                known[position["id"]] = position
        while len(known) > _MOST_POSITIONS:
            del known[next(iter(known))]

    def unknown_device(self, items: Iterable[Any]) -> bool:
        """Tell whether an item is of a device that is not known."""
        return any(_number(item, "deviceId") not in self.devices for item in items if isinstance(item, dict))

    def unknown_positions(self, events: Iterable[Any]) -> list[int]:
        """List the positions that events refer to and nobody remembers. 0 is none (BT-a12)."""
        named = (_number(event, "positionId") for event in events)
        return sorted({number for number in named if number and number not in self._positions})

    def event_body(self, event: Any) -> dict[str, Any]:
        """Return an event as its webhook has it: with its device, and its position when there is one."""
        made = {"event": event, **self._device(event)}
        position = self._positions.get(_number(event, "positionId"))
        if position is not None:
            made["position"] = position
        return made

    def position_body(self, position: Any) -> dict[str, Any]:
        """Return a position as Traccar forwards it."""
        return {"position": position, **self._device(position)}

    def device_of(self, item: Any) -> dict[str, Any] | None:
        """Return the device an item belongs to, when it is known."""
        return self.devices.get(_number(item, "deviceId"))

    @staticmethod
    def fix_of(position: Any) -> tuple[int, int]:
        """Return a position's device and the time of its fix in µs; 0 for what it does not say."""
        fix = position.get("fixTime") if isinstance(position, dict) else None
        return _number(position, "deviceId"), time_or_zero(fix)

    def _device(self, item: Any) -> Mapping[str, Any]:
        device = self.device_of(item)
        return {} if device is None else {"device": device}


def _number(item: Any, name: str) -> int:
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, int) else 0
