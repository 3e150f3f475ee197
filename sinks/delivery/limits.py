"""Every bound of the delivery worker in one place."""

from dataclasses import dataclass
from typing import Final

SECONDS_PER = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in bytes. The defaults are what a worker runs with; tests shorten them."""

    window: int = 8000
    """Tasks in memory: more than all that may be slow, held and queued together."""
    queue: int = 1000
    """Tasks queued in lanes. At this or `window` the worker stops reading, until the next one is sent or put off. Few:
    what waits in memory is repeated after a crash, and makes every delivery slower."""
    span: int = 20_000
    """Offsets between the oldest open task of a partition and the newest; older ones are then put off to a tier."""
    in_flight: int = 512
    """Requests on the way that are younger than `slow_after`."""
    slow_after: float = 1.0
    slow_in_flight: int = 1024
    """Requests older than `slow_after`: they no longer use up `in_flight`, so waiting for some never delays others."""
    per_destination: int = 64
    """Most requests to one destination at a time; each starts at `first_limit` and grows with every success."""
    first_limit: int = 4
    patience: float = 3.0
    """Expected wait in a destination's lane beyond which its tasks go to a retry tier instead."""
    lane_floor: int = 32
    """Tasks a lane holds however slow its destination is, as long as the queue of all is not nearly full."""
    lane_age: float = 30.0
    """Longest stay in a lane."""
    hold: float = 10.0
    """Longest wait for the next attempt spent in memory; longer ones are spent in a tier."""
    held: int = 1000
    """Tasks waiting in memory for their next attempt."""
    lookup_grace: float = 3.0
    """How long an unknown destination may take to show up in the registry view: the router's may be ahead of ours."""

    deadline: float = 15.0
    """For the whole exchange: name, connection, request, and the body of the answer."""
    connect: float = 3.0
    lookup: float = 2.0
    answer_bytes: int = 16 * 1024
    excerpt_bytes: int = 1024

    drain: float = 4.0
    """After SIGTERM: time for what is on the way to finish."""
    commit_every: float = 0.1
    unacknowledged: int = 512
    """Attempts whose records the broker has not acknowledged. Beyond it nothing is sent: a crash would repeat them."""


DEFAULT: Final = Limits()


def tier_seconds(tier: str) -> int:
    """Read the delay of a retry tier: `10s`, `5m`, `2h`."""
    return int(tier[:-1]) * SECONDS_PER[tier[-1]]
