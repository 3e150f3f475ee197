"""What the connector knows and stores: the socket's frames as they come, and whether anything may be missing before them."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from schemas.times import EARLIEST_US, now_us
from sources.biketrax.pull_api import Api, ApiError
from sources.biketrax.pull_fleet import Fleet
from sources.biketrax.pull_heard import Heard, key_of
from sources.biketrax.pull_state import PullState
from sources.pulling import PullSession

log = logging.getLogger(__name__)

SOCKET_PATH = "/api/socket"
_AT_ONCE = 200
_IDS_AT_ONCE = 50
_REFRESH_S = 30.0
_UNREADABLE_ID = frozenset((400, 403, 404, 500))
"""How Traccar's versions answer when one of several positions is gone or foreign."""


class Feed:
    """Joins, stores and notes. `gap_from_us`: since when something may be missing; None when the socket has it all."""

    def __init__(self, api: Api, session: PullSession, state: PullState) -> None:
        self._api = api
        self._session = session
        self.heard = Heard()
        self.fleet = Fleet()
        self.gap_from_us: int | None = state.until_us
        self.fixes = dict(state.fixes)
        """Server's number of a device -> time of its latest fix that is durable, µs."""
        self.fixes_before_gap = dict(state.fixes)
        session.level("gap_open", 1)
        self._connected_us = 0
        self._alive_us = 0
        self._refreshed_at = float("-inf")

    # --- the socket --------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Note that the socket is open: from now on nothing is missed."""
        self._connected_us = self._alive_us = now_us()

    def closed(self) -> None:
        """Note that it is not: since its last frame something may be missing."""
        if self._connected_us:
            self._connected_us = 0
            if self.gap_from_us is None:
                self.gap_from_us, self.fixes_before_gap = self._alive_us, dict(self.fixes)
                self._session.level("gap_open", 1)

    @property
    def has_gap_behind(self) -> bool:
        """Tell whether there is a gap that has ended."""
        return self.gap_from_us is not None and self._connected_us > 0

    def filled(self, started_us: int, fixes: dict[int, int]) -> None:
        """Note that all the server knew at `started_us` is stored; `fixes` are those of that moment."""
        if 0 < self._connected_us <= started_us:
            self.gap_from_us, self.fixes_before_gap = None, {}
            self._session.level("gap_open", 0)
        else:  # the socket opened meanwhile, or not yet
            self.gap_from_us, self.fixes_before_gap = started_us, fixes

    def state_at(self, until_us: int) -> PullState:
        """Return what to begin with after a restart, when all before `until_us` is stored."""
        return PullState(until_us=until_us, fixes=self.fixes if self.gap_from_us is None else self.fixes_before_gap)

    async def take(self, frames: Iterable[str | bytes]) -> None:
        """Store the positions and events of frames (BT-a18). Raises ApiError when what they refer to cannot be fetched.

        On connect comes a snapshot of the latest positions: those stored before are passed over. `{}` is a keep-alive.
        """
        self._alive_us = now_us()
        positions: list[Any] = []
        events: list[Any] = []
        for frame in frames:
            content = _parsed(frame)
            if content is None:
                self._session.count("unreadable_frames")
                await self._session.deliver(SOCKET_PATH, frame.encode() if isinstance(frame, str) else frame)
                continue
            self.fleet.update(_list(content, "devices"))
            positions += _list(content, "positions")
            events += _list(content, "events")
        await self._know_devices([*positions, *events])
        await self.store_positions(SOCKET_PATH, self.lacking_positions(positions))
        await self.store_events(SOCKET_PATH, self.lacking_events(events))

    # --- storing -----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Ask the server for the account's devices. Raises ApiError."""
        self.fleet.replace(await self._api.devices())
        self._refreshed_at = time.monotonic()
        self._session.beat()

    def lacking_positions(self, positions: Iterable[Any]) -> list[Any]:
        """Leave out the positions that are stored already."""
        return [each for each in positions if not self.heard.has_position(self.key(each))]

    def lacking_events(self, events: Iterable[Any]) -> list[Any]:
        """Leave out the events that arrived already, by whatever way."""
        return [each for each in events if not self.heard.has_event(self.key(each))]

    def key(self, item: Any) -> int:
        """Return what an item is known by."""
        return key_of(item, self.fleet.device_of(item))

    async def store_positions(self, path: str, positions: Sequence[Any]) -> None:
        """Store positions, each with its device, in their order."""
        self.fleet.remember(positions)
        for some in _batches(positions, _AT_ONCE):
            await self._deliver(path, [self.fleet.position_body(each) for each in some])
            for each in some:
                self.heard.position_pulled(self.key(each))
                device_id, fix_us = self.fleet.fix_of(each)
                if fix_us > self.fixes.get(device_id, EARLIEST_US):
                    self.fixes[device_id] = fix_us
        self._session.count("positions", len(positions))

    async def store_events(self, path: str, events: Sequence[Any]) -> None:
        """Store events as their webhooks have them, with device and position, in their order."""
        await self._know_positions(events)
        for some in _batches(events, _AT_ONCE):
            await self._deliver(path, [self.fleet.event_body(each) for each in some])
            for each in some:
                self.heard.event_pulled(self.key(each))
        self._session.count("events", len(events))

    async def _deliver(self, path: str, bodies: Iterable[Any]) -> None:
        """Store many at a time. Each device's stay in order, for they share a partition."""
        encoded = []
        for body in bodies:
            try:
                encoded.append(orjson.dumps(body))
            except orjson.JSONEncodeError:  # nested deeper than anything that is an event
                self._session.count("unreadable_items")
        await asyncio.gather(*(self._session.deliver(path, each) for each in encoded))
        self._session.beat()

    async def _know_devices(self, items: Iterable[Any]) -> None:
        """Ask for the devices again when a new one reports; one that stays unknown is asked for now and then."""
        if self.fleet.unknown_device(items) and time.monotonic() - self._refreshed_at > _REFRESH_S:
            await self.refresh()

    async def _know_positions(self, events: Iterable[Any]) -> None:
        wanted = self.fleet.unknown_positions(events)
        for some in _batches(wanted, _IDS_AT_ONCE):
            try:
                self.fleet.remember(await self._api.positions_by_id(some))
            except ApiError as error:
                if error.status not in _UNREADABLE_ID:
                    raise
                await self._know_each(some)
            self._session.beat()

    async def _know_each(self, ids: Iterable[int]) -> None:
        for number in ids:
            try:
                self.fleet.remember(await self._api.positions_by_id([number]))
            except ApiError as error:
                if error.status not in _UNREADABLE_ID:
                    raise
                log.info("position %d is not to be had (status %d)", number, error.status)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _parsed(frame: str | bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None


def _list(frame: dict[str, Any], name: str) -> list[Any]:
    value = frame.get(name)
    return value if isinstance(value, list) else []
