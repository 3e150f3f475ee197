"""Our own stack while it is under fault: Kafka killed and started again, components that end brought back."""

import asyncio
import time
from collections.abc import Callable

from fleetline.local.health import heartbeat_file
from fleetline.local.stack import COMPONENTS, Stack

_LOOK_S = 0.25
_PAUSE_S = 0.5
_AWAY_S = 0.5


async def keep_running(stack: Stack, say: Callable[[str], None]) -> None:
    """Start components again that ended, as whatever runs them in production would. Ends when it is cancelled.

    To be run in the main thread: a child dies with the thread that started it.
    """
    due: dict[str, float] = {}
    while True:
        for name in COMPONENTS:
            child = stack.child(name)
            if child.is_running:
                continue
            if name not in due:
                say(f"{name} ended with status {child.exit_status}; starting it again")
                due[name] = time.monotonic() + _PAUSE_S
            elif time.monotonic() >= due[name]:
                del due[name]
                heartbeat_file(stack.settings, name).unlink(missing_ok=True)
                child.start()
        await asyncio.sleep(_LOOK_S)


async def restart_broker(stack: Stack, after_s: float, stopped: asyncio.Event, say: Callable[[str], None]) -> None:
    """Kill Kafka after a while, as a fault would, and start it again at once. Nothing when `stopped` before."""
    try:
        async with asyncio.timeout(after_s):
            await stopped.wait()
        return
    except TimeoutError:
        pass
    killed = time.monotonic()
    stack.kafka.kill()
    await asyncio.sleep(_AWAY_S)
    stack.kafka.start()
    await asyncio.to_thread(stack.kafka.wait_ready)
    say(f"Kafka was killed and answers again {time.monotonic() - killed:.1f} s later")
