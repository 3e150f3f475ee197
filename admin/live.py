"""The registry as the admin API has it: one view, read in the event loop, kept fresh and changed in threads."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from fleetline.settings import Settings
from registry.draft import Draft
from registry.errors import RegistryUnavailable
from registry.store import RegistryStore
from registry.view import RegistryView

T = TypeVar("T")

log = logging.getLogger(__name__)

REFRESH_S = 0.1
"""How often what others wrote is read. Own changes can be seen as soon as they are answered."""
_AWAY = 2
"""Failures in a row after which Kafka is taken to be away: a slow moment is none."""
MOST_WAITING = 200
"""Changes that may wait for their turn; each takes some 30 ms. More are told 503."""


class LiveRegistry:
    """Reads go on with the last known view while Kafka is away; changes then fail at once.

    `view` is whole at any moment: one that is read anew, because the topic was recreated, takes its place only once it has
    been read to its end. It changes while it is read, by one thread at a time, as `RegistryView` allows.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = RegistryStore(settings)
        self._view: RegistryView | None = None
        self._trouble = ""
        self._failures = 0
        self._waiting = 0
        self._turn: anyio.CapacityLimiter | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="registry", daemon=True)
        self.failed: Exception | None = None
        """What ended the following, which cannot pass by itself: the process must end, or it would answer from the past."""

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, once a change under way is done."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._store.close()

    @property
    def is_read(self) -> bool:
        """Whether the registry has been read to its end once."""
        return self._view is not None

    @property
    def trouble(self) -> str:
        """Why the registry can neither be refreshed nor changed now; empty while all is well."""
        return self._trouble

    @property
    def waiting(self) -> int:
        """How many changes wait or are under way."""
        return self._waiting

    @property
    def view(self) -> RegistryView:
        """The registry in memory. Raises RegistryUnavailable before it has been read."""
        if self._view is None:
            raise RegistryUnavailable(self._trouble or "the registry has not been read yet")
        return self._view

    async def change(self, plan: Callable[[Draft], T], actor: str) -> T:
        """Make a change once those before it are made; see `RegistryStore.change`. Visible in `view` when it returns."""
        if self._waiting >= MOST_WAITING:
            raise RegistryUnavailable(f"{self._waiting} changes wait already")
        if self._turn is None:
            self._turn = anyio.CapacityLimiter(1)  # first come, first served; belongs to the loop that asks
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(self._change, plan, actor, limiter=self._turn)
        finally:
            self._waiting -= 1

    def _change(self, plan: Callable[[Draft], T], actor: str) -> T:
        if self._failures >= _AWAY:  # or everybody would wait for the same timeout, one after the other
            raise RegistryUnavailable(self._trouble)
        seen: list[RegistryView] = []

        def planned(draft: Draft) -> T:
            seen[:] = [draft.view]
            return plan(draft)

        try:
            made = self._store.change(planned, actor)
        except RegistryUnavailable as error:
            self._trouble = str(error)
            self._failures += 1
            raise
        self._view = seen[0]
        return made

    def _follow(self) -> None:
        try:
            while not self._stopping.wait(REFRESH_S if self.is_read else 0):
                self._refresh()
        except Exception as error:
            self.failed = error
            log.exception("the registry is no longer followed; this component must be restarted")

    def _refresh(self) -> None:
        try:
            self._view = self._store.refresh()
        except RegistryUnavailable as error:
            if not self._trouble:
                log.warning("%s", error)
            self._trouble = str(error)
            self._failures += 1
            self._stopping.wait(REFRESH_S)
            return
        if self._trouble:
            log.warning("the registry can be reached again")
        self._trouble, self._failures = "", 0


class Blocking:
    """The registry for code that waits, run in a worker thread of anyio's: what an import needs of a `RegistryStore`.

    Its changes take their turn with everybody else's, so a long import holds nobody up for longer than one of its chunks.
    """

    def __init__(self, live: LiveRegistry) -> None:
        self._live = live

    def change(self, plan: Callable[[Draft], T], actor: str = "") -> T:
        """Make a change; see `LiveRegistry.change`."""
        return anyio.from_thread.run(self._live.change, plan, actor)

    def refresh(self) -> RegistryView:
        """Return the view, at most `REFRESH_S` old."""
        return self._live.view
