"""The metrics of the MQTT server, beside those of every ingress. The comment is the runbook."""

from collections import Counter
from collections.abc import Iterator
from enum import Enum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingress.metrics import IngressMetrics
from ingress.mqtt.packets import Reason


class Outcome(Enum):
    """What became of a publish."""

    STORED = "stored"
    REFUSED = "refused"
    """The source's check refused it; told so to a client of MQTT 5."""
    FORBIDDEN = "forbidden"
    UNAUTHORIZED = "unauthorized"
    DEFERRED = "deferred"
    """Over its rate; taken later."""
    NOT_DURABLE = "not_durable"
    FAILED = "failed"


class MqttCounts(Collector):
    """Counts of one process. Used by one event loop only."""

    def __init__(self, metrics: IngressMetrics) -> None:
        self._metrics = metrics
        self._connects: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._publishes: Counter[tuple[int, Outcome]] = Counter()
        self.connections = 0
        metrics.registry.register(self)

    def connected(self, reason: Reason) -> None:
        """Count a CONNECT by its answer."""
        self._connects[reason.name.lower()] += 1

    def ended(self, reason: str) -> None:
        """Count the end of a connection."""
        self._endings[reason] += 1

    def published(self, qos: int, outcome: Outcome) -> None:
        """Count a publish."""
        self._publishes[qos, outcome] += 1

    def stored(self, source: str, size: int, seconds: float) -> None:
        """Count a durable message with the others of its source."""
        self._metrics.of(source).accepted(size, seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        # Clients connected now. A sudden fall to 0 with the process alive: the network before it, or its certificate.
        connections = GaugeMetricFamily("fleetline_mqtt_connections", "Open connections")
        connections.add_metric([], self.connections)
        yield connections
        # not_authorized: wrong or revoked tokens. unsupported_version, malformed: something that is no MQTT client.
        connects = CounterMetricFamily("fleetline_mqtt_connects", "CONNECT by answer", labels=["answer"])
        for answer, count in self._connects.items():
            connects.add_metric([answer], count)
        yield connects
        # quota_exceeded: Kafka is away. keep_alive_timeout: out of reach. taken_over, many: two devices, one client id.
        endings = CounterMetricFamily("fleetline_mqtt_endings", "Connections ended, by reason", labels=["reason"])
        for reason, count in self._endings.items():
            endings.add_metric([reason], count)
        yield endings
        # not_durable with qos 0 is data lost: Kafka is away, the spool full or off. forbidden: a device publishes elsewhere.
        publishes = CounterMetricFamily("fleetline_mqtt_publishes", "Publishes", labels=["qos", "outcome"])
        for (qos, outcome), count in self._publishes.items():
            publishes.add_metric([str(qos), outcome.value], count)
        yield publishes
