"""One HTTP connection: uvicorn's, with a shorter way to the doors, limits on slow senders, and answers after a half-close.

A request to a door skips what only a general ASGI application needs (scope, messages, an event and a timer for each request):
that is half the cost of a request. Everything else goes uvicorn's way.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingress.endpoint import OK, Door
from ingress.errors import TooLarge, Truncated
from sources.contract import NOTHING

log = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 64 * 1024
"""Headers, trailers and chunk sizes are longer than this only by mistake or malice; one more read may pass."""
HEAD_LIMIT_S = 10.0
BODY_LIMIT_S = 60.0
"""A tracker on a poor link may need this long for its backlog; who needs longer sends smaller batches."""
IDLE_LIMIT_S = 75.0
CLOSE_LIMIT_S = 10.0
"""Who does not take its last answer in this time is cut off; else its connection would stay for ever."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OK_WIRE = {keep_alive: OK.wire(keep_alive) for keep_alive in (True, False)}
_WAITING, _HEAD, _BODY, _ANSWER, _CLOSING = range(5)


class Exchange:
    """One request to a door and its answer, in the place of uvicorn's cycle and with what the connection needs of it."""

    __slots__ = (
        "_expects_continue",
        "_flow",
        "_method",
        "_on_response",
        "_pairs",
        "_query",
        "_scheme",
        "_transport",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
        "task",
    )  # fmt: skip

    def __init__(self, connection: "Connection", method: str, query: bytes, keep_alive: bool) -> None:
        self._method = method
        self._query = query
        self._pairs = connection.headers
        self._scheme: str = connection.scheme or "http"
        self._transport = connection.transport
        self._flow: FlowControl = connection.flow
        self._on_response = connection.on_response_complete
        self._expects_continue = connection.expect_100_continue
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.message_event: Any = _NO_EVENT
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self.task: asyncio.Task[None] | None = None

    async def run_asgi(self, door: Any) -> None:
        """Let the door answer, and write the answer. Named as uvicorn calls it."""
        answer = await door.answer(self._method, self._scheme, self._pairs, self._query, NOTHING, self._read)
        self.response_started = self.response_complete = True
        if self.disconnected or self._transport.is_closing():
            return
        if self._flow.write_paused:  # more answers wait than any sender leaves unread
            self._transport.abort()
            return
        if (
            self._expects_continue and self.more_body
        ):  # nobody knows whether the body still comes, so nothing may follow it
            self.keep_alive = False
        self._transport.write(_OK_WIRE[self.keep_alive] if answer is OK else answer.wire(self.keep_alive))
        if not self.keep_alive:
            self._transport.close()
        self._on_response()

    async def _read(self, limit: int) -> bytes:
        if self._expects_continue and self.more_body:
            self._transport.write(_CONTINUE)
            self._expects_continue = False
        while self.more_body and not self.disconnected:
            if len(self.body) > limit:
                break
            self._flow.resume_reading()
            self.message_event = asyncio.Event()
            await self.message_event.wait()
        if len(self.body) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        if self.more_body:
            raise Truncated("the sender went away before the body was complete")
        return bytes(self.body)


