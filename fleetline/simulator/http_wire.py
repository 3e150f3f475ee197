"""HTTP/1.1 as senders speak it, with the faults of real networks: keep-alive, one request at a time per connection.

A client library would mend what is to be broken here: it hides when the body is out, and repeats by itself.
"""

import asyncio
import gzip
import time
from collections import deque
from dataclasses import replace
from typing import Any

import httptools

from fleetline.simulator.faults import Fate
from fleetline.simulator.profile import Outgoing
from fleetline.simulator.wire import Answer, address_of

_IDLE_S = 3.0
"""Servers close idle connections after about 5 s; one that old is not used again."""
_SLOW_PIECES, _SLOW_S = 8, 1.0
_READ = 65_536
_PROBE_S = 5.0


class _Response:
    """The callbacks of httptools. Whether the connection stays open is known when the head is, and forgotten afterwards."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.complete = False
        self.keeps_alive = False

    def on_headers_complete(self) -> None:
        self.keeps_alive = self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self.complete = True


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used_at = time.monotonic()

    @property
    def is_usable(self) -> bool:
        return time.monotonic() - self.used_at < _IDLE_S and not self.reader.at_eof() and not self.writer.is_closing()


class HttpWire:
    """Requests to one server. Never raises for what the network does: that is an Answer."""

    def __init__(self, base_url: str) -> None:
        self._address = address_of(base_url)
        self._idle: deque[_Connection] = deque()

    async def exchange(self, outgoing: Outgoing, timeout_s: float, fate: Fate = Fate.NORMAL) -> Answer:
        """Send a request and return what the sender learns, `timeout_s` being its patience."""
        started = time.perf_counter()
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connected()
                status, reusable = await self._talk(connection, self._bytes_of(outgoing), fate)
        except TimeoutError:
            return self._given_up(connection, "timeout", started)
        except (OSError, EOFError, httptools.HttpParserError) as error:
            return self._given_up(connection, type(error).__name__, started)
        except asyncio.CancelledError:
            self._given_up(connection, "cancelled", started)
            raise
        if not status or not reusable:
            connection.writer.close()
        else:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        if not status:
            return Answer(silence=fate.value, took_s=time.perf_counter() - started)
        return Answer(status=status, took_s=time.perf_counter() - started)

    async def probe(self, outgoing: Outgoing) -> Answer:
        """Post an empty body, which makes no record unless the query does."""
        return await self.exchange(replace(outgoing, method="POST", body=b"", gzip=False), _PROBE_S)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().writer.close()

    def _given_up(self, connection: _Connection | None, why: str, started: float) -> Answer:
        if connection is not None:
            connection.writer.transport.abort()
        return Answer(silence=why, took_s=time.perf_counter() - started)

    async def _connected(self) -> _Connection:
        while self._idle:
            kept = self._idle.pop()
            if kept.is_usable:
                return kept
            kept.writer.close()
        address = self._address
        return _Connection(*await asyncio.open_connection(address.host, address.port, ssl=address.tls))

    def _bytes_of(self, outgoing: Outgoing) -> tuple[bytes, bytes]:
        body = gzip.compress(outgoing.body, 6) if outgoing.gzip else outgoing.body
        target = f"{self._address.path}{outgoing.path}" + (f"?{outgoing.query}" if outgoing.query else "")
        lines = [f"{outgoing.method} {target} HTTP/1.1", f"host: {self._address.authority}"]
        lines.append("user-agent: fleetline-simulate")
        lines += [f"{name}: {value}" for name, value in outgoing.headers.items()]
        if outgoing.gzip:
            lines.append("content-encoding: gzip")
        if outgoing.method != "GET":
            lines.append(f"content-length: {len(body)}")
        return "\r\n".join((*lines, "\r\n")).encode("latin-1"), body

    async def _talk(self, connection: _Connection, request: tuple[bytes, bytes], fate: Fate) -> tuple[int, bool]:
        """Send and hear; status 0 when the fault is that nothing is heard."""
        head, body = request
        writer = connection.writer
        if fate is Fate.CUT:
            whole = head + body
            writer.write(whole[: len(head) + len(body) // 2] if body else whole[: len(whole) // 2])
            await writer.drain()
            return 0, False
        if fate is Fate.SLOW:
            await _trickle(writer, head + body)
        else:
            writer.write(head + body)
        await writer.drain()
        if fate is Fate.GONE:
            return 0, False
        status, reusable = await _hear(connection.reader)
        return (0, False) if fate is Fate.DEAF else (status, reusable)


async def _trickle(writer: asyncio.StreamWriter, whole: bytes) -> None:
    size = len(whole) // _SLOW_PIECES + 1
    for start in range(0, len(whole), size):
        writer.write(whole[start : start + size])
        await writer.drain()
        await asyncio.sleep(_SLOW_S / _SLOW_PIECES)


async def _hear(reader: asyncio.StreamReader) -> tuple[int, bool]:
    response = _Response()
    while not response.complete:
        data = await reader.read(_READ)
        if not data:
            raise EOFError("the server closed the connection")
        response.parser.feed_data(data)
    return response.parser.get_status_code(), response.keeps_alive
