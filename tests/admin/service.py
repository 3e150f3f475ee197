"""An admin API in this process, on a loopback port as real clients see it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from admin.app import build_app
from admin.live import LiveRegistry
from fleetline.settings import Settings
from schemas.ids import new_id
from tests.support import until

ADMIN_TOKEN = "a-long-enough-admin-token"


class Service:
    """The running API. `operator` is a client with the bootstrap secret."""

    def __init__(self, settings: Settings, live: LiveRegistry, app: Any, url: str) -> None:
        self.settings, self.live, self.app, self.url = settings, live, app, url
        self.operator = self.client(ADMIN_TOKEN)

    def client(self, key: str = "") -> httpx.Client:
        """Return a client that shows a key, or none."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def tenant(self, name: str = "") -> str:
        """Create a tenant and return its id."""
        made = self.operator.post("/api/v1/tenants", json={"name": name or f"tenant {new_id()}"})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


@contextmanager
def serving(settings: Settings) -> Iterator[Service]:
    """Serve for as long as the block lasts."""
    settings = settings.model_copy(update={"admin_token": SecretStr(ADMIN_TOKEN)})
    live = LiveRegistry(settings)
    app = build_app(settings, live)
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws="none", loop="asyncio"))
    thread = threading.Thread(target=server.run)
    live.start()
    thread.start()
    try:
        until(lambda: server.started, what="the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        service = Service(settings, live, app, f"http://127.0.0.1:{port}")
        with service.operator:
            until(lambda: service.operator.get("/readyz").status_code == 200, what="the registry is read")
            yield service
    finally:
        server.should_exit = True
        thread.join()
        live.stop()
