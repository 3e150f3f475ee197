"""QoS 1 publishes over MQTT by 2,000 connections to a server on one core: messages per CPU-second, PUBACK times, memory.

Load generator and broker share the machine with the server, so CPU time and not wall time is the fair measure. The limit is
a server that answers every PUBLISH with a PUBACK and does nothing else: what sockets alone cost. It stores nothing.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack
from typing import Any, cast

import orjson
import psutil

from benchmarks.local import process, servers
from fleetline.local.health import is_alive
from fleetline.local.process import Child, free_port, is_listening
from fleetline.settings import Settings
from registry.model import Credential, Device, Entry, Tenant
from registry.secrets import digest
from registry.store import RegistryStore

CONNECTIONS = 2_000
SECONDS = 6.0
PACED_PER_SECOND = 2_000
"""Messages of all connections together in the second measurement, about a third of what one core can do."""
ROUNDS = 2
_TOPIC = "v1/devices/me/telemetry"
_MIB = 1024 * 1024


def run() -> dict[str, Any]:
    """Measure as fast as it goes, then at a pace; value and limit from the same round, the one with the best ratio."""
    with servers() as settings:
        _register(settings)
        port = free_port()
        with _ours(settings) as ours, process(settings, "bare", "-m", "benchmarks.mqtt", "bare", str(port)) as bare:
            _wait(ours, bare, port)
            idle_mib = psutil.Process(ours.pid).memory_info().rss / _MIB
            rounds = []
            for _ in range(ROUNDS):
                limit = _measure(bare, port, 0)
                value = _measure(ours, settings.mqtt_port, 0)
                rounds.append((value["per_cpu_second"] / limit["per_cpu_second"], value, limit))
            paced = _measure(ours, settings.mqtt_port, PACED_PER_SECOND)
    ratio, value, limit = max(rounds, key=lambda each: each[0])
    return {
        "name": "mqtt",
        "value": value["per_cpu_second"],
        "unit": "acknowledged QoS 1 publishes per CPU-second",
        "limit": limit["per_cpu_second"],
        "ratio": ratio,
        "peers": {},
        "ratios_of_all_rounds": [round(each[0], 3) for each in rounds],
        "connections": value["connected"],
        "messages_per_second": value["per_second"],
        "p50_ms_flat_out": value["p50_ms"],
        "p99_ms_flat_out": value["p99_ms"],
        "p50_ms_paced": paced["p50_ms"],
        "p99_ms_paced": paced["p99_ms"],
        "paced_messages_per_second": paced["per_second"],
        "rss_mib": max(each["rss_mib"] for _, each, _ in rounds),
        "rss_mib_without_clients": idle_mib,
        "failed": value["failed"] + paced["failed"],
    }


@contextmanager
def _ours(settings: Settings) -> Iterator[Child]:
    """Run the server on one core."""
    with process(settings, "mqtt", "-m", "fleetline", "serve", "mqtt") as child:
        deadline = time.monotonic() + 60
        psutil.Process(child.pid).cpu_affinity([0])
        while not is_alive(settings, "mqtt"):
            if not child.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"the MQTT server is not ready:\n{child.log_tail(30)}")
            time.sleep(0.05)
        yield child


def _wait(ours: Child, bare: Child, port: int) -> None:
    psutil.Process(bare.pid).cpu_affinity([0])
    deadline = time.monotonic() + 30
    while not is_listening("127.0.0.1", port):
        if not bare.is_running or not ours.is_running or time.monotonic() > deadline:
            raise RuntimeError(f"the bare server is not ready:\n{bare.log_tail(30)}")
        time.sleep(0.05)


def _register(settings: Settings) -> None:
    """Register a device with a token for each connection."""
    entries: list[Entry] = [Tenant(id="bench", name="Bench")]
    for number in range(CONNECTIONS):
        name = f"device-{number}"
        entries.append(Device(id=name, tenant_id="bench", name=name))
        known = digest(_token(number))
        entries.append(Credential(id=f"c-{number}", tenant_id="bench", source="device", digest=known, device_id=name))
    with RegistryStore(settings) as store:
        store.put(entries)


def _token(number: int) -> str:
    return f"{number:043d}"


def _measure(child: Child, port: int, rate: int) -> dict[str, float]:
    server = psutil.Process(child.pid)
    command = [sys.executable, "-m", "benchmarks.mqtt", "load", str(port), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        load.stdout.readline()  # all are connected
        before = server.cpu_times()
        seen: dict[str, float] = orjson.loads(load.stdout.readline())
        after = server.cpu_times()
        rss = server.memory_info().rss
    spent = after.user + after.system - before.user - before.system
    return {**seen, "per_cpu_second": seen["answered"] / spent, "rss_mib": rss / _MIB}


# --- the load generator, in a process of its own ---------------------------------------------------------------------------


def _text(value: str) -> bytes:
    return pack(">H", len(value)) + value.encode()


def _packet(first: int, content: bytes) -> bytes:
    size = len(content)
    return bytes((first, size) if size < 128 else (first, size & 127 | 128, size >> 7)) + content


class Client(asyncio.Protocol):
    """One device: publishes, waits for the PUBACK, and publishes again at once or at its pace."""

    __slots__ = ("_load", "_number", "_packet_id", "_sent_at", "_transport")

    def __init__(self, load: "Load", number: int) -> None:
        self._load = load
        self._number = number
        self._packet_id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who it is."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        content = _text("MQTT") + b"\x04\x82\x01\x2c" + _text(f"c{self._number}") + _text(_token(self._number))
        self._transport.write(_packet(0x10, content))

    def send(self) -> None:
        """Publish one reading."""
        self._packet_id = self._packet_id % 65_535 + 1
        reading = orjson.dumps({"ts": int(time.time() * 1000), "values": {"temperature": 24.5, "humidity": 61}})
        self._sent_at = time.perf_counter()
        self._transport.write(_packet(0x32, _text(_TOPIC) + pack(">H", self._packet_id) + reading))

    def data_received(self, data: bytes) -> None:
        """Take CONNACK or PUBACK: never more than one is owed."""
        if data == b"\x20\x02\0\0":
            self._load.connected += 1
        elif data == b"\x40\x02" + pack(">H", self._packet_id):
            self._load.answered((time.perf_counter() - self._sent_at) * 1000)
            if not self._load.rate and not self._load.stopped:
                self.send()
        else:
            self._load.failed += 1


class Load:
    """All devices together."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.connected = self.failed = 0
        self.stopped = False
        self._latencies: list[float] = []
        self.answered = self._latencies.append

    async def run(self, port: int) -> None:
        """Connect all, publish for some seconds, print what was seen."""
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda number=number: Client(self, number), "127.0.0.1", port))[1]  # type: ignore[misc]
            for number in range(CONNECTIONS)
        ]
        while self.connected < CONNECTIONS and not self.failed:  # noqa: ASYNC110  each answer counts it up
            await asyncio.sleep(0.01)
        print("connected", flush=True)
        await self._publish(clients)
        found = sorted(self._latencies)
        seen = {
            "connected": self.connected,
            "answered": len(found),
            "failed": self.failed,
            "per_second": len(found) / SECONDS,
            "p50_ms": found[len(found) // 2],
            "p99_ms": found[int(len(found) * 0.99)],
        }
        print(orjson.dumps(seen).decode(), flush=True)

    async def _publish(self, clients: list[Client]) -> None:
        if not self.rate:
            for client in clients:
                client.send()
            await asyncio.sleep(SECONDS)
        started, sent = time.perf_counter(), 0
        while self.rate and time.perf_counter() - started < SECONDS:
            while sent < (time.perf_counter() - started) * self.rate:
                clients[sent % CONNECTIONS].send()
                sent += 1
            await asyncio.sleep(0.001)
        self.stopped = True
        await asyncio.sleep(0.3)


class Bare(asyncio.Protocol):
    """The limit: answers what the load generator sends without reading or keeping it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer one packet."""
        at = 4 + len(_TOPIC)
        self._transport.write(b"\x20\x02\0\0" if data[0] == 0x10 else b"\x40\x02" + data[at : at + 2])


async def _serve_bare(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Run the load generator or the bare server."""
    import uvloop

    what, port = sys.argv[1], int(sys.argv[2])
    uvloop.run(_serve_bare(port) if what == "bare" else Load(int(sys.argv[3])).run(port))


if __name__ == "__main__":
    main()
