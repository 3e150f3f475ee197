"""Every metric of the ingress. The name is the contract with dashboards; the comment is the runbook."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

# Requests by source and status. 401 of a known source that used to work: its credential was rotated on one side only.
# 503: Kafka is away or too slow; senders that re-send will, the others lose data as long as it lasts.
REQUESTS = Counter("fleetline_ingress_requests", "Requests by outcome", ["source", "status"], registry=REGISTRY)

# Accepted bytes after decompression, by source: what Kafka has to hold.
ACCEPTED_BYTES = Counter("fleetline_ingress_accepted_bytes", "Durable bytes", ["source"], registry=REGISTRY)

# Time from the first byte of a request to its 200. Two networks give up at 5 s: alert at p99.9 > 1 s.
ACKNOWLEDGEMENT = Histogram(
    "fleetline_ingress_acknowledgement_seconds",
    "Time until durable",
    ["source"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 5),
    registry=REGISTRY,
)

# 1 while the broker is believed reachable.
BROKER = Gauge("fleetline_ingress_broker_available", "Whether the broker is reachable", registry=REGISTRY)
