"""The delivery engine: from tasks read to effects acknowledged.

Order of effects, for every task: the attempt's record, and the retry or dead letter if there is one, are acknowledged by
the broker; then its offset counts as finished; then it may be committed. So nothing is lost whenever the process dies,
and what is repeated carries the same `webhook-id`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from schemas.times import now_us
from sinks.delivery.endpoint import Directory, Endpoints, Sealed, Unknown, Unusable
from sinks.delivery.intake import Partition, Position, Skips
from sinks.delivery.journal import Journal
from sinks.delivery.lanes import Item, Lane, Lanes
from sinks.delivery.limits import Limits
from sinks.delivery.offsets import Window
from sinks.delivery.outbox import Outbox
from sinks.delivery.policy import TIERS, Kind, Result, Verdict, judge
from sinks.delivery.sender import Sender
from sinks.delivery.task import Past, read_task

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

_AGE_EVERY_S = 0.25
_LANE_KEPT_S = 600.0
_LOOKUPS = 3


class Engine:
    """Lanes, requests and their effects, all in one event loop.

    `finished` is called once for every message handed to `take`. The engine never blocks: what cannot wait here is put
    off to a retry tier.
    """

    def __init__(
        self,
        settings: "Settings",
        limits: Limits,
        directory: Directory,
        sender: Sender,
        outbox: Outbox,
        finished: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._endpoints = Endpoints(settings, directory)
        self._sender = sender
        self._outbox = outbox
        self._finished = finished
        self._journal = Journal(settings.topics)
        self._loop = asyncio.get_running_loop()
        self._lanes = Lanes(limits)
        self._windows: dict[Partition, Window] = {}
        self._held: dict[Item, asyncio.TimerHandle] = {}
        self._requests: dict[asyncio.Task[None], tuple[Lane, Item]] = {}
        self._swept_at = 0.0

    @property
    def queued(self) -> int:
        """Tasks queued in lanes."""
        return self._lanes.queued

    # --- taking tasks in ---------------------------------------------------------------------------------------------

    def assigned(self, skips: Skips) -> None:
        """Start new windows for partitions taken over; offsets in `skips` are finished already."""
        for partition, skip in skips.items():
            self._windows[partition] = Window(skip)

    def take(self, messages: Sequence[Any]) -> None:
        """Take messages in, in order per partition."""
        now = self._loop.time()
        for message in messages:
            partition, offset = (message.topic(), message.partition()), message.offset()
            window = self._windows.get(partition)
            if window is None:
                window = self._windows[partition] = Window()
            if not window.take(offset):
                self._finished()
                continue
            try:
                task = read_task(message.value())
            except ValueError as error:
                log.warning("unreadable delivery task at %s:%d (%s)", partition, offset, type(error).__name__)
                self._effect([self._journal.unreadable(message.key(), message.value())], window, offset)
                continue
            if not task.created_us:
                task.created_us = message.timestamp()[1] * 1000
            self._admit(Item(task, window, offset), now)
        self._pump()

    def _admit(self, item: Item, now: float) -> None:
        """Put a task where it belongs: its lane, memory until it is due, or a tier."""
        remaining = (item.task.not_before_us - now_us()) / 1e6 if item.task.not_before_us else 0.0
        if remaining > 0:
            self._wait(item, remaining)
            return
        lane = self._lanes.lane(item.task.destination_id)
        if not lane.takes(now):
            self._park(item, lane.blocked_until - now)
            return
        self._lanes.push(lane, item, now, first=item.task.attempt > 0)
        self._wake_later(lane, now)

    def _wait(self, item: Item, delay: float) -> None:
        """Let `delay` seconds pass: a short one here, a long one in a tier."""
        if self._may_hold(item, delay):
            self._hold(item, delay)
        else:
            item.task.not_before_us = now_us() + int(delay * 1e6)
            self._put_off(item, delay)

    def _may_hold(self, item: Item, delay: float) -> bool:
        return delay <= self._limits.hold and len(self._held) < self._limits.held and not item.window.leaving

    def _hold(self, item: Item, delay: float) -> None:
        self._held[item] = self._loop.call_later(delay, self._unhold_due, item)

    def _unhold_due(self, item: Item) -> None:
        del self._held[item]
        item.task.not_before_us = 0
        self._admit(item, self._loop.time())
        self._pump()

    def _wake_later(self, lane: Lane, now: float) -> None:
        """Offer a blocked lane when its block ends."""
        if lane.blocked_until > now and not lane.waking:
            lane.waking = True
            self._loop.call_later(lane.blocked_until - now, self._woken, lane)

    def _woken(self, lane: Lane) -> None:
        lane.waking = False
        now = self._loop.time()
        self._lanes.offer(lane, now)
        self._wake_later(lane, now)
        self._pump()

    # --- sending -----------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start requests while there are slots and lanes that may send."""
        now = self._loop.time()
        while self._outbox.pending < self._limits.unacknowledged and (picked := self._lanes.pick(now)) is not None:
            request = self._loop.create_task(self._deliver(*picked))
            self._requests[request] = picked
            request.add_done_callback(self._landed)

    async def _deliver(self, lane: Lane, item: Item) -> None:
        try:
            attempted = await self._attempt(item)
        finally:
            self._lanes.landed(lane, item)
        if attempted is not None:
            self._settle(lane, item, *attempted)

    def _landed(self, request: asyncio.Task[None]) -> None:
        lane, item = self._requests.pop(request)
        if request.cancelled():  # at the end of a drain: stays uncommitted
            self._finished()
        elif (error := request.exception()) is not None:
            log.error("delivery %s is put off: a fault of this program", item.task.id, exc_info=error)
            self._park(item, TIERS[1][1])
        self._lanes.offer(lane, self._loop.time())
        self._pump()

    async def _attempt(self, item: Item) -> tuple[Result, str] | None:
        """Make one attempt; return its result and the URL to show. Nothing when the destination is looked up again."""
        try:
            endpoint = self._endpoints.of(item.task)
        except Unknown as error:
            item.lookups += 1
            if item.lookups <= _LOOKUPS and not item.window.leaving:
                self._hold(item, self._limits.lookup_grace / _LOOKUPS)
                return None
            return _failure(Kind.UNUSABLE, str(error)), ""
        except Unusable as error:
            return _failure(Kind.UNUSABLE, str(error)), ""
        except Sealed as error:
            log.error("destination %s: %s", item.task.destination_id, error)
            return _failure(Kind.FAILED, "the destination's secret cannot be opened"), ""
        return await self._sender.send(endpoint, item.task), endpoint.log_url

    def _settle(self, lane: Lane, item: Item, result: Result, url: str) -> None:
        """Draw the consequences of an attempt."""
        task, now = item.task, self._loop.time()
        verdict = judge(result, task.charged, task.attempt - task.charged, (now_us() - task.created_us) / 1e6)
        self._judge_lane(lane, result, verdict, now)
        task.attempt += 1
        task.charged += verdict.charged
        task.parked = 0
        attempt = self._journal.attempt(task, result, verdict, url)
        if item.window.closed:  # another worker has this task: it retries
            self._outbox.send([attempt], self._finished)
            return
        if verdict.outcome == "delivered":
            self._effect([attempt], item.window, item.offset)
            return
        task.history.append(
            Past(
                attempt=task.attempt,
                status=result.status,
                error=result.error,
                latency_ms=round(result.latency_s * 1000, 3),
                started_us=result.started_us,
            )
        )
        if verdict.outcome == "dead":
            self._effect([attempt, self._journal.dead(task, verdict.reason, result.error)], item.window, item.offset)
        elif self._may_hold(item, verdict.delay):
            self._outbox.send([attempt], _nothing)  # the offset stays open until the task's last effect
            self._hold(item, verdict.delay)
        else:
            task.not_before_us = now_us() + int(verdict.delay * 1e6)
            retry = self._journal.retry(task, verdict.delay)
            self._effect([attempt, retry], item.window, item.offset)

    def _judge_lane(self, lane: Lane, result: Result, verdict: Verdict, now: float) -> None:
        if verdict.pause:
            lane.limit = max(1.0, lane.limit / 2)
            lane.block(now + verdict.pause)
        elif verdict.trouble:
            if lane.troubled(result.latency_s, now):
                log.warning(
                    "destination %s fails (%s); nothing is sent for %.0f s",
                    lane.key,
                    result.error,
                    lane.blocked_until - now,
                )
        elif result.kind is Kind.ANSWERED:
            lane.answered(result.latency_s)
        self._trim(lane, now)
        self._wake_later(lane, now)

    def _trim(self, lane: Lane, now: float) -> None:
        """Put off what would wait too long for a destination that is slow, or to be left alone."""
        for item in self._lanes.excess(lane, now):
            self._park(item, lane.blocked_until - now)

    # --- effects -----------------------------------------------------------------------------------------------------

    def _park(self, item: Item, blocked_for: float) -> None:
        """Put a task off that nobody has tried: its lane is full or its destination is to be left alone."""
        if item.window.closed:
            self._finished()
            return
        item.task.parked += 1
        item.task.not_before_us = now_us() + int(blocked_for * 1e6) if blocked_for > 0 else 0
        self._put_off(item, blocked_for, item.task.parked - 1)

    def _put_off(self, item: Item, delay: float, parked: int = 0) -> None:
        self._effect([self._journal.retry(item.task, delay, parked)], item.window, item.offset)

    def _effect(self, records: Sequence[tuple[str, str, bytes]], window: Window, offset: int) -> None:
        """Produce the last records of a task; its offset is finished when all are acknowledged."""

        def acknowledged() -> None:
            window.done(offset)
            self._finished()
            if self._outbox.pending == self._limits.unacknowledged - 1:
                self._pump()

        self._outbox.send(records, acknowledged)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Run for ever: move slow requests out of the slots, and put off what has waited too long."""
        while True:
            await asyncio.sleep(_AGE_EVERY_S)
            now = self._loop.time()
            self._lanes.age(now)
            self._pump()
            for lane in self._lanes:
                self._trim(lane, now)
            if now - self._swept_at >= 1.0:
                self._swept_at = now
                self._sweep(now)

    def _sweep(self, now: float) -> None:
        for lane in self._lanes:
            for item in self._lanes.aged(lane, now - self._limits.lane_age):
                self._park(item, lane.blocked_until - now)
        self._lanes.forget_idle(now - _LANE_KEPT_S)
        for window in self._windows.values():
            if window.span > self._limits.span:
                self._put_off_held([item for item in self._held if item.window is window])

    def _put_off_held(self, items: Sequence[Item]) -> None:
        for item in items:
            self._held.pop(item).cancel()
            self._put_off(item, 0.0)

    def positions(self, partitions: set[Partition] | None = None) -> list[Position]:
        """Return what may be committed, of all partitions or of some."""
        return [
            (partition, window.position, window.metadata())
            for partition, window in self._windows.items()
            if window.position >= 0 and (partitions is None or partition in partitions)
        ]

    async def release(self, partitions: set[Partition]) -> list[Position]:
        """Let go of partitions: finish what is on the way, keep the attempts made; return what to commit.

        What waits untried is read again by the next owner.
        """
        windows = [self._windows[each] for each in partitions if each in self._windows]
        for window in windows:
            window.leaving = True
        self._put_off_held([item for item in self._held if item.window.leaving])
        for lane in self._lanes:
            self._let_go(lane)
        flying = [request for request, (_, item) in self._requests.items() if item.window.leaving]
        if flying:
            await asyncio.wait(flying, timeout=self._limits.drain)
        await self._outbox.flush(self._limits.drain)
        for window in windows:
            window.closed = True
        left = self.positions(partitions)
        for partition in partitions:
            self._windows.pop(partition, None)
        return left

    def lose(self, partitions: set[Partition]) -> None:
        """Forget partitions that were taken away: nothing of them can be committed, so their new owner does it all again.

        Had their retries been written too, they would be delivered twice.
        """
        for window in [self._windows.pop(each) for each in partitions if each in self._windows]:
            window.leaving = window.closed = True
        for item in [each for each in self._held if each.window.closed]:
            self._held.pop(item).cancel()
            self._finished()
        for lane in self._lanes:
            self._let_go(lane)

    def _let_go(self, lane: Lane) -> None:
        for item in self._lanes.cleared(lane):
            if not item.window.leaving:
                self._lanes.push(lane, item, item.queued_at)
            elif item.task.attempt and not item.window.closed:
                self._put_off(item, 0.0)
            else:
                self._finished()

    async def drain(self) -> list[Position]:
        """End: send what waits while there is time, then let go of everything. Return what to commit."""
        end = self._loop.time() + self._limits.drain / 2
        while self._requests and (rest := end - self._loop.time()) > 0:
            await asyncio.wait(tuple(self._requests), timeout=rest, return_when=asyncio.FIRST_COMPLETED)
        left = await self.release(set(self._windows))
        for request in tuple(self._requests):
            request.cancel()
        return left


def _nothing() -> None:
    """Follow no acknowledgement with anything."""


def _failure(kind: Kind, error: str) -> Result:
    return Result(kind=kind, error=error, started_us=now_us())
