"""What one request costs in Python, without sockets and broker: bytes into the connection, answer out of it.

Steadier than the whole process on a shared machine, and where the door's own work shows. The limit is a Starlette endpoint that
does nothing, behind uvicorn's own connection.
"""

import asyncio
import gc
import time
from typing import Any

import msgspec
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.ingress import request
from benchmarks.plain_endpoint import app as plain
from fleetline.settings import Settings
from ingress.app import build_app
from ingress.connection import Connection
from registry.model import Credential, Tenant
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from sources.catalog import load_sources

CONNECTIONS = 64
REQUESTS = 20_000
ROUNDS = 5
_TURNS = 1000


class _Accepting:
    """A broker that acknowledges in the next turn of the loop."""

    is_available = True

    async def append(self, *_: Any) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(done.set_result, None)
        await done

    async def is_reachable(self) -> bool:
        return True

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class _Wire(asyncio.Transport):
    """Takes answers and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def write(self, data: Any) -> None:
        if not data:
            return
        if not bytes(data).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(bytes(data[:200]).decode("latin-1"))
        self.answers += 1

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Registry:
    def __init__(self, secret: str) -> None:
        self.view = RegistryView()
        self.caught_up = True
        for entry in (
            Tenant(id="t", name="t"),
            Credential(id="c", tenant_id="t", source="flespi", digest=digest(secret)),
        ):
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))


def run() -> dict[str, Any]:
    """Measure both in turn, five times; each one's best counts."""
    secret = new_secret()
    ours = build_app(Settings(), load_sources(), _Registry(secret), _Accepting())
    gc.set_threshold(50_000, 20, 50)
    message = request(secret)
    rounds = [
        (uvloop.run(_cost(ours, Connection, message)), uvloop.run(_cost(plain, HttpToolsProtocol, message)))
        for _ in range(ROUNDS)
    ]
    value, limit = (min(each) for each in zip(*rounds, strict=True))
    return {
        "name": "door",
        "value": 1e6 / value,
        "unit": "requests per CPU-second of Python",
        "limit": 1e6 / limit,
        "ratio": limit / value,
        "peers": {},
        "us": round(value, 2),
        "limit_us": round(limit, 2),
    }


async def _cost(app: Any, protocol: Any, message: bytes) -> float:
    """Return the CPU time of a request, in µs."""
    config = uvicorn.Config(
        app, http=protocol, ws="none", access_log=False, log_config=None, server_header=False, date_header=False,
        proxy_headers=protocol is HttpToolsProtocol, lifespan="off",
    )  # fmt: skip
    config.load()
    state, wires = ServerState(), [_Wire() for _ in range(CONNECTIONS)]
    connections = [protocol(config, state, {}) for _ in wires]
    for connection, wire in zip(connections, wires, strict=True):
        connection.connection_made(wire)
    started, asked = time.process_time(), 0
    while asked < REQUESTS:
        for connection in connections:
            connection.data_received(message)
        asked += len(connections)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if sum(wire.answers for wire in wires) == asked:
                break
        else:
            raise RuntimeError("a request was not answered")
    return (time.process_time() - started) / asked * 1e6
