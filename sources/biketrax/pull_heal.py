"""Makes up for what did not arrive: compares what the server has with what is stored, and fetches the difference."""

import logging
from collections.abc import AsyncIterator
from typing import Any

from schemas.times import DAY_US, EARLIEST_US, SECOND_US, format_us, now_us
from sources.biketrax.pull_account import BikeTraxAccount
from sources.biketrax.pull_api import Api, TooMuch
from sources.biketrax.pull_feed import Feed
from sources.biketrax.pull_state import encode_state
from sources.pulling import PullSession
from sources.values import time_or_zero

log = logging.getLogger(__name__)

OVERLAP_US = 300 * SECOND_US
"""Every range begins so much earlier than it must: clocks differ, and an event is younger than its time says."""
FIX_OVERLAP_US = 3600 * SECOND_US
"""Trackers that had no network may send their latest position before the older ones."""
GRACE_US = 60 * SECOND_US
"""A webhook that is so young may still be on its way."""
_DEVICES_AT_ONCE = 50
_EXAMPLES = 10
_SHORTEST_US = SECOND_US
_EVENTS_PATH = "/api/reports/events"
_POSITIONS_PATH = "/api/positions"


class Healer:
    """Fills gaps (BT-a19) and reconciles (BT-a21). One pass at a time."""

    def __init__(self, account: BikeTraxAccount, api: Api, session: PullSession, feed: Feed, until_us: int) -> None:
        self._account = account
        self._api = api
        self._session = session
        self._feed = feed
        self._until_us = until_us
        """All the server knew before is stored."""
        self._raw_since_us = min(until_us, now_us() - account.window_us) - OVERLAP_US

    async def heal(self, *, whole: bool) -> None:
        """Store what the server has and the raw topic lacks. Raises ApiError; what was stored until then stays noted.

        `whole` looks at the events of the whole window (at least since the last pass that succeeded), counts the
        webhooks that never came, and saves how far everything is complete. Otherwise only a gap of the socket is filled.
        """
        feed, started = self._feed, now_us()
        gap, fixes = feed.gap_from_us, dict(feed.fixes)
        since = started if gap is None else gap
        if whole:
            since = min(since, self._until_us, started - self._account.window_us)
        await feed.refresh()
        await self.hear()
        behind = {} if gap is None else self._behind(gap)
        for device_id, from_us in behind.items():
            await self._positions(device_id, from_us, started)
        judge_until = started - GRACE_US if whole else 0
        tally = Tally()
        async for events in self._events(since - OVERLAP_US, behind, started):
            await self._compare(events, judge_until, tally)
        if gap is not None:
            feed.filled(started, fixes)
            self._session.count("gaps_filled")
        if whole:
            self._until_us = started
            await self._session.save(encode_state(feed.state_at(started)))
            self._session.level("reconciled_at", started / SECOND_US)
        log.info("%s since %s: %s", "compared" if whole else "filled the gap", format_us(since), tally)
        tally.warn()

    async def hear(self) -> None:
        """Take note of all that is in the raw topic by now."""
        async for batch in self._session.received(self._raw_since_us):
            for request in batch:
                self._feed.heard.note(request)
            self._session.beat()

    async def _compare(self, events: list[Any], judge_until_us: int, tally: "Tally") -> None:
        """Count the events whose webhooks never came, and store those that came by no way at all."""
        heard, key = self._feed.heard, self._feed.key
        for event in events:
            if 0 < _time_of(event) < judge_until_us and heard.misses_webhook(key(event), event.get("type")):
                tally.missed(event)
                self._session.count("webhooks_missing")
        lacking = self._feed.lacking_events(events)
        await self._feed.store_events(_EVENTS_PATH, lacking)
        self._session.count("healed_events", len(lacking))
        tally.compared += len(events)
        tally.fetched += len(lacking)

    def _behind(self, gap_us: int) -> dict[int, int]:
        """Return the devices that may have reported since the gap began, and from which fix on each is to be asked for.

        A bike without a network keeps its positions: what it sends later is younger than its last fix, not than the gap.
        """
        fixes, behind = self._feed.fixes_before_gap, {}
        for device_id, device in self._feed.fleet.devices.items():
            contact = time_or_zero(device.get("lastUpdate"))
            if contact and contact < gap_us - OVERLAP_US:
                continue
            behind[device_id] = max(EARLIEST_US, min(fixes.get(device_id, gap_us), gap_us) - FIX_OVERLAP_US)
        return behind

    async def _positions(self, device_id: int, from_us: int, started_us: int) -> None:
        """Store a device's positions; a range with too many is halved."""
        ranges = [(from_us, started_us + DAY_US)]
        while ranges:
            first, last = ranges.pop()
            try:
                found = await self._api.positions(device_id, first, last)
            except TooMuch:
                ranges += _halves(first, last)
                continue
            lacking = self._feed.lacking_positions(found)
            await self._feed.store_positions(_POSITIONS_PATH, lacking)
            self._session.count("healed_positions", len(lacking))

    async def _events(self, since_us: int, behind: dict[int, int], started_us: int) -> AsyncIterator[list[Any]]:
        """Yield the events of all devices since a time, and of those that were behind since their last fix.

        Some devices and a day at a time: what is held in memory is one answer.
        """
        due = sorted((min(since_us, behind.get(each, since_us)), each) for each in self._feed.fleet.devices)
        for first in range(0, len(due), _DEVICES_AT_ONCE):
            some = due[first : first + _DEVICES_AT_ONCE]
            ids = [each for _, each in some]
            for begin, end in _days(some[0][0], started_us + OVERLAP_US):
                async for events in self._events_between(ids, begin, end):
                    yield sorted(events, key=_time_of)

    async def _events_between(self, ids: list[int], from_us: int, to_us: int) -> AsyncIterator[list[Any]]:
        ranges = [(from_us, to_us)]
        while ranges:
            first, last = ranges.pop()
            try:
                found = await self._api.events(ids, first, last)
            except TooMuch:
                ranges += _halves(first, last)
                continue
            yield found


