"""Every metric of the ingress. The name is the contract with dashboards; the comment is the runbook.

Requests count in plain integers, read when somebody asks: a prometheus_client counter takes a lock each time, and three of
them cost a tenth of a request.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ingress.intake import Intake

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

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._sources: dict[str, SourceCounts] = {}
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
        yield from (requests, size, latency)
        yield from self._durability()

    def _durability(self) -> Iterator[Metric]:
        durable, spool = self._intake.durable, self._intake.spool
        # 1 while the broker is believed reachable.
        yield _gauge("broker_available", "Whether the broker is reachable", int(self._intake.producer.is_available))
        # What waits for the broker's acknowledgement; from half of FLEETLINE_MAX_IN_FLIGHT_BYTES on senders are shed.
        yield _gauge("in_flight_bytes", "Bytes that wait for the broker", durable.in_flight_bytes)
        # Senders told 503 because too much waited. `drops` above 0 is data lost: add replicas, or find out why Kafka is slow.
        shed = CounterMetricFamily("fleetline_ingress_shed", "Requests shed under pressure", labels=["on_failure"])
        for kind, count in durable.shed.items():
            shed.add_metric([kind.value], count)
        yield shed
        if spool is None:
            return
        # Above 0: Kafka is away or was until now. Alert when the oldest waits for longer than an outage you expect.
        yield _gauge("spool_records", "Records that wait on this machine", spool.pending)
        yield _gauge("spool_bytes", "Their bytes; FLEETLINE_SPOOL_MAX_BYTES is the limit", spool.bytes)
        yield _gauge("spool_oldest_seconds", "For how long the spool has not been empty", spool.oldest_s)
        # `refused` above 0 is data lost: the spool was full or its disk failed. `set_aside`: the broker calls them too large; the
        # log says in which file they are and what to do.
        outcomes = CounterMetricFamily("fleetline_ingress_spool", "Records by outcome", labels=["outcome"])
        for outcome in ("spooled", "replayed", "refused", "set_aside"):
            count = getattr(spool, outcome)
            outcomes.add_metric([outcome], count)
        yield outcomes


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fleetline_ingress_{name}", what, value=value)


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
