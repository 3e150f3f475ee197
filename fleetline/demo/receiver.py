"""A customer's server in small: takes webhooks on a port of this machine and remembers them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Receiver:
    """Webhooks by their `webhook-id`: one that comes twice overwrites itself and is counted in `repeats`."""

    psk: str = ""
    url: str = ""
    webhooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: int = 0
    refused: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """Answer 200 once the body has been read and its PSK checked."""
        if self.psk and request.headers.get("authorization") != self.psk:
            self.refused += 1
            return web.Response(status=401)
        key = request.headers["webhook-id"]
        self.repeats += key in self.webhooks
        self.webhooks[key] = await request.json()
        return web.Response()


@asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port for as long as the block lasts."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhooks", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/webhooks"
    try:
        yield receiver
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