class Tally:
    """What a pass found, for the log."""

    def __init__(self) -> None:
        self.compared = 0
        self.fetched = 0
        self._missed = 0
        self._examples: list[str] = []

    def missed(self, event: Any) -> None:
        """Note an event whose webhook never came."""
        self._missed += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(str(event.get("id")))

    def __str__(self) -> str:
        return f"{self.compared} events, {self.fetched} of them had not arrived and were fetched"

    def warn(self) -> None:
        """Tell the operator about webhooks that never came."""
        if self._missed:
            log.warning(
                "%d webhooks never arrived (events %s); the events themselves are stored. Look for answers other than 200"
                " in the ingress's metrics, and at the way from the sender to it",
                self._missed,
                ", ".join(self._examples) + (", …" if self._missed > len(self._examples) else ""),
            )


def _time_of(event: Any) -> int:
    if not isinstance(event, dict):
        return 0
    return time_or_zero(event.get("eventTime")) or time_or_zero(event.get("serverTime"))


def _days(from_us: int, to_us: int) -> list[tuple[int, int]]:
    """Cut a range into days and a rest: servers limit the period of a report."""
    days = list(range(from_us, to_us, DAY_US))
    return list(zip(days, [*days[1:], to_us], strict=True))


def _halves(from_us: int, to_us: int) -> list[tuple[int, int]]:
    """Cut a range in two, the later half first: the last of a list is taken next. Raises TooMuch when it is one second."""
    if to_us - from_us <= _SHORTEST_US:
        raise TooMuch("one second holds more than BIKETRAX_MAX_RESPONSE_BYTES; raise it")
    middle = (from_us + to_us) // 2
    return [(middle, to_us), (from_us, middle)]
