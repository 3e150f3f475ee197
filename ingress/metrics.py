"""Every metric of the ingress. The name is the contract with dashboards; the comment is the runbook.

Requests count in plain integers, read when somebody asks: a prometheus_client counter takes a lock each time, and three of
them cost a tenth of a request.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0)


class SourceCounts:
    """One source's counts. Used by one event loop only."""

    __slots__ = ("accepted_bytes", "latency_s", "statuses", "within")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.accepted_bytes = 0
        self.latency_s = 0.0
        self.within = [0] * (len(BUCKETS_S) + 1)

    def accepted(self, size: int, seconds: float) -> None:
        """Count a durable request."""
        statuses = self.statuses
        statuses[200] = statuses.get(200, 0) + 1
        self.accepted_bytes += size
        self.latency_s += seconds
        bucket = 0
        while bucket < len(BUCKETS_S) and seconds > BUCKETS_S[bucket]:
            bucket += 1
        self.within[bucket] += 1

    def refused(self, status: int) -> None:
        """Count a request that was answered otherwise."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


class IngressMetrics(Collector):
    """The counts of all sources, as Prometheus reads them."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceCounts] = {}
        self.broker_available = True
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def of(self, source: str) -> SourceCounts:
        """Return a source's counts, shared by all its routes."""
        return self._sources.setdefault(source, SourceCounts())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        # Requests by source and status. 401 of a known source that used to work: its credential was rotated on one side only.
        # 503: Kafka is away or too slow; senders that re-send will, the others lose data for as long as it lasts.
        requests = CounterMetricFamily("fleetline_ingress_requests", "Requests by status", labels=["source", "status"])
        # Durable bytes after decompression: what Kafka has to hold.
        size = CounterMetricFamily("fleetline_ingress_accepted_bytes", "Durable bytes", labels=["source"])
        # Time from the first byte of a request to its 200. Two networks give up at 5 s: alert at p99.9 > 1 s.
        latency = HistogramMetricFamily(
            "fleetline_ingress_acknowledgement_seconds", "Time until durable", labels=["source"]
        )
        for name, counts in self._sources.items():
            for status, count in counts.statuses.items():
                requests.add_metric([name, str(status)], count)
            size.add_metric([name], counts.accepted_bytes)
            latency.add_metric([name], _cumulative(counts.within), counts.latency_s)
        # 1 while the broker is believed reachable.
        broker = GaugeMetricFamily("fleetline_ingress_broker_available", "Whether the broker is reachable")
        broker.add_metric([], int(self.broker_available))
        yield from (requests, size, latency, broker)


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
