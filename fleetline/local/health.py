"""Liveness by progress: a component touches its file while it works, and whoever watches looks at the file's age.

A consumer can die quietly while its process and its port live on (Faust does), so neither is asked.
"""

import time
from pathlib import Path

from fleetline.settings import Settings

STALE_AFTER_S = 15.0
_AT_MOST_EVERY_S = 1.0


def heartbeat_file(settings: Settings, component: str) -> Path:
    """Return the file a component touches."""
    return settings.data_dir / "run" / f"{component}.alive"


class Heartbeat:
    """Touches the component's file, at most once a second. Call `beat` whenever work went forward, idle loops included."""

    def __init__(self, settings: Settings, component: str) -> None:
        self._file = heartbeat_file(settings, component)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._last = 0.0

    def beat(self) -> None:
        """Note progress."""
        now = time.monotonic()
        if now - self._last >= _AT_MOST_EVERY_S:
            self._last = now
            self._file.touch()


def is_alive(settings: Settings, component: str) -> bool:
    """Tell whether a component made progress lately."""
    try:
        age = time.time() - heartbeat_file(settings, component).stat().st_mtime
    except FileNotFoundError:
        return False
    return age < STALE_AFTER_S
