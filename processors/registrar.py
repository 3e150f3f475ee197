"""Auto-registration: makes the devices of senders that wait in `unmapped`, for tenants that want it.

The release then sends their records on as it does when a person has made a device: in order, once.

The store works on the view the worker follows the registry with anyway. Measured with 150,000 devices: 6 MB and 0.1 s to the
first device; a store with a view of its own took 100 MB more in each worker, and 4 s.
"""

import logging
import random
import threading
from collections.abc import Callable
from itertools import islice

from fleetline.settings import Settings
from processors.registration import Outcome, is_wanted, register
from processors.sender import parse_sender
from registry.errors import RegistryError
from registry.follower import RegistryFollower
from registry.store import RegistryStore
from schemas.times import DAY_US, now_us

log = logging.getLogger(__name__)

ACTOR = "auto-registration"
BATCH = 1_000
"""Devices in one transaction."""
_REST_S = 1.0
"""From one transaction to the next at least: each makes whoever else is about to change the registry begin anew."""
_LONGEST_PAUSE_S = 60.0
_IDLE_S = 60.0
"""After it the connections to the broker are let go."""
_STOP_S = 20.0
_REMEMBERED = 100_000
NOTHING = Outcome(0, [], [])


class Registrar:
    """A thread that turns offered senders into devices, some at a time. One per worker; any number may work on one registry.

    Guarantee: of several workers, or of a worker and a person, exactly one makes a device. What fails is tried again, ever less
    often, and never ends the worker: until then the records wait. `tell` is called with a tenant whose senders should be looked
    for again.
    """

    def __init__(
        self, settings: Settings, follower: RegistryFollower, tell: Callable[[str], None] | None = None
    ) -> None:
        self._view = follower.view
        self._store = RegistryStore(settings, ACTOR, follower)
        self._limit = settings.auto_register_limit
        self._tell = tell or (lambda _: None)
        self._lock = threading.Lock()
        self._waiting: dict[bytes, None] = {}
        """Headers, in the order they were offered; the release lists the same ones, so they cost little."""
        self._refused: set[bytes] = set()
        self._full: dict[str, int] = {}
        """Tenant -> the day on which it had all its devices."""
        self._failures = 0
        self._stopping = threading.Event()
        self._offered = threading.Event()
        self._thread = threading.Thread(target=self._run, name=ACTOR, daemon=True)

    def start(self) -> None:
        """Start; returns at once. Nothing connects to the broker before there is a device to make."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. A transaction under way is waited for, else all readers would wait for its timeout."""
        self._stopping.set()
        self._offered.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self._store.close()

    def offer(self, header: bytes) -> None:
        """Take a sender that waits, as its header. Called by the thread of the release, so it is quick."""
        if header in self._waiting or header in self._refused:
            return
        sender = parse_sender(header)
        if sender.tenant_id in self._full or not is_wanted(sender, self._view):
            return
        with self._lock:
            self._waiting[header] = None
        self._offered.set()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._begin_day(now_us() // DAY_US)
            if self._waiting:
                self._stopping.wait(self.step())
            elif not self._offered.wait(_IDLE_S):
                self._store.close()
            self._offered.clear()

    def step(self) -> float:
        """Make the devices of one batch; return for how many seconds to rest after it."""
        with self._lock:
            headers = tuple(islice(self._waiting, BATCH))
        batch = [sender for sender in map(parse_sender, headers) if sender.tenant_id not in self._full]
        day = now_us() // DAY_US
        try:
            outcome = self._store.change(lambda draft: register(draft, batch, day, self._limit)) if batch else NOTHING
        except Exception as error:  # noqa: BLE001  whatever it is: the records wait, and the worker has other things to do
            return self._failed(error)
        self._failures = 0
        with self._lock:
            for header in headers:
                del self._waiting[header]
        self._report(outcome, day)
        return _around(_REST_S) if batch else 0.0

    def _failed(self, error: Exception) -> float:
        pause = _around(min(_REST_S * (1 << self._failures), _LONGEST_PAUSE_S))
        self._failures = min(self._failures + 1, 10)
        unexpected = not isinstance(error, RegistryError)
        log.warning(
            "no devices could be made for %d unknown senders; again in %.0f s: %s",
            *(len(self._waiting), pause, error),
            exc_info=unexpected,
        )
        return pause

    def _report(self, outcome: Outcome, day: int) -> None:
        if outcome.created:
            log.info("%d devices made for unknown senders; %d more wait", outcome.created, len(self._waiting))
        if outcome.refused:
            sender, reason = outcome.refused[0]
            log.warning(
                "%d unknown senders get no device by themselves and wait, the first is %.100r of %s, tenant %s: %s",
                *(len(outcome.refused), sender.source_device, sender.source, sender.tenant_id, reason),
            )
            if len(self._refused) + len(outcome.refused) > _REMEMBERED:
                self._refused = set()
            self._refused.update(sender.header() for sender, _ in outcome.refused)
        for tenant_id in {sender.tenant_id for sender in outcome.over_limit}:
            self._full[tenant_id] = day
            log.warning(
                "tenant %s: all %d devices that may be made today were; its other unknown senders wait until midnight UTC, "
                "or until somebody creates their devices (fleetline unmapped)",
                *(tenant_id, self._limit),
            )

    def _begin_day(self, day: int) -> None:
        over = [tenant for tenant, full_on in self._full.items() if full_on != day]
        for tenant in over:
            del self._full[tenant]
            self._tell(tenant)
        if over:
            self._refused = set()


def _around(seconds: float) -> float:
    """Stretch a pause by chance: workers that got in each other's way must not meet again."""
    return seconds * (1 + random.random() / 2)  # noqa: S311  no secret
