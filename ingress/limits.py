"""How much one credential and one tenant may send: never an address, for one address may carry a whole fleet.

Silence earns credit: a fleet that was out of reach for an hour may deliver that hour at once (`rate_limit_credit_s`). Counted
per process; with N replicas behind a balancer the limit is N times as high.
"""

import time

from fleetline.settings import Settings
from ingress.errors import TooManyRequests
from registry.model import Credential

_NEVER = float("-inf")


class RateLimit:
    """One rate with credit, kept per key as a single number (generic cell rate algorithm)."""

    __slots__ = ("_credit_s", "_due", "_interval_s")

    def __init__(self, per_second: float, credit_s: float) -> None:
        self._interval_s = 1 / per_second if per_second > 0 else 0.0
        self._credit_s = credit_s
        self._due: dict[str, float] = {}

    def take(self, key: str, now: float) -> float:
        """Count one request of `key`; return 0, or the seconds until the next one may come (then it did not count)."""
        if not self._interval_s:
            return 0.0
        due = max(self._due.get(key, _NEVER), now - self._credit_s) + self._interval_s
        if due > now + self._interval_s:
            return due - now
        self._due[key] = due
        return 0.0


class RateLimits:
    """The limits of one process."""

    def __init__(self, settings: Settings) -> None:
        self._credentials = RateLimit(settings.rate_limit_credential, settings.rate_limit_credit_s)
        self._tenants = RateLimit(settings.rate_limit_tenant, settings.rate_limit_credit_s)

    def admit(self, credential: Credential) -> None:
        """Count one request. Raises TooManyRequests, which says when to come again."""
        now = time.monotonic()
        wait_s = self._credentials.take(credential.id, now) or self._tenants.take(credential.tenant_id, now)
        if wait_s:
            raise TooManyRequests(wait_s)
