"""What the delivery benchmarks share: a broker, a receiver in a process of its own, destinations, tasks."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import orjson

from fleetline.kafka_admin import ensure_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.store import RegistryStore
from schemas.ids import new_id
from schemas.times import now_us

SLOW_ANSWER_S = 4.0
_SENT = re.compile(rb'"sent_us":(\d+)')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Receiver(asyncio.Protocol):
    """Answers every POST with 200 and notes when it came; `/slow…` after four seconds; `GET /stats` tells, `/reset` forgets."""

    seen: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012  one receiver per process

    def __init__(self) -> None:
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(data) < whole:
                break
            self._answer(data[:end].split(b" ", 2)[1].decode(), data[end + 4 : whole])
            data = data[whole:]
        self._rest = data

    def _answer(self, path: str, body: bytes) -> None:
        assert self._transport is not None
        if path == "/stats":
            told = orjson.dumps(self.seen)
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
            return
        if path == "/reset":
            self.seen.clear()
            self._transport.write(_OK)
            return
        sent = _SENT.search(body)
        self.seen.setdefault(path, []).append((int(sent[1]) if sent else 0, now_us()))
        if path.startswith("/slow"):
            asyncio.get_running_loop().call_later(SLOW_ANSWER_S, self._transport.write, _OK)
        else:
            self._transport.write(_OK)


async def _receive(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


@dataclass
class Rig:
    """Everything around the worker."""

    settings: Settings
    receiver: str
    tenant: str = ""

    def destinations(self, paths: Sequence[str]) -> list[str]:
        """Register a tenant with one webhook per path."""
        with RegistryStore(self.settings) as store:
            tenant = store.create_tenant(f"Bench {new_id()[-6:]}")
            self.tenant = tenant.id
            return [store.create_destination(tenant.id, "webhook", f"{self.receiver}{path}").id for path in paths]

    def task(self, destination: str) -> bytes:
        """Make a task of about 1 kB that carries the time it was made."""
        return orjson.dumps(make_task(destination, self.tenant))

    def seen(self) -> dict[str, list[list[int]]]:
        """Return (sent, received) in µs by path."""
        seen: dict[str, list[list[int]]] = orjson.loads(self._get("/stats"))
        return seen

    def reset(self) -> None:
        """Forget what was received."""
        self._get("/reset")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.receiver}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def producer(self) -> Any:
        """Return a producer."""
        from confluent_kafka import Producer

        return Producer({**self.settings.kafka_config(), "linger.ms": 2, "queue.buffering.max.messages": 500_000})

    def count(self, topic: str) -> int:
        """Return how many records a topic has."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({**self.settings.kafka_config(), "group.id": "count"})
        try:
            partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
            return sum(consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=5)[1] for each in partitions)
        finally:
            consumer.close()

    @contextlib.contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run one delivery worker, as `fleetline serve delivery` does."""
        environment = {
            **os.environ,
            "FLEETLINE_DATA": str(self.settings.data_dir),
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "FLEETLINE_DELIVERY_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        }
        command = "from fleetline.settings import Settings; from sinks.delivery.worker import serve; serve(Settings())"
        with _process([sys.executable, "-c", command], environment) as process:
            yield process


def make_task(destination: str, tenant: str) -> dict[str, Any]:
    """Make a task as the router does."""
    attributes = {"sent_us": now_us(), "note": "x" * 300}
    event = {
        "id": new_id(), "type": "ignitionOn", "tenant_id": tenant, "device_id": "device-1",
        "observed_at": "2026-01-02T03:04:05.000000Z", "received_at": "2026-01-02T03:04:05.000000Z",
        "origin": "detected", "cause_id": new_id(), "source": "flespi", "source_device": "862",
        "attributes": attributes, "latitude": 52.5, "longitude": 13.4, "altitude_m": 34.0, "speed_kmh": 12.0,
        "course_deg": 90.0, "accuracy_m": None, "fix_at": "2026-01-02T03:04:05.000000Z", "fix_valid": True,
    }  # fmt: skip
    device = {"id": "device-1", "name": "Van 7", "attributes": {"imei": "862000000000001", "serial": "4711"}}
    return {"id": new_id(), "destination_id": destination, "tenant_id": tenant, "event": event, "device": device,
            "attempt": 0, "created_us": now_us()}  # fmt: skip


@contextlib.contextmanager
def _process(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Start a broker and a receiver; stop them and remove their state at the end."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder), kafka_port=free_port(), delivery_allow_networks=(ip_network("127.0.0.0/8"),)
        )
        kafka = LocalKafka(settings)
        kafka.start()
        port = free_port()
        try:
            kafka.wait_ready()
            settings = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
            ensure_topics(settings)
            time.sleep(1.0)
            with _process([sys.executable, "-m", "benchmarks.webhooks", str(port)], dict(os.environ)):
                made = Rig(settings, f"http://127.0.0.1:{port}")
                _await_receiver(made)
                yield made
        finally:
            kafka.stop()


def _await_receiver(made: Rig) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            made.reset()
            return
        time.sleep(0.05)
    raise RuntimeError("the receiver did not start")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    import uvloop

    uvloop.run(_receive(int(sys.argv[1])))
