"""One device's WebSocket: authenticate in the first frame, then telemetry frames, each acknowledged once it is durable.

Frames are JSON text (AC-a12..a15):

    -> {"type": "auth", "deviceToken": "…"}                    within 10 s
    <- {"type": "auth", "status": "ok"}
    -> {"type": "telemetry", "data": {…}, "id": 7, "ts": …}    `id`, `ts` and `childDeviceId` are optional
    <- {"type": "ack", "id": 7, "count": 1}                    `count`: telemetry frames acknowledged so far, this one included
    <- {"type": "error", "id": 7, "status": 503, "detail": …}  nothing of that frame is kept; the connection goes on

What breaks these rules is told by an error frame, and the connection is closed with 1008; with 1013 who should come again later.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import orjson

from ingress.acceptance import Acceptance
from ingress.errors import RejectedRequest, Unauthorized, status_and_detail
from ingress.metrics import SourceCounts
from registry.model import Credential
from sources.contract import Request
from sources.errors import Refused

log = logging.getLogger(__name__)

AUTH_LIMIT_S = 10.0
ANSWER_LIMIT_S = 5.0
IN_FLIGHT = 64
"""Frames of one connection that may wait for Kafka; then its socket is not read."""
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
TRANSPORT, METHOD, PATH = "websocket", "SEND", "/"
_RESERVED = ("ts", "timestamp", "childDeviceId")


class Violation(Exception):
    """The client broke the protocol, or may not come in now: the connection is closed."""

    def __init__(self, detail: str, code: int = POLICY_VIOLATION, status: int = 400) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status


class Socket(Protocol):
    """What a session needs of a WebSocket."""

    async def recv(self) -> str | bytes:
        """Return the next message."""

    async def send(self, message: str) -> None:
        """Send a message."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close."""


class _Frame(msgspec.Struct):
    type: str = ""
    deviceToken: str = ""  # noqa: N815  the protocol's name
    id: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    ts: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    childDeviceId: msgspec.Raw = msgspec.Raw()  # noqa: N815


_FRAMES = msgspec.json.Decoder(_Frame)


