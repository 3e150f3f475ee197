"""One attempt: a POST under one deadline, its answer read within bounds, every failure told apart."""

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp

from fleetline import __version__
from schemas.times import now_us
from sinks.delivery.endpoint import Endpoint
from sinks.delivery.guard import BlockedAddress, Guard, GuardedResolver
from sinks.delivery.limits import Limits
from sinks.delivery.policy import Kind, Result, parse_retry_after
from sinks.delivery.task import Task

if TYPE_CHECKING:
    from fleetline.settings import Settings

_IDLE_S = 4.0
"""Idle connections are closed before servers close them (Node.js after 5 s), or a POST would be sent into the void."""
_ERROR_CHARACTERS = 300


class Sender:
    """The HTTP client all deliveries share: keep-alive, no redirects, no cookies, no proxy from the environment."""

    def __init__(self, settings: "Settings", limits: Limits) -> None:
        self._limits = limits
        guard = Guard(settings.delivery_allow_networks)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(guard, limits.lookup),
                socket_factory=guard.make_socket,
                limit=0,  # the lanes bound what is on the way
                keepalive_timeout=_IDLE_S,
                ttl_dns_cache=10,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a compressed bomb stays small
            trust_env=False,
            headers={
                "Content-Type": "application/json",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "User-Agent": f"fleetline/{__version__}",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, endpoint: Endpoint, task: Task) -> Result:
        """Post a task once. Never raises but when cancelled; the deadline includes the body of the answer."""
        started_us, started = now_us(), time.perf_counter()
        status: int | None = None
        headers = {
            **endpoint.headers,
            "webhook-id": task.id,
            "webhook-timestamp": str(started_us // 1_000_000),
            "X-Fleetline-Txn": task.txn_id(),
        }
        kind, error, excerpt, retry_after = Kind.ANSWERED, "", b"", None
        try:
            async with (
                asyncio.timeout(self._limits.deadline),
                self._session.post(endpoint.url, data=task.body(), headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
                retry_after = parse_retry_after(answer.headers.get("Retry-After"))
                excerpt = await self._read(answer)
        except Exception as raised:  # noqa: BLE001  whatever a stranger's server provokes is that attempt's failure
            kind, error = explain(raised, self._limits, status)
        return Result(
            kind=kind,
            status=status,
            error=error[:_ERROR_CHARACTERS] or (None if status is None or 200 <= status < 300 else f"HTTP {status}"),
            excerpt=excerpt[: self._limits.excerpt_bytes].decode("utf-8", "replace"),
            retry_after=retry_after,
            started_us=started_us,
            latency_s=time.perf_counter() - started,
        )

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """Read the answer's body up to the bound; more than that closes the connection instead of reading on."""
        body = await answer.content.read(self._limits.answer_bytes)
        while body and len(body) < self._limits.answer_bytes and not answer.content.at_eof():
            more = await answer.content.read(self._limits.answer_bytes - len(body))
            if not more:
                break
            body += more
        if not answer.content.at_eof():
            answer.close()
        return body


def explain(error: BaseException, limits: Limits, status: int | None = None) -> tuple[Kind, str]:
    """Tell what an exception of the client means, in words that hold no secret: never the URL or the headers."""
    blocked = _cause(error, BlockedAddress)
    if blocked is not None:
        return Kind.BLOCKED, f"blocked address: {blocked.strerror}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Kind.TIMEOUT, f"no connection within {limits.connect:g} s"
    if isinstance(error, TimeoutError):
        half = "no answer" if status is None else f"HTTP {status}, but its body was not complete"
        return Kind.TIMEOUT, f"{half} within {limits.deadline:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):  # a refused certificate is a ValueError too
        return Kind.FAILED, _unconnected(error)
    if isinstance(error, ValueError):
        return Kind.UNUSABLE, f"the destination's URL or secret cannot be put into a request: {type(error).__name__}"
    return Kind.FAILED, _broken(error)


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"TLS certificate refused: {error.certificate_error}"
    said = error.os_error.strerror or type(error.os_error).__name__
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name cannot be resolved: {said}"
    return f"no connection: {said}"


def _broken(error: BaseException) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer came"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not HTTP: {error.message}"
    return f"the connection broke: {type(error).__name__}"


def _cause(error: BaseException, kind: type[BlockedAddress]) -> BlockedAddress | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        inner = getattr(seen, "os_error", None)
        seen = inner if isinstance(inner, BaseException) and inner is not seen else seen.__cause__
    return None
