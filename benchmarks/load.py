"""A load generator in a process of its own: keep-alive connections that send the same request again when it is answered.

With a rate, each connection sends on its own schedule, and a late answer counts from when its request was due: a server that
stalls is not spared the requests it kept from being sent.
"""

import asyncio
import random
import sys
import time
from typing import cast

import orjson
import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; writes the request, waits for the answer, notes how long it took."""

    def __init__(
        self, request: bytes, latencies_ms: list[float], stopped: asyncio.Event, interval_s: float = 0.0
    ) -> None:
        self._request = request
        self._latencies = latencies_ms
        self._stopped = stopped
        self._interval_s = interval_s
        self._buffer = b""
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        self._due = time.perf_counter() + random.random() * self._interval_s
        asyncio.get_running_loop().call_later(self._due - time.perf_counter(), self._send)

    def _send(self) -> None:
        if not self._interval_s:
            self._due = time.perf_counter()
        self._transport.write(self._request)

    def _next(self) -> None:
        self._due += self._interval_s
        wait_s = self._due - time.perf_counter()
        if self._interval_s and wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._send)
        else:
            self._send()

    def data_received(self, data: bytes) -> None:
        """Take an answer; every one measured here has an empty body."""
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        if self._buffer.startswith(b"HTTP/1.1 200"):
            self._latencies.append((time.perf_counter() - self._due) * 1000)
        else:
            self.failed += 1
        self._buffer = b""
        if self._stopped.is_set():
            self._transport.close()
        else:
            self._next()


async def load(port: int, connections: int, seconds: float, rate: float, request: bytes) -> dict[str, float]:
    """Load for some seconds and return what was seen; `rate` 0 is as fast as it goes."""
    interval_s = connections / rate if rate else 0.0
    latencies: list[float] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Connection(request, latencies, stopped, interval_s), "127.0.0.1", port))[
            1
        ]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    stopped.set()
    await asyncio.sleep(0.2)
    latencies.sort()
    return {
        "answered": len(latencies),
        "failed": sum(each.failed for each in made),
        "p50_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[int(len(latencies) * 0.99)],
        "p999_ms": latencies[int(len(latencies) * 0.999)],
        "per_second": len(latencies) / seconds,
    }


def main() -> None:
    """Read port, connections, seconds, rate and the request, print one JSON object."""
    uvloop.install()
    port, connections, seconds, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    print(orjson.dumps(asyncio.run(load(port, connections, seconds, rate, sys.stdin.buffer.read()))).decode())


if __name__ == "__main__":
    main()