class WebSocketSession:
    """Serves one connection until it ends; `admitted` is called once it is known whose it is.

    The token is checked again with every frame: a revoked one opens nothing.
    """

    def __init__(
        self,
        socket: Socket,
        acceptance: Acceptance,
        counts: SourceCounts,
        admitted: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = socket
        self._admitted = admitted
        self._acceptance = acceptance
        self._counts = counts
        self._token = ""
        self._count = 0
        self._listens = True
        self._waiting: asyncio.Queue[tuple[msgspec.Raw, asyncio.Task[int]] | None] = asyncio.Queue(IN_FLIGHT)

    async def run(self) -> None:
        """Serve. Raises what the socket raises when it is closed; frames that were taken are stored all the same."""
        answering: asyncio.Task[None] | None = None
        try:
            await self._authenticate()
            answering = asyncio.create_task(self._answer())
            while True:
                await self._take(_frame(await self._socket.recv()))
        except Violation as violation:
            await self._finish(answering)
            answering = None
            await self._say(type="error", status=violation.status, detail=str(violation))
            await self._socket.close(violation.code, _reason(str(violation)))
        finally:
            await self._finish(answering)

    async def _authenticate(self) -> None:
        try:
            async with asyncio.timeout(AUTH_LIMIT_S):
                frame = _frame(await self._socket.recv())
        except TimeoutError:
            raise Violation("no auth frame within 10 s") from None
        if frame.type != "auth":
            raise Violation('the first frame must be {"type": "auth", "deviceToken": "..."}')
        self._token = frame.deviceToken
        try:
            self._credential(Request())
        except Unauthorized:
            self._counts.refused(Unauthorized.status)
            raise Violation("unknown device token") from None
        except RejectedRequest as error:
            self._counts.refused(error.status)
            raise Violation(error.detail, TRY_AGAIN_LATER, error.status) from None
        self._admitted()
        await self._say(type="auth", status="ok")

    def _credential(self, request: Request) -> Credential:
        request.transport, request.method, request.path = TRANSPORT, METHOD, PATH
        request.headers = {"authorization": f"Bearer {self._token}"}
        return self._acceptance.authenticate(request)

    async def _take(self, frame: _Frame) -> None:
        """Begin to store a telemetry frame. The queue keeps the order of the acknowledgements, and bounds what waits."""
        if frame.type == "auth":
            raise Violation("already authenticated")
        if frame.type != "telemetry":
            raise Violation(f"unknown type {frame.type[:40]!r}")
        if not bytes(frame.data):
            raise Violation("a telemetry frame needs `data`")
        await self._waiting.put((frame.id, asyncio.create_task(self._store(frame))))

    async def _store(self, frame: _Frame) -> int:
        request = Request(body=_body(frame))
        credential = self._credential(request)
        started = asyncio.get_running_loop().time()
        await self._acceptance.store(request, credential)
        self._counts.accepted(len(request.body), asyncio.get_running_loop().time() - started)
        return len(request.body)

    async def _answer(self) -> None:
        """Answer frames in the order they came. What is under way is stored even when nobody listens any more."""
        while (entry := await self._waiting.get()) is not None:
            frame_id, storing = entry
            try:
                await storing
            except Exception as error:  # noqa: BLE001  whatever happened, the client is told
                answer = self._error(frame_id, error)
            else:
                self._count += 1
                answer = {"type": "ack", **_echo(frame_id), "count": self._count}
            await self._tell(answer)

    async def _tell(self, answer: dict[str, Any]) -> None:
        """Send an answer, unless nobody listens: then what was taken is stored all the same."""
        if self._listens:
            try:
                async with asyncio.timeout(ANSWER_LIMIT_S):
                    await self._say(**answer)
            except Exception as error:  # noqa: BLE001  the reader notices the end as well
                log.debug("a client went away before its answer: %s", type(error).__name__)
                self._listens = False

    def _error(self, frame_id: msgspec.Raw, error: Exception) -> dict[str, Any]:
        status, detail = status_and_detail(error)
        if not isinstance(error, RejectedRequest | Refused):
            log.error("a telemetry frame failed", exc_info=error)
        self._counts.refused(status)
        return {"type": "error", **_echo(frame_id), "status": status, "detail": detail or "unknown device token"}

    async def _say(self, **frame: Any) -> None:
        await self._socket.send(orjson.dumps(frame).decode())

    async def _finish(self, answering: asyncio.Task[None] | None) -> None:
        """Wait until everything that was taken is stored and answered."""
        if answering is not None:
            await self._waiting.put(None)
            await answering


def _frame(message: str | bytes) -> _Frame:
    if isinstance(message, bytes):
        raise Violation("frames are JSON text, not binary")
    try:
        return _FRAMES.decode(message)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Violation(f"not a frame: {error}"[:100]) from None


def _echo(frame_id: msgspec.Raw) -> dict[str, Any]:
    """Return a frame's id exactly as the client wrote it: any JSON, numbers of any size included."""
    written = bytes(frame_id)
    return {} if written in (b"", b"null") else {"id": orjson.Fragment(written)}


def _reason(detail: str) -> str:
    """Shorten a text to what a close frame holds (RFC 6455 5.5)."""
    return detail.encode()[:120].decode(errors="ignore")


def _body(frame: _Frame) -> bytes:
    """Return the frame's data as the device API takes it; what stands beside `data` goes with it."""
    beside = [(name, bytes(getattr(frame, name))) for name in _RESERVED]
    given = [(name, value) for name, value in beside if value]
    if not given:
        return bytes(frame.data)
    parts = [b'"%s":%s' % (name.encode(), value) for name, value in [*given, ("telemetry", bytes(frame.data))]]
    return b"{" + b",".join(parts) + b"}"
