"""One lane per destination and a round-robin picker over them: no destination can delay another.

Everything here is plain bookkeeping in monotonic seconds handed in by the caller; it neither waits nor sends.
"""

import random
from collections import deque
from collections.abc import Iterator

from sinks.delivery.limits import Limits
from sinks.delivery.offsets import Window
from sinks.delivery.task import Task

_NEARLY_FULL = 0.8
_PRESSED_S = 2.0
"""Longest expected wait in a lane while the queue of all is nearly full."""
_OPENS_AFTER = 5
"""Failures in a row that open the breaker."""
_LONGEST_BLOCK = 300.0
_WEIGHT = 0.2
"""Of the newest latency in the moving average."""
_TELLING_S = 0.5
"""Age from which a request that waits says something: until then a connection may just be in the making."""
_DRIFT = 0.01
"""How fast the best latency seen is forgotten."""
_TOLERANCE_S = 0.01


class Item:
    """A task in memory, with the offset that is finished when it is."""

    __slots__ = ("lookups", "offset", "queued_at", "slow", "started_at", "task", "window")

    def __init__(self, task: Task, window: Window, offset: int) -> None:
        self.task = task
        self.window = window
        self.offset = offset
        self.queued_at = 0.0
        self.started_at = 0.0
        self.slow = False
        self.lookups = 0


class Lane:
    """The tasks of one destination: waiting ones in order, the ones on the way, and what is known of its health.

    Concurrency grows by one with every success and halves with every sign of trouble. After five failures in a row
    the breaker opens: nothing is sent for a while, then a single probe; its success closes it.
    """

    __slots__ = ("_best", "_failures", "_limits", "_opened", "blocked_until", "flying", "key", "latency", "limit",
                 "offered", "queue", "slow", "used_at", "waking")  # fmt: skip

    def __init__(self, key: str, limits: Limits) -> None:
        self.key = key
        self._limits = limits
        self.queue: deque[Item] = deque()
        self.flying: dict[Item, None] = {}
        self.slow = 0
        self.limit = float(limits.first_limit)
        self.latency = 0.0
        self.blocked_until = 0.0
        self.offered = False
        self.waking = False
        """Someone will offer it when its block ends."""
        self.used_at = 0.0
        self._best = 0.0
        self._failures = 0
        self._opened = 0

    @property
    def cap(self) -> int:
        """Requests it may have on the way at this moment."""
        return 1 if self._opened else int(self.limit)

    def expected_wait(self, now: float) -> float:
        """Estimate the wait of one more task, from what is queued and how long this destination takes to answer.

        Before its first answer only the age of the request that waits for it speaks against a destination; as long as
        nothing does, its concurrency is taken for what it will grow to.
        """
        oldest = next(iter(self.flying), None)
        age = 0.0 if oldest is None else now - oldest.started_at
        latency = max(self.latency, age) if age > _TELLING_S else self.latency
        at_once = self.cap if self._failures or self._opened else self._limits.per_destination
        return max(0.0, self.blocked_until - now) + len(self.queue) * latency / at_once

    def takes(self, now: float) -> bool:
        """Tell whether one more task may wait here; if not, it goes to a retry tier."""
        if self.blocked_until - now > self._limits.patience:
            return False
        return len(self.queue) < self._limits.lane_floor or self.expected_wait(now) <= self._limits.patience

    def fitting(self, now: float, patience: float, floor: int) -> int:
        """Return how many of the queued tasks will be sent within `patience` seconds, `floor` at least."""
        blocked = max(0.0, self.blocked_until - now)
        if blocked > patience:
            return 0
        wait = self.expected_wait(now) - blocked
        share = 1.0 if wait + blocked <= patience else (patience - blocked) / wait
        return max(floor, int(len(self.queue) * share))

    def ready(self, now: float) -> bool:
        """Tell whether its first task may be sent."""
        return bool(self.queue) and len(self.flying) < self.cap and now >= self.blocked_until

    def answered(self, latency: float) -> None:
        """Count an answer that shows nothing wrong.

        More at a time is tried as long as answers do not take longer for it: on the wire, at the destination or here.
        """
        self._failures = self._opened = 0
        self.latency += _WEIGHT * (latency - self.latency)
        self._best = latency if latency < self._best or not self._best else self._best + _DRIFT * (latency - self._best)
        if latency <= 2 * self._best + _TOLERANCE_S:
            self.limit = min(self.limit + 1, self._limits.per_destination)
        else:
            self.limit = max(self.limit - 1, min(self._limits.first_limit, self._limits.per_destination))

    def troubled(self, latency: float, now: float) -> bool:
        """Count a failure; true when it opens the breaker."""
        self.limit = max(1.0, self.limit / 2)
        self.latency += _WEIGHT * (latency - self.latency)
        if now < self.blocked_until:  # was sent before the breaker opened
            return False
        self._failures += 1
        if self._failures < _OPENS_AFTER and not self._opened:
            return False
        self._opened += 1
        self.block(now + min(_LONGEST_BLOCK, 2.0**self._opened) * random.uniform(0.75, 1.0))  # noqa: S311
        return True

    def block(self, until: float) -> None:
        """Send nothing before `until`."""
        self.blocked_until = max(self.blocked_until, until)

    @property
    def idle(self) -> bool:
        """Nothing waits here or is on the way."""
        return not self.queue and not self.flying


