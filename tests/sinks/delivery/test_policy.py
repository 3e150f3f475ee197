"""What each answer means, and when the next attempt is."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.policy import (
    BUDGET,
    LONGEST_DELAY,
    MOST_PAUSES,
    SHORT_BUDGET,
    TIERS,
    Kind,
    Result,
    backoff,
    judge,
    parse_retry_after,
    tier_for,
)


def verdict(kind: Kind = Kind.ANSWERED, charged: int = 0, paused: int = 0, **result: Any) -> Any:
    return judge(Result(kind=kind, **result), charged, paused, age=1.0)


@given(st.integers(200, 299))
def test_any_2xx_is_delivered(status: int) -> None:
    assert verdict(status=status).outcome == "delivered"


@given(st.integers(100, 599).filter(lambda status: not 200 <= status < 300))
def test_nothing_else_is_delivered(status: int) -> None:
    assert verdict(status=status).outcome != "delivered"


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.FAILED])
def test_an_incomplete_exchange_is_no_delivery_whatever_its_status(kind: Kind) -> None:
    assert verdict(kind, status=200).outcome == "retry"
    assert verdict(kind, status=410).outcome == "retry"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_is_repeated_up_to_the_long_budget(status: int) -> None:
    assert verdict(status=status, charged=BUDGET - 2).outcome == "retry"
    last = verdict(status=status, charged=BUDGET - 1)
    assert (last.outcome, last.reason) == ("dead", "exhausted")
    assert last.trouble


@pytest.mark.parametrize("status", [300, 307, 400, 401, 403, 404, 422])
def test_a_refusal_has_a_short_budget_and_does_not_open_the_breaker(status: int) -> None:
    assert verdict(status=status, charged=SHORT_BUDGET - 2).outcome == "retry"
    last = verdict(status=status, charged=SHORT_BUDGET - 1)
    assert (last.outcome, last.reason, last.trouble) == ("dead", "refused", False)


def test_gone_and_blocked_end_at_once() -> None:
    assert verdict(status=410).reason == "gone"
    assert verdict(Kind.BLOCKED).reason == "blocked"
    assert verdict(Kind.UNUSABLE).reason == "unusable"


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_pauses_the_destination_and_costs_no_attempt(status: int) -> None:
    asked = verdict(status=status, retry_after=120.0, charged=BUDGET - 1)
    assert (asked.outcome, asked.delay, asked.pause, asked.charged) == ("retry", 120.0, 120.0, False)
    assert verdict(status=status, retry_after=1e9).delay == LONGEST_DELAY
    assert verdict(status=status, retry_after=0.0).charged, "or a task would be sent again without end"
    assert verdict(status=status, retry_after=60.0, paused=MOST_PAUSES).charged
    assert judge(Result(kind=Kind.ANSWERED, status=status, retry_after=60.0), 0, 0, age=1e6).charged


@given(st.integers(0, 10_000))
def test_the_delay_is_jittered_below_a_capped_exponential(charged: int) -> None:
    assert 0.05 <= backoff(charged) <= min(LONGEST_DELAY, 4.0 ** min(charged, 20))


def test_the_first_retries_come_within_seconds() -> None:
    assert max(backoff(0) for _ in range(200)) <= 1.0
    assert max(backoff(1) for _ in range(200)) <= 4.0
    assert len({backoff(3) for _ in range(50)}) > 40


@given(st.floats(0, 1e6), st.integers(0, 20))
def test_a_tier_never_overshoots_but_for_the_shortest_and_the_parked(remaining: float, parked: int) -> None:
    seconds = dict(TIERS)[tier_for(remaining, parked)]
    shortest = TIERS[min(parked // 3, 3)][1]
    assert seconds <= max(remaining, shortest)
    assert all(seconds >= each for _, each in TIERS if each <= remaining), "no needless hops"


@pytest.mark.parametrize(("text", "seconds"), [("120", 120), (" 3 ", 3), ("0", 0), ("9" * 40, 1e9)])
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert parse_retry_after(text) == seconds


def test_retry_after_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert parse_retry_after(soon) == pytest.approx(100, abs=3)
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@given(st.text(max_size=40))
def test_any_other_retry_after_is_ignored(text: str) -> None:
    found = parse_retry_after(text)
    assert found is None or found >= 0


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "1.5", "²", "1e3"])
def test_retry_after_that_makes_no_sense(text: str | None) -> None:
    assert parse_retry_after(text) is None
