"""An ingress with a registry and a producer in memory: in the process, or on a loopback port as real clients see it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import uvicorn

from fleetline.settings import Settings
from ingress.app import build_app
from ingress.connection import Connection
from ingress.producer import MemoryProducer
from registry.model import Credential, Device, Entry, Tenant
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from sources.catalog import load_source, load_sources
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.raw_record import request_from_raw
from tests.support import until

TENANT = "tenant-a"


class Ingress:
    """The application with whatever it stored. `settings` are the defaults unless said otherwise."""

    def __init__(self, **settings: Any) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        self.add(Tenant(id=TENANT, name="A"))
        self.app: Any = build_app(Settings().model_copy(update=settings), load_sources(), self, self.producer)

    def add(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def credential(self, source: str, device: str = "") -> str:
        """Create a credential and return its secret."""
        secret = new_secret()
        if device:
            self.add(Device(id=device, tenant_id=TENANT, name=device))
        made = Credential(
            id=f"c-{secret[-6:]}", tenant_id=TENANT, source=source, digest=digest(secret), device_id=device
        )
        self.add(made)
        return secret

    def client(self) -> httpx.AsyncClient:
        """Return a client that follows no redirect."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://ingress")

    def requests(self, source: str) -> list[Request]:
        """Return what was stored for a source, as its normalizer reads it."""
        topic = Settings().topics.raw(source)
        return [
            request_from_raw(headers, value, topic, 0, offset)
            for offset, (name, _, value, headers) in enumerate(self.producer.records)
            if name == topic
        ]

    def made(self, source: str) -> tuple[list[Canonical], list[Defect]]:
        """Return the records and the defects of everything that was stored for a source."""
        everything = [each for stored in self.requests(source) for each in canonicalize(load_source(source), stored)]
        return [m for m in everything if isinstance(m, Canonical)], [m for m in everything if isinstance(m, Defect)]


@contextmanager
def serving(ingress: Ingress) -> Iterator[str]:
    """Serve on a free loopback port for as long as the block lasts; yields the address."""
    config = uvicorn.Config(
        ingress.app, host="127.0.0.1", port=0, http=Connection, ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started, 10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
