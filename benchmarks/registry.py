"""The registry in memory: a million devices from a real Kafka topic into one process, then with a credential each.

`value` is devices loaded per second, `limit` the same topic consumed and decoded by nothing but the clients' own code. A device's
bytes are what the process grew by, all told; `peak` was the most it held while it read. `BENCH_DEVICES` takes fewer devices.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fleet import TENANTS, credential, device, tenant_id
from benchmarks.local import servers
from fleetline.settings import Settings
from registry.model import Entry, Tenant, entry_key

DEVICES = 1_000_000
QUEUE = 100_000


def run() -> dict[str, Any]:
    """Write the topic, then measure in fresh processes: bare, with devices alone, with a credential for each."""
    count = int(os.environ.get("BENCH_DEVICES", DEVICES))
    with servers() as settings:
        write(settings, (Tenant(id=tenant_id(each), name=f"Tenant {each}") for each in range(TENANTS)))
        write(settings, (device(each) for each in range(count)))
        limit = count / measured(settings, "bare", count + TENANTS)["seconds"]
        alone = measured(settings, "follow", count)
        write(settings, (credential(each) for each in range(count)))
        both = measured(settings, "follow", count)
    value = count / alone["seconds"]
    return {
        "name": "registry",
        "value": value,
        "unit": "devices/s loaded",
        "limit": limit,
        "ratio": value / limit,
        "peers": {},
        "devices": count,
        **figures("", alone, count),
        **figures("with credentials: ", both, count),
    }


def figures(prefix: str, measured_: dict[str, Any], count: int) -> dict[str, float]:
    """Bring what a process measured into figures per device."""
    return {
        f"{prefix}seconds to load": measured_["seconds"],
        f"{prefix}CPU seconds": measured_["cpu_seconds"],
        f"{prefix}bytes per device": measured_["bytes"] / count,
        f"{prefix}peak bytes per device": measured_["peak_bytes"] / count,
        f"{prefix}microseconds per identify": measured_["lookup_us"],
    }


def write(settings: Settings, entries: Iterable[Entry]) -> None:
    """Put entries into the topic as the store's writer does, only without its checks."""
    from confluent_kafka import Producer

    producer = Producer(
        {
            **settings.kafka_config(),
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 2 * QUEUE,
        }
    )
    topic = settings.topics.registry
    for number, entry in enumerate(entries):
        producer.produce(topic, key=entry_key(entry).encode(), value=msgspec.json.encode(entry))
        if number % 1000 == 0:
            producer.poll(0)
            while len(producer) > QUEUE:
                producer.poll(0.05)
    if producer.flush(60):
        raise RuntimeError("the topic could not be written in time")


def measured(settings: Settings, what: str, count: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "FLEETLINE_DATA": str(settings.data_dir),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "benchmarks.registry_load", what, str(count)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = msgspec.json.decode(done.stdout)
    if what == "follow" and found["devices"] != count:
        raise AssertionError(f"{found['devices']} of {count} devices were loaded")
    return found
