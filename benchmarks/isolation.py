"""What one slow destination costs the others: latency from the task's making to its arrival, 300 tasks/s over 11 destinations.

First all eleven answer at once (the limit), then one of them takes four seconds. The peers'
figures are not from this run: the same experiment on another 2-core machine, Outpost and Svix with 50 slots.
"""

import time
from typing import Any

from benchmarks.webhooks import Rig, percentile, rig

RATE = 300
SECONDS = 15
WARM_UP = 3
"""Seconds at the beginning that do not count."""
DESTINATIONS = 11


def run() -> dict[str, Any]:
    """Measure both and compare."""
    with rig() as made:
        quick = _paced(made, [f"/{number}" for number in range(DESTINATIONS)])
        beside_slow = _paced(made, [*(f"/{number}" for number in range(DESTINATIONS - 1)), "/slow"])
    value, limit = percentile(beside_slow, 0.95), percentile(quick, 0.95)
    return {
        "name": "isolation",
        "value": value,
        "unit": "ms",
        "limit": limit,
        "ratio": value / limit,
        "peers": {"outpost_measured_elsewhere": 22_300, "svix_measured_elsewhere": 11_800},
        "p50": percentile(beside_slow, 0.5),
        "p99": percentile(beside_slow, 0.99),
        "limit_p50": percentile(quick, 0.5),
        "limit_p99": percentile(quick, 0.99),
    }


def _paced(made: Rig, paths: list[str]) -> list[float]:
    """Return the latencies in ms of every task whose destination is not the slow one."""
    destinations = made.destinations(paths)
    producer = made.producer()
    made.reset()
    with made.worker():
        time.sleep(4.0)
        started = time.perf_counter()
        for number in range(RATE * SECONDS):
            time.sleep(max(0.0, started + number / RATE - time.perf_counter()))
            destination = destinations[number % len(destinations)]
            producer.produce(made.settings.topics.deliveries, made.task(destination), destination)
            producer.poll(0)
        producer.flush(10)
        time.sleep(2.0)
        seen = {path: sorted(each) for path, each in made.seen().items() if not path.startswith("/slow")}
    expected = RATE * SECONDS * sum(not path.startswith("/slow") for path in paths) // len(paths)
    arrived = sum(len(each) for each in seen.values())
    if arrived < expected - len(paths):
        raise RuntimeError(f"only {arrived} of {expected} arrived")
    first = min(sent for each in seen.values() for sent, _ in each) + WARM_UP * 1_000_000
    return [(received - sent) / 1000 for each in seen.values() for sent, received in each if sent >= first]
