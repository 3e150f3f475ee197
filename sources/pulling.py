"""What a pull connector is, and what it is given: the vendor's half knows the platform, the runner's half Kafka.

A source names the module of its connector in `Source.pull`. `ingress.pulling` imports it, calls `configure`, and then
`run` with a `PullSession` until the process is told to stop.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from sources.contract import Request

PULLED = "pull"
"""`Request.transport` of everything a connector fetched."""


class Account(Protocol):
    """What `configure` returns: the vendor's own settings, for one account."""

    @property
    def credential(self) -> str:
        """Id of the credential, and so the tenant, that everything fetched belongs to. Empty: nobody chose one."""


class PullSession(Protocol):
    """What the runner does for a connector. Used from one event loop."""

    async def load(self) -> bytes:
        """Return what was saved last for this source and credential, by whichever process; nothing the first time."""

    async def save(self, state: bytes) -> None:
        """Keep a state; returns once it is durable. It must not promise what `deliver` has not returned from."""

    async def deliver(self, path: str, body: bytes) -> None:
        """Store one body in the raw topic as if it had been posted; returns once it is durable.

        `path` says where it was fetched. While Kafka is away it waits, for as long as that takes: the platform keeps the
        data. At least once: a body that was cancelled may be stored all the same.
        """

    def received(self, since_us: int) -> AsyncIterator[Sequence[Request]]:
        """Read what the raw topic holds of this tenant, whatever transport brought it, up to its present end.

        The first time from `since_us` on (time of reception), then from where the last reading ended. In batches.
        """

    def beat(self) -> None:
        """Say that the connector works or waits on purpose. At least every minute, or the process counts as dead."""

    def count(self, what: str, number: int = 1) -> None:
        """Add to the metric `fleetline_pull_items_total{source, what}`."""

    def level(self, what: str, value: float) -> None:
        """Set the metric `fleetline_pull_level{source, what}`."""


class Connector(Protocol):
    """A module that can be named in `Source.pull`."""

    def configure(self) -> Account:
        """Read the vendor's settings from the environment. Raises PullStopped when they are not usable."""

    async def run(self, account: Any, session: PullSession) -> None:
        """Fetch until cancelled. Raises PullStopped when it cannot go on; anything else is a mistake."""
