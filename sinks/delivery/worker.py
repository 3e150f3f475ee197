"""The delivery worker: reads tasks, posts them, tells what became of each."""

import asyncio
import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING

from fleetline.local.health import Heartbeat
from fleetline.stopping import stop_on_signal
from registry.follower import RegistryFollower
from sinks.delivery.endpoint import Directory
from sinks.delivery.engine import Engine
from sinks.delivery.intake import Intake
from sinks.delivery.limits import DEFAULT, Limits
from sinks.delivery.outbox import Outbox
from sinks.delivery.sender import Sender

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

_CATCH_UP_S = 60.0
_GC_THRESHOLDS = (20_000, 20, 50)
"""A delivery makes hundreds of objects that live as long as it does: with Python's defaults the collector takes more
than a quarter of the time, looking through them in vain."""
_POLLED_WITHIN_S = 90.0


def serve(settings: "Settings") -> None:
    """Deliver until SIGTERM or SIGINT: intake stops at once, what is on the way gets a few seconds.

    At least once: a task's offset is committed after its effects are acknowledged. Raises RuntimeError when the worker
    cannot go on; a supervisor then starts it anew, and nothing is lost.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    asyncio.run(_serve(settings))


async def _serve(settings: "Settings") -> None:
    stop = stop_on_signal()
    follower = RegistryFollower(settings)
    follower.start()
    try:
        deadline = time.monotonic() + _CATCH_UP_S
        while not stop.is_set() and not await asyncio.to_thread(follower.wait_caught_up, 0.5):
            if follower.failed is not None or time.monotonic() > deadline:
                raise RuntimeError("the registry cannot be read; nothing can be delivered")
        await deliver(settings, follower.view, stop, follower=follower)
    finally:
        await asyncio.to_thread(follower.stop)


async def deliver(
    settings: "Settings",
    directory: Directory,
    stop: asyncio.Event,
    *,
    limits: Limits = DEFAULT,
    follower: RegistryFollower | None = None,
) -> None:
    """Deliver to the destinations of `directory` until `stop` is set. Raises RuntimeError when it cannot go on."""
    fatal: list[Exception] = []

    def failed(error: Exception) -> None:
        fatal.append(error)
        stop.set()

    async with Sender(settings, limits) as sender:
        outbox = Outbox(settings, failed)
        engine = Engine(settings, limits, directory, sender, outbox, lambda: intake.count_finished())  # noqa: PLW0108  made after it
        intake = Intake(
            settings,
            limits,
            queued=lambda: engine.queued,
            take=engine.take,
            assigned=engine.assigned,
            release=engine.release,
            lose=engine.lose,
        )
        intake.start()
        tending = asyncio.create_task(engine.tend())
        try:
            await _watch(settings, limits, engine, intake, stop, tending, follower)
        finally:
            await intake.stop()
            left = await engine.drain()
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)
            await asyncio.to_thread(intake.commit, left, wait=True)
            await asyncio.to_thread(intake.close)
    if fatal:
        raise RuntimeError(f"delivery cannot go on: {fatal[0]}") from fatal[0]


async def _watch(
    settings: "Settings",
    limits: Limits,
    engine: Engine,
    intake: Intake,
    stop: asyncio.Event,
    tending: "asyncio.Task[None]",
    follower: RegistryFollower | None,
) -> None:
    """Commit what is finished, and show a sign of life while every part works."""
    heartbeat = Heartbeat(settings, "delivery")
    committed: dict[object, object] = {}
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), limits.commit_every)
        if intake.failed is not None:
            raise RuntimeError("deliveries cannot be read") from intake.failed
        if follower is not None and follower.failed is not None:
            raise RuntimeError("the registry is no longer followed") from follower.failed
        if tending.done():
            raise RuntimeError("upkeep ended") from tending.exception()
        news = [each for each in engine.positions() if committed.get(each[0]) != each[1:]]
        intake.commit(news)
        committed.update((each[0], each[1:]) for each in news)
        if time.monotonic() - intake.polled_at < _POLLED_WITHIN_S:
            heartbeat.beat()
