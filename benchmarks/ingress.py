"""Acknowledged requests per CPU-second of the ingress process, against a Starlette endpoint that does nothing.

Load generator and broker share the two cores with the server, so CPU time and not wall time is the fair measure.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Any

import orjson
import psutil

from benchmarks.local import process, servers
from benchmarks.processors import body
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from registry.store import RegistryStore

CONNECTIONS = 64
SECONDS = 5.0
ROUNDS = 3


def run() -> dict[str, Any]:
    """Measure both in turn, three times; the round with the best ratio counts, value and limit from the same round."""
    with servers() as settings:
        with RegistryStore(settings) as store:
            tenant = store.create_tenant("Bench")
            _, secret = store.create_credential(tenant, "flespi")
        request = _request(secret)
        port = free_port()
        with (
            process(settings, "ingress", "-m", "fleetline", "serve", "ingress") as ours,
            process(settings, "plain", "-m", "benchmarks.plain_endpoint", str(port)) as plain,
        ):
            _wait(settings, ours, secret)
            rounds = []
            for _ in range(ROUNDS):
                limit = _measure(plain, port, request)
                value = _measure(ours, settings.ingress_port, request)
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


def _request(secret: str) -> bytes:
    content = body(1, 1)
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
            request = urllib.request.Request(url, data=b"[]", headers={"Authorization": f"Bearer {secret}"})
            with urllib.request.urlopen(request, timeout=2):
                return
        time.sleep(0.1)
    raise RuntimeError(f"the ingress is not ready:\n{child.log_tail(30)}")


def _measure(child: Child, port: int, request: bytes) -> dict[str, float]:
    server = psutil.Process(child.pid)
    before = server.cpu_times()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(SECONDS)],
        input=request, capture_output=True, check=True,
    )  # fmt: skip
    after = server.cpu_times()
    seen: dict[str, float] = orjson.loads(done.stdout)
    spent = after.user + after.system - before.user - before.system
    return {**seen, "per_cpu_second": seen["answered"] / spent}
