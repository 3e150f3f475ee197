"""Rates: per credential and tenant, with credit for silence, and never for senders that cannot send again first."""

import pytest

from fleetline.settings import Settings
from ingress.errors import TooManyRequests
from ingress.limits import RateLimit, RateLimits
from registry.model import Credential


def credential(name: str, tenant: str = "t") -> Credential:
    return Credential(id=name, tenant_id=tenant, source="flespi", digest="")


def test_a_key_may_burst_its_credit_and_then_its_rate() -> None:
    limit = RateLimit(10, 5)
    taken = [limit.take("a", 100.0) for _ in range(60)]
    assert taken.count(0.0) == 51  # 5 s of credit and the request that is due now
    assert limit.take("a", 100.05) > 0
    assert limit.take("a", 100.11) == 0
    assert limit.take("b", 100.0) == 0


def test_silence_earns_credit_again() -> None:
    limit = RateLimit(10, 5)
    while limit.take("a", 100.0) == 0:
        pass
    assert [limit.take("a", 102.0) for _ in range(25)].count(0.0) == 20
    while limit.take("a", 300.0) == 0:
        pass
    assert limit.take("a", 300.0) == pytest.approx(0.1, abs=0.01)


def test_no_rate_is_no_limit() -> None:
    limit = RateLimit(0, 5)
    assert not any(limit.take("a", 1.0) for _ in range(10_000))


def test_a_tenant_is_limited_over_all_its_credentials() -> None:
    limits = RateLimits(Settings(rate_limit_credential=0, rate_limit_tenant=10, rate_limit_credit_s=0.5))
    for number in range(6):
        limits.admit(credential(f"c{number}"))
    with pytest.raises(TooManyRequests) as refused:
        limits.admit(credential("c7"))
    assert refused.value.retry_after_s == 1
    limits.admit(credential("c", tenant="other"))
