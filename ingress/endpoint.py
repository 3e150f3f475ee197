"""One door: a raw ASGI callable that takes one source's requests on one route.

The order is fixed: authenticate, read within the limit, inflate, check, make durable, and only then 200.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ingress.acceptance import Acceptance
from ingress.errors import RejectedRequest, TooLarge, Truncated, status_and_detail
from ingress.inflate import inflate
from ingress.metrics import SourceCounts
from sources.contract import NOTHING, Request
from sources.errors import Refused

log = logging.getLogger(__name__)

_LENGTH_DIGITS = 18
"""More are no length: Python refuses to read thousands of them."""
_RAW_NAMES: dict[str, bytes] = {}
_EMPTY = {"type": "http.response.body", "body": b""}
_OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}


class AsgiHeaders(Mapping[str, str]):
    """The request's headers, decoded only when looked at. Names are lower-case; a repeated header keeps its last value."""

    __slots__ = ("_raw",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._raw = dict(pairs)

    def get(self, name: str, default: Any = "") -> Any:
        """Return a header's value, Latin-1 as HTTP has it. `name` is one of ours, never a stranger's."""
        raw_name = _RAW_NAMES.get(name)
        if raw_name is None:
            raw_name = _RAW_NAMES[name] = name.encode("latin-1", "replace")
        value = self._raw.get(raw_name)
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class Door:
    """Takes the requests of one source on the route `template`."""

    def __init__(self, acceptance: Acceptance, template: str, counts: SourceCounts, https_only: bool = False) -> None:
        self._acceptance = acceptance
        self._source = acceptance.source
        self._template = template
        self._counts = counts
        self._https_only = https_only

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: 200 and an empty body once it is durable, else what `ingress.errors` says."""
        if scope["method"] not in self._source.methods:
            await self._answer(send, 405, "", [(b"allow", ", ".join(self._source.methods).encode())])
            return
        if self._https_only and scope["scheme"] != "https":
            await self._answer(send, 403, "use https", [])
            return
        started = time.perf_counter()
        try:
            size = await self._accept(scope, receive)
        except Exception as error:  # noqa: BLE001  whatever happened, the sender gets a status
            await self._refuse(send, error)
            return
        await send(_OK)
        await send(_EMPTY)
        self._counts.accepted(size, time.perf_counter() - started)

    async def _accept(self, scope: Any, receive: Any) -> int:
        headers = AsgiHeaders(scope["headers"])
        query = scope["query_string"]
        request = Request(
            method=scope["method"],
            path=self._template,
            path_params=scope.get("path_params") or NOTHING,
            query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else NOTHING,
            headers=headers,
            content_type=headers.get("content-type"),
        )
        acceptance = self._acceptance
        credential = acceptance.authenticate(request)
        body = await _read(headers, receive, acceptance.limit)
        request.body = inflate(body, headers.get("content-encoding"), acceptance.limit)
        await acceptance.store(request, credential)
        return len(request.body)

    async def _refuse(self, send: Any, error: Exception) -> None:
        status, detail = status_and_detail(error)
        if not isinstance(error, RejectedRequest | Refused):
            log.error("request to %s failed", self._template, exc_info=error)
        retry_after_s = getattr(error, "retry_after_s", 0)
        extra = [(b"retry-after", b"%d" % retry_after_s)] if retry_after_s else []
        await self._answer(send, status, detail, extra)

    async def _answer(self, send: Any, status: int, detail: str, extra: list[tuple[bytes, bytes]]) -> None:
        """Send an error: an empty body for 401 (AP-a11), else a small problem document (RFC 9457)."""
        body = b"" if status == 401 or not detail else orjson.dumps({"status": status, "detail": detail})
        headers = [(b"content-length", b"%d" % len(body)), *extra]
        if body:
            headers.append((b"content-type", b"application/problem+json"))
        self._counts.refused(status)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _read(headers: AsgiHeaders, receive: Any, limit: int) -> bytes:
    """Read the whole body, never more than `limit` bytes. Raises TooLarge, or Truncated when the sender went away."""
    announced = headers.get("content-length")
    if announced.isdecimal() and (len(announced) > _LENGTH_DIGITS or int(announced) > limit):
        raise TooLarge(f"the body is larger than {limit} bytes")
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and message["type"] == "http.request":
        if len(body) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")
    if message["type"] == "http.disconnect":
        raise Truncated("the sender went away before the body was complete")
    return b"".join(parts)