class _NoEvent:
    """Stands for the event of an exchange that nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


_NO_EVENT = _NoEvent()


class Connection(HttpToolsProtocol):
    """Keeps the way back open when the sender closes its own half (RFC 9112 9.6 lets it).

    Closing both at once would leave it without its 200, so that it repeats what is stored already, and would turn a body
    that is too short into silence instead of a 400.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._doors: dict[bytes, Door] = getattr(self.app, "doors", {})
        self._phase = _WAITING
        self._since = time.monotonic()
        self._fruitless_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what the sender sent."""
        if self._phase == _WAITING:
            self._phase, self._since, self._fruitless_bytes = _HEAD, time.monotonic(), 0
        self._fruitless_bytes += len(data)  # until a request begins or a part of a body comes
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            log.debug("not HTTP: %s", error)  # anybody can cause it, so it is no warning
            self.send_400_response("Invalid HTTP request received.")
        else:
            if self._fruitless_bytes > HEAD_LIMIT_BYTES:
                self._close_with(b"431 Request Header Fields Too Large")

    def _feed(self, data: bytes) -> None:
        """Parse. Who asks for another protocol (Java's client for HTTP/2, each time) is answered in this one.

        The parser drops the body of such a request, and a 200 would then stand for nothing: it is parsed again without.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                method = self.parser.get_method()
                if method == b"CONNECT":
                    raise httptools.HttpParserError("this is no proxy") from None
                lines = [b"%s %s HTTP/1.1" % (method, self.url)]
                lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                data = b"\r\n".join([*lines, b"", data[upgrade.args[0] :]])
            else:
                return

    def on_message_begin(self) -> None:
        """Begin a request. What only ASGI needs is made when it is known that ASGI is needed."""
        if self._phase != _HEAD:  # it came with the one before it
            self._phase, self._since = _HEAD, time.monotonic()
        self._fruitless_bytes = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer is none: it comes after the sender was let in, and past the limits."""
        if self._phase != _HEAD:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer: the body may still be under way."""
        parser = self.parser
        if parser.should_upgrade():
            return  # see `_feed`
        self._phase = _BODY
        path, _, query = self.url.partition(b"?")
        door = self._doors.get(path)
        if door is None:
            self._go_uvicorns_way()
            return
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        before = self.cycle
        exchange: Any = Exchange(self, parser.get_method().decode("ascii"), query, keep_alive)
        self.cycle = exchange
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, door)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, door))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Begin to answer. An exchange needs no place in uvicorn's set of tasks: its connection waits for it."""
        if cycle.__class__ is Exchange:
            cycle.task = self.loop.create_task(cycle.run_asgi(app))
        else:
            super()._start_asgi_task(cycle, app)

    def _go_uvicorns_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()
        if expects:  # see `Exchange.run_asgi`
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._fruitless_bytes = 0
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        if cycle.body:
            cycle.body += body
        else:
            cycle.body = bytearray(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_chunk_header(self) -> None:
        """Take the size of a chunk."""
        self._fruitless_bytes = 0

    def on_message_complete(self) -> None:
        """End the request: only the answer is still to come."""
        if self.parser.should_upgrade():
            return
        self._phase = _ANSWER
        super().on_message_complete()
        if self.cycle.response_complete:
            self._rest()

    def on_response_complete(self) -> None:
        """Go on with the next request, or rest. Idle connections are closed by `sweep`, not by a timer of their own."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.pipeline:
            self.flow.resume_reading()
            if self._phase == _ANSWER:
                self._rest()
                return
        else:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            if not self.pipeline:  # else each answer would let thousands of requests in
                self.flow.resume_reading()
        self._since = time.monotonic()  # what came early had to wait for us

    def _rest(self) -> None:
        self._phase, self._since = _WAITING, time.monotonic()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's contract: true keeps it
        """Answer what is complete, refuse what breaks off. Returns whether the connection stays open for the answer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self.pipeline:
            return False
        cycle.keep_alive = False
        if cycle.more_body and not cycle.response_started:
            self.send_400_response("the body is shorter than announced")
        return self.scheme != "https"  # TLS has no half of a connection

    def overdue(self, now: float) -> bool:
        """Close the connection if it is idle or its sender is too slow; tell whether it was."""
        waited = now - self._since
        if self.transport.is_closing():
            if self._phase != _CLOSING:
                self._phase, self._since = _CLOSING, now
                return False
            if waited <= CLOSE_LIMIT_S:
                return False
            self.transport.abort()
        elif self._phase == _WAITING and waited > IDLE_LIMIT_S:
            self.transport.close()
        elif (self._phase == _HEAD and waited > HEAD_LIMIT_S) or (self._phase == _BODY and waited > BODY_LIMIT_S):
            self._close_with(b"408 Request Timeout")
        else:
            return False
        return True

    def _close_with(self, status: bytes) -> None:
        if not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()


def sweep(connections: Iterable[Any]) -> int:
    """Close idle connections and those of senders that are too slow (slow loris); return how many."""
    now = time.monotonic()
    return sum(1 for each in list(connections) if isinstance(each, Connection) and each.overdue(now))
