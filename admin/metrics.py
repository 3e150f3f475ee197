"""Every metric of the admin API. The name is the contract with dashboards; the comment is the runbook."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin.live import LiveRegistry

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class AdminMetrics:
    """Labels are routes as declared, never ids: paths hold those of tenants and devices."""

    def __init__(self, live: LiveRegistry) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "method")
        # 401: somebody uses a key that was revoked or has expired. 503: Kafka is away, or more is changed than it takes.
        self.requests = Counter(
            "fleetline_admin_requests", "Requests by status", (*labels, "status"), registry=self.registry
        )
        # A change is a Kafka transaction: 15 to 40 ms, those before it added. Above 1 s: import instead of single requests.
        self.seconds = Histogram(
            "fleetline_admin_request_seconds", "Time to answer", labels, buckets=_BUCKETS_S, registry=self.registry
        )
        # 0 while Kafka is away: what is read may be old, changes are refused.
        readable = Gauge("fleetline_admin_registry_fresh", "Whether the registry can be read", registry=self.registry)
        readable.set_function(lambda: int(live.is_read and not live.trouble))
        waiting = Gauge("fleetline_admin_changes_waiting", "Changes that wait or are made", registry=self.registry)
        waiting.set_function(lambda: live.waiting)


class Counted:
    """ASGI: counts and times every request around an application."""

    def __init__(self, app: ASGIApp, metrics: AdminMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path_format", None) or "(none)"
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self._metrics.requests.labels(path, method, str(status)).inc()
        self._metrics.seconds.labels(path, method).observe(seconds)
