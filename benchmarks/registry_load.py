"""The process `registry` measures: reads a registry topic as a component does, or barely; prints what it took as JSON."""

import gc
import resource
import sys
import time
from typing import Any

import msgspec
import psutil

from benchmarks.fleet import TENANTS, device, tenant_id
from fleetline.settings import Settings
from registry.follower import RegistryFollower
from registry.model import Device, Entry
from registry.view import Identified, RegistryView
from sources.contract import Identity

PATIENCE_S = 300.0
LOOKUPS = 100_000
AT_ONCE = 1_000
ROUNDS = 3
_SCATTER = 7_919
"""A prime: takes every device, in no order that caches like."""

Question = tuple[str, str, tuple[Identity, ...], str]


def follow(settings: Settings, devices: int) -> dict[str, Any]:
    """Load the registry; bytes are what the process grew by, the client's threads and buffers included."""
    follower = RegistryFollower(settings)
    gc.collect()
    before = psutil.Process().memory_info().rss
    started, cpu = time.perf_counter(), time.process_time()
    follower.start()
    if not follower.wait_caught_up(PATIENCE_S):
        raise RuntimeError("the registry was not read in time")
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    time.sleep(0.5)  # it gives memory back after it has said that it is ready
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    counted = sum(follower.view.count(Device, tenant_id(each)) for each in range(TENANTS))
    entries = len(follower.view)
    asked = lookup_us(follower.view, devices)
    follower.stop()
    return {
        "entries": entries,
        "devices": counted,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "bytes": grown,
        "peak_bytes": peak,
        "lookup_us": asked,
    }


def lookup_us(view: RegistryView, devices: int) -> float:
    """Return what one `identify` costs. The messages have just been read, so they are in the cache; the registry is not."""
    spent = [0.0] * ROUNDS
    for turn in range(ROUNDS):
        for begin in range(0, LOOKUPS, AT_ONCE):
            numbers = [(begin + each) * _SCATTER % devices for each in range(AT_ONCE)]
            questions = [question(number) for number in numbers]
            started = time.process_time()
            found = [view.identify(*each) for each in questions]
            spent[turn] += time.process_time() - started
            if turn == 0:
                check(numbers, found)
    return min(spent) / LOOKUPS * 1e6


def question(number: int) -> Question:
    """Make what a message of a device says: its id of one kind, or nothing but its own credential's device."""
    asked = device(number)
    for kind in ("imei", "serial"):
        if kind in asked.attributes and number % 4:
            return asked.tenant_id, "", (Identity(kind, asked.attributes[kind]),), ""
    return asked.tenant_id, asked.id, (Identity("serial", asked.attributes["serial"]),), ""


def check(numbers: list[int], found: list[Identified]) -> None:
    """Raise when a device was not found, or another one."""
    for number, each in zip(numbers, found, strict=True):
        if each.device_id != device(number).id or each.mismatch:
            raise AssertionError(f"device {number} was taken for {each}")


def bare(settings: Settings, expected: int) -> dict[str, Any]:
    """Consume the same messages and decode them: what no registry in Python can do without."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    decode = msgspec.json.Decoder(Entry).decode
    consumer = Consumer({**settings.kafka_config(), "group.id": "bench-bare", "fetch.queue.backoff.ms": 10})
    started, cpu, read = time.perf_counter(), time.process_time(), 0
    consumer.assign([TopicPartition(settings.topics.registry, 0, OFFSET_BEGINNING)])
    while read < expected:
        for message in consumer.consume(2_000, 1.0):
            if message.error() is None:
                message.key()
                decode(message.value())
                read += 1
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    consumer.close()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def main() -> None:
    """Measure what the command line asks for: `follow` or `bare`, and how many devices or messages there are."""
    measure = {"follow": follow, "bare": bare}[sys.argv[1]]
    print(msgspec.json.encode(measure(Settings(), int(sys.argv[2]))).decode())


if __name__ == "__main__":
    main()
