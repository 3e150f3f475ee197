"""What an answer, or the lack of one, means: delivered, tried again and when, or given up. Pure functions."""

import email.utils
import random
from dataclasses import dataclass
from enum import Enum

from schemas.times import now_us
from schemas.topics import RETRY_TIERS
from sinks.delivery.limits import tier_seconds
from sinks.delivery.task import Outcome

BUDGET = 16
"""Attempts of a task whose destination is in trouble: with the delays below about a day, two at most."""
SHORT_BUDGET = 6
"""Attempts of a task that is refused (3xx, 4xx): a minute or two, for a receiver that is just being put right."""
LONGEST_DELAY = 6 * 3600.0
LONGEST_AGE = 3 * 86_400.0
MOST_PAUSES = 50
"""How often, and up to what age, Retry-After may put a task off without the attempt being charged."""
_FACTOR = 4.0
_SHORTEST_DELAY = 0.05

TIERS: tuple[tuple[str, int], ...] = tuple((tier, tier_seconds(tier)) for tier in RETRY_TIERS)
_PARKED_AT_MOST = 3
"""Index of the longest tier a task is put in when its lane is full: nobody has refused it yet."""


class Kind(Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    """The deadline passed, wherever in the exchange."""
    FAILED = "failed"
    """No name, no connection, no TLS, or the connection broke."""
    BLOCKED = "blocked"
    """The guard forbids the address."""
    UNUSABLE = "unusable"
    """The destination itself cannot be used: no such URL or header, or it does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One exchange with a destination. `retry_after` in seconds, when the receiver named one."""

    kind: Kind
    status: int | None = None
    error: str | None = None
    excerpt: str = ""
    retry_after: float | None = None
    started_us: int = 0
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a result.

    `delay`: seconds until the task's next attempt. `pause`: seconds the whole destination asks to be left alone.
    `charged`: the attempt counts against the budget. `trouble`: it counts for the circuit breaker.
    """

    outcome: Outcome
    reason: str = ""
    delay: float = 0.0
    pause: float = 0.0
    charged: bool = True
    trouble: bool = False


def judge(result: Result, charged: int, paused: int, age: float) -> Verdict:
    """Decide about a task `age` seconds old that has `charged` attempts behind it, and `paused` that were not charged."""
    status = result.status
    answered = result.kind is Kind.ANSWERED and status is not None
    if answered and status is not None and 200 <= status < 300:
        return Verdict(outcome="delivered")
    if result.kind in (Kind.BLOCKED, Kind.UNUSABLE):
        return Verdict(outcome="dead", reason=result.kind.value)
    if answered and status == 410:
        return Verdict(outcome="dead", reason="gone")
    asked = result.retry_after or 0.0
    if answered and status in (429, 503) and asked >= 1 and paused < MOST_PAUSES and age < LONGEST_AGE:
        pause = min(asked, LONGEST_DELAY)
        return Verdict(outcome="retry", delay=pause, pause=pause, charged=False)
    refused = answered and status is not None and 300 <= status < 500 and status not in (408, 425, 429)
    if charged + 1 >= (SHORT_BUDGET if refused else BUDGET):
        return Verdict(outcome="dead", reason="refused" if refused else "exhausted", trouble=not refused)
    return Verdict(outcome="retry", delay=backoff(charged), trouble=not refused)


def backoff(charged: int) -> float:
    """Return seconds until the next attempt: full jitter below 1 s × 4ⁿ, capped at six hours."""
    ceiling: float = min(LONGEST_DELAY, _FACTOR ** min(charged, 16))
    return max(_SHORTEST_DELAY, random.uniform(0.0, ceiling))  # noqa: S311  spreads load, guards no secret


def tier_for(remaining: float, parked: int = 0) -> str:
    """Choose the longest tier not longer than `remaining` seconds, but the shortest at least.

    A task that was `parked` before goes to longer tiers, so that a backlog is not read over and over.
    """
    index = min(parked // 3, _PARKED_AT_MOST)
    while index + 1 < len(TIERS) and TIERS[index + 1][1] <= remaining:
        index += 1
    return TIERS[index][0]


def parse_retry_after(text: str | None) -> float | None:
    """Read a Retry-After header (RFC 9110: seconds or a date) as seconds from now; nothing when it makes no sense."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), 10**9))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - now_us() / 1e6)
