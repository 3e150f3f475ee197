"""A load generator in a process of its own: keep-alive connections that send the same request again as soon as it is answered."""

import asyncio
import sys
import time
from typing import cast

import orjson
import uvloop


class Connection(asyncio.Protocol):
    """One keep-alive connection; writes the request, waits for the answer, notes how long it took."""

    def __init__(self, request: bytes, latencies_ms: list[float], stopped: asyncio.Event) -> None:
        self._request = request
        self._latencies = latencies_ms
        self._stopped = stopped
        self._buffer = b""
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take an answer; every one measured here has an empty body."""
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        if self._buffer.startswith(b"HTTP/1.1 200"):
            self._latencies.append((time.perf_counter() - self._sent) * 1000)
        else:
            self.failed += 1
        self._buffer = b""
        if self._stopped.is_set():
            self._transport.close()
        else:
            self._send()


async def load(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    """Load for some seconds and return what was seen."""
    latencies: list[float] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Connection(request, latencies, stopped), "127.0.0.1", port))[1]
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
    """Read port, connections, seconds and the request, print one JSON object."""
    uvloop.install()
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    print(orjson.dumps(asyncio.run(load(port, connections, seconds, sys.stdin.buffer.read()))).decode())


if __name__ == "__main__":
    main()
