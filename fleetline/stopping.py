"""How a component that runs in an event loop is told to stop: SIGTERM, or Ctrl-C."""

import asyncio
import signal
from contextlib import suppress


def stop_on_signal() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set, instead of ending the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def stopped_within(stop: asyncio.Event, seconds: float) -> None:
    """Wait until `stop` is set, but not for longer than so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