class Lanes:
    """All lanes, and the slots they share.

    A request holds one of `in_flight` slots only while it is young: `age` moves the ones older than `slow_after` to a
    count of their own, so that destinations that hang use up neither the slots nor the time of the others.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._young: dict[Item, Lane] = {}
        self.slow = 0
        self.queued = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes.values()))

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def young(self) -> int:
        """Requests on the way that hold a slot."""
        return len(self._young)

    def lane(self, key: str) -> Lane:
        """Return the lane of a destination."""
        found = self._lanes.get(key)
        if found is None:
            found = self._lanes[key] = Lane(key, self._limits)
        return found

    def push(self, lane: Lane, item: Item, now: float, *, first: bool = False) -> None:
        """Queue a task, `first` when it has waited already."""
        item.queued_at = now
        (lane.queue.appendleft if first else lane.queue.append)(item)
        self.queued += 1
        self.offer(lane, now)

    def offer(self, lane: Lane, now: float) -> None:
        """Let the picker consider a lane again after something about it changed."""
        if not lane.offered and lane.ready(now):
            lane.offered = True
            self._ready.append(lane)

    def pick(self, now: float) -> tuple[Lane, Item] | None:
        """Take the next task to send: one of each lane in turn. Nothing when no slot is free or no lane may send."""
        if len(self._young) >= self._limits.in_flight:
            return None
        for _ in range(len(self._ready)):
            lane = self._ready.popleft()
            lane.offered = False
            if lane.slow and self.slow >= self._limits.slow_in_flight:
                continue  # is offered again when one of its requests ends
            if not lane.ready(now):
                continue
            item = lane.queue.popleft()
            self.queued -= 1
            item.started_at = lane.used_at = now
            item.slow = False
            lane.flying[item] = None
            self._young[item] = lane
            self.offer(lane, now)
            return lane, item
        return None

    def excess(self, lane: Lane, now: float) -> Iterator[Item]:
        """Take out, newest first, what would wait too long in a lane. When the queue of all is nearly full, that is soon."""
        full = self.queued > _NEARLY_FULL * self._limits.queue
        fitting = (
            lane.fitting(now, _PRESSED_S, 0)
            if full
            else lane.fitting(now, self._limits.patience, self._limits.lane_floor)
        )
        while len(lane.queue) > fitting:
            self.queued -= 1
            yield lane.queue.pop()

    def aged(self, lane: Lane, before: float) -> Iterator[Item]:
        """Take out what was queued before a moment."""
        while lane.queue and lane.queue[0].queued_at < before:
            self.queued -= 1
            yield lane.queue.popleft()

    def cleared(self, lane: Lane) -> tuple[Item, ...]:
        """Take out everything."""
        waiting = tuple(lane.queue)
        lane.queue.clear()
        self.queued -= len(waiting)
        return waiting

    def landed(self, lane: Lane, item: Item) -> None:
        """Free what a request held."""
        del lane.flying[item]
        if item.slow:
            lane.slow -= 1
            self.slow -= 1
        else:
            del self._young[item]

    def age(self, now: float) -> bool:
        """Move requests that have become slow out of the slots; true when that freed any."""
        moved = []
        for item in self._young:
            if now - item.started_at < self._limits.slow_after:
                break
            moved.append(item)
        for item in moved:
            lane = self._young.pop(item)
            item.slow = True
            lane.slow += 1
            self.slow += 1
        return bool(moved)

    def forget_idle(self, before: float) -> None:
        """Drop lanes that have not been used since `before`."""
        for lane in self:
            if lane.idle and not lane.offered and lane.used_at < before and lane.blocked_until < before:
                del self._lanes[lane.key]
