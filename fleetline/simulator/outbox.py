"""One queue of one sender: what it holds, what it sends, and what it does with the answer it gets."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fleetline.simulator.account import Account
from fleetline.simulator.expected import Expected
from fleetline.simulator.profile import Outgoing, Profile, Reaction, SimDevice
from fleetline.simulator.wire import Answer

NO_LIMIT = float("inf")


@dataclass(slots=True)
class Item:
    """A reading in its sender's form."""

    device: SimDevice
    written: Any


@dataclass(slots=True)
class Batch:
    """Readings that go out in one request; the request is made once, so that a repetition has the same bytes."""

    items: list[Item]
    outgoing: Outgoing
    records: tuple[Expected, ...] = ()
    tries: int = 0
    has_own_queue: bool = False


Post = Callable[[Batch], Awaitable[Answer]]


class Outbox:
    """Sends until `close`d and empty, or until `abort`ed; what it then still holds is its `size`."""

    def __init__(self, profile: Profile, account: Account, post: Post, longest_pause_s: float = NO_LIMIT) -> None:
        self._profile = profile
        self._behaviour = profile.behaviour
        self._account = account
        self._post = post
        self._longest_pause_s = longest_pause_s
        self._pause_s = min(self._behaviour.pause_s, longest_pause_s)
        self._gather_s = min(self._behaviour.gather_s, longest_pause_s)
        self._pending: deque[Item] = deque()
        self._retry_queues: deque[Batch] = deque()
        self._failed: deque[Batch] = deque()
        self._round: deque[Batch] = deque()
        self._closed = asyncio.Event()
        self._aborted = asyncio.Event()
        self._arrived = asyncio.Event()

    @property
    def sender(self) -> str:
        """Whose queue it is."""
        return self._profile.name

    def put(self, item: Item) -> None:
        """Take a new reading."""
        self._pending.append(item)
        self._arrived.set()

    def close(self) -> None:
        """Take no more; empty the queue as it would be emptied."""
        self._closed.set()
        self._arrived.set()

    def abort(self) -> None:
        """Begin nothing new."""
        self._aborted.set()
        self.close()

    @property
    def size(self) -> int:
        """Readings it holds, those on the way not among them."""
        waiting = sum(len(batch.items) for batch in (*self._retry_queues, *self._failed, *self._round))
        return len(self._pending) + waiting

    async def run(self) -> None:
        """Send until there is nothing left to be sent. Raises what `post` raises."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._behaviour.in_flight):
                    workers.create_task(self._work())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self) -> None:
        while (batch := await self._next()) is not None:
            await self._deliver(batch)

    async def _deliver(self, batch: Batch) -> None:
        """Post a batch until it is acknowledged or this sender turns to something else."""
        pause_s = self._pause_s
        while True:
            answer = await self._post(batch)
            if answer.status in self._behaviour.success:
                return
            reaction = self._behaviour.on_error if answer.status else self._behaviour.on_silence
            batch.tries += bool(answer.status) or reaction is Reaction.DROP
            if reaction is Reaction.DROP and batch.tries >= self._behaviour.tries:
                self._account.dropped += len(batch.items)
                return
            if reaction is Reaction.OWN_QUEUE or batch.has_own_queue:
                self._set_aside(batch)
                return
            if reaction is Reaction.REBATCH or self._aborted.is_set():
                self._pending.extendleft(reversed(batch.items))
                await self._pause(self._pause_s)
                return
            await self._pause(pause_s)
            pause_s = self._next_pause_s(pause_s)
            if self._aborted.is_set():
                self._pending.extendleft(reversed(batch.items))
                return

    def _next_pause_s(self, pause_s: float) -> float:
        longest = max(self._behaviour.pause_s, self._behaviour.longest_pause_s)
        return min(pause_s * 2, longest, self._longest_pause_s)

    def _set_aside(self, batch: Batch) -> None:
        """Give a batch a queue of its own; after its last try it goes to the fail queue, which is never given up here."""
        batch.has_own_queue = True
        (self._failed if batch.tries >= self._behaviour.tries else self._retry_queues).append(batch)

    async def _next(self) -> Batch | None:
        """Return what is sent next: the retry queues in turn with fresh data. Nothing when it is time to end."""
        while not self._aborted.is_set():
            if self._round:
                return self._round.popleft()
            blocked = 0 < self._behaviour.queue_limit <= len(self._retry_queues)
            aside = bool(self._retry_queues or self._failed)
            fresh = None if blocked else await self._fresh(wait=not aside)
            self._begin_round()
            if fresh is not None:
                return fresh
            if not self._round and self._closed.is_set() and not self._pending:
                return None
            if self._round:
                await self._pause(self._pause_s)
        return None

    def _begin_round(self) -> None:
        self._round.extend(self._retry_queues)
        self._round.extend(self._failed)
        self._retry_queues.clear()
        self._failed.clear()

    async def _fresh(self, *, wait: bool) -> Batch | None:
        """Gather readings into a batch; without `wait` only what is there already."""
        while not self._pending:
            if self._closed.is_set() or not wait:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        if self._gather_s and len(self._pending) < self._behaviour.batch and not self._closed.is_set():
            await self._pause(self._gather_s)
        if not self._pending or self._aborted.is_set():
            return None
        items = [self._pending.popleft() for _ in range(min(len(self._pending), self._behaviour.batch))]
        device = items[0].device
        return Batch(items, self._profile.request(device, [item.written for item in items]))

    async def _pause(self, seconds: float) -> None:
        """Wait; an abort, and for gathering a close, ends it early."""
        ends = self._aborted if self._closed.is_set() else self._closed
        try:
            async with asyncio.timeout(seconds):
                await ends.wait()
        except TimeoutError:
            return
