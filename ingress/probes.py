"""`/healthz`, `/readyz` and `/metrics` of a component that serves no HTTP otherwise, on a port of their own."""

import asyncio
from contextlib import suppress

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fleetline.settings import Settings
from ingress.producer import Producer

_REQUEST_S = 5.0
_PLAIN = "text/plain; charset=utf-8"


class Probes:
    """A few fixed answers to GET; one request per connection. Off while `probe_port` is 0."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, producer: Producer) -> None:
        self._settings = settings
        self._registry = registry
        self._producer = producer
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
        if self._settings.probe_port:
            self._listener = await asyncio.start_server(self._serve, self._settings.host, self._settings.probe_port)

    async def stop(self) -> None:
        """End."""
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.partition(b"\r\n")[0].split(b" ")[1:2])
                writer.write(
                    b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                    % (status.encode(), kind.encode(), len(body), body)
                )
                await writer.drain()
        writer.close()

    async def _answer(self, path: list[bytes]) -> tuple[str, str, bytes]:
        if path == [b"/healthz"]:
            return "200 OK", _PLAIN, b"alive\n"
        if path == [b"/readyz"]:
            if await self._producer.is_reachable():
                return "200 OK", _PLAIN, b"ready\n"
            return "503 Service Unavailable", _PLAIN, b"the broker is away\n"
        if path == [b"/metrics"]:
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        return "404 Not Found", _PLAIN, b""
