"""What has arrived already: which events and positions, and by which way.

Filled from the raw topic, so it survives restarts without a database. Bounded: what is forgotten is fetched and stored once
more, with the same canonical id.
"""

from typing import Any

from sources.contract import Request
from sources.errors import Unreadable
from sources.pulling import PULLED
from sources.traccar_model import model_items

_MOST_EVENTS = 1_000_000
"""Of one window; about 100 bytes each."""
_MOST_POSITIONS = 200_000
_MOST_TYPES = 1_000
_WEBHOOK = 1
_PULLED = 2
_MISSED = 4


def key_of(item: Any, device: Any) -> int:
    """Return what an event or position is known by: the server's id with the device's own, else its content.

    A tenant may have accounts on two servers, and their numbers for events and devices may be the same.
    """
    number = item.get("id") if isinstance(item, dict) else None
    if isinstance(number, int) and number:
        unique = device.get("uniqueId") if isinstance(device, dict) else None
        return hash((number, str(unique)))
    try:
        return hash(repr(item))
    except RecursionError:  # nested deeper than anything that is an event
        return 0


class Heard:
    """Events and positions that are in the raw topic, known by `key_of`."""

    def __init__(self, most_events: int = _MOST_EVENTS, most_positions: int = _MOST_POSITIONS) -> None:
        self._events: dict[int, int] = {}
        self._positions: dict[int, None] = {}
        self._most_events = most_events
        self._most_positions = most_positions
        self._webhook_types: set[str] = set()

    def note(self, request: Request) -> None:
        """Take note of one request of the raw topic. Never raises: what nobody can read is no event."""
        try:
            items = model_items(request)
        except Unreadable:
            return
        for item in items:
            if not isinstance(item, dict):
                continue
            event, position, device = item.get("event"), item.get("position"), item.get("device")
            if isinstance(event, dict):
                key = key_of(event, device)
                if request.transport == PULLED:
                    self.event_pulled(key)
                else:
                    self._webhook_arrived(key, event.get("type"))
            elif isinstance(position, dict):
                self.position_pulled(key_of(position, device))

    def _webhook_arrived(self, key: int, kind: Any) -> None:
        if isinstance(kind, str) and len(self._webhook_types) < _MOST_TYPES:
            self._webhook_types.add(kind)
        self._mark(key, _WEBHOOK)

    def event_pulled(self, key: int) -> None:
        """Take note of an event that we made durable."""
        self._mark(key, _PULLED)

    def position_pulled(self, key: int) -> None:
        """Take note of a position that is durable."""
        self._positions[key] = None
        _forget(self._positions, self._most_positions)

    def _mark(self, key: int, way: int) -> None:
        self._events[key] = self._events.get(key, 0) | way
        _forget(self._events, self._most_events)

    def has_event(self, key: int) -> bool:
        """Tell whether an event has arrived by any way."""
        return self._events.get(key, 0) & (_WEBHOOK | _PULLED) > 0

    def has_position(self, key: int) -> bool:
        """Tell whether a position has arrived."""
        return key in self._positions

    def misses_webhook(self, key: int, kind: Any) -> bool:
        """Tell whether an event's webhook did not arrive; true once per event, however often it is asked.

        Only for types of which some webhook did arrive: an account without webhooks, or with `webhookTypes`, misses nothing.
        """
        ways = self._events.get(key, 0)
        if ways & (_WEBHOOK | _MISSED) or not isinstance(kind, str) or kind not in self._webhook_types:
            return False
        self._mark(key, _MISSED)
        return True


def _forget(known: dict[int, Any], most: int) -> None:
    """Drop the oldest beyond the limit."""
    while len(known) > most:
        del known[next(iter(known))]
