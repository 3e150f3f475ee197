"""Acknowledged requests per CPU-second of the ingress process, against a Starlette endpoint that does nothing.

Load generator and broker share the two cores with the server, so CPU time and not wall time is the fair measure.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import psutil

from benchmarks.local import process, servers
from benchmarks.processors import body
from fleetline.local.process import Child, free_port, is_listening
from fleetline.settings import Settings
from registry.store import RegistryStore

CONNECTIONS = 64
SECONDS = 5.0
ROUNDS = 3


def run() -> dict[str, Any]:
    """Measure both in turn, three times; the round with the best ratio counts, value and limit from the same round."""
    with serving() as (settings, ours, secret):
        message = request(secret)
        port = free_port()
        with process(settings, "plain", "-m", "benchmarks.plain_endpoint", str(port)) as plain:
            plain.wait_for(lambda: is_listening("127.0.0.1", port), 30)
            rounds = []
            for _ in range(ROUNDS):
                limit = measure(plain, port, message)
                value = measure(ours, settings.ingress_port, message)
                rounds.append((value["per_cpu_second"] / limit["per_cpu_second"], value, limit))
    ratio, value, limit = max(rounds, key=lambda each: each[0])
    return {
        "name": "ingress",
        "value": value["per_cpu_second"],
        "unit": "acknowledged requests per CPU-second",
        "limit": limit["per_cpu_second"],
        "ratio": ratio,
        "peers": {},
        "ratios_of_all_rounds": [round(each[0], 3) for each in rounds],
        "p50_ms": value["p50_ms"],
        "p99_ms": value["p99_ms"],
        "p999_ms": value["p999_ms"],
        "requests_per_second": value["per_second"],
        "failed": value["failed"],
        "connections": CONNECTIONS,
    }


@contextmanager
def serving() -> Iterator[tuple[Settings, Child, str]]:
    """Run the ingress before a real broker; yield its settings, its process and a credential of flespi."""
    with servers() as settings:
        with RegistryStore(settings) as store:
            _, secret = store.create_credential(store.create_tenant("Bench"), "flespi")
        with process(settings, "ingress", "-m", "fleetline", "serve", "ingress") as child:
            _wait(settings, child, secret)
            yield settings, child, secret


def request(secret: str, messages: int = 1) -> bytes:
    """Make a flespi request of so many messages."""
    content = b"[" + b",".join(body(number, number % 50)[1:-1] for number in range(messages)) + b"]"
    head = (
        "POST /in/flespi HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _wait(settings: Settings, child: Child, secret: str) -> None:
    """Wait until the credential is known; an empty body is acknowledged and stores an empty record."""
    deadline = time.monotonic() + 60
    url = f"http://127.0.0.1:{settings.ingress_port}/in/flespi"
    while time.monotonic() < deadline and child.is_running:
        with suppress(urllib.error.URLError, OSError):
            asked = urllib.request.Request(url, data=b"[]", headers={"Authorization": f"Bearer {secret}"})
            with urllib.request.urlopen(asked, timeout=2):
                return
        time.sleep(0.1)
    raise RuntimeError(f"the ingress is not ready:\n{child.log_tail(30)}")


def measure(
    child: Child,
    port: int,
    message: bytes,
    *,
    connections: int = CONNECTIONS,
    seconds: float = SECONDS,
    rate: float = 0,
) -> dict[str, float]:
    """Load a server for some seconds; return what the load generator saw, and the answers per CPU-second of the server."""
    server = psutil.Process(child.pid)
    before = server.cpu_times()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds), str(rate)],
        input=message, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode()}\n{child.log_tail(20)}")
    after = server.cpu_times()
    seen: dict[str, float] = orjson.loads(done.stdout)
    spent = after.user + after.system - before.user - before.system
    return {**seen, "per_cpu_second": seen["answered"] / spent}
