"""One door: takes one source's requests on one route, and says what each is answered.

The order is fixed: authenticate, read within the limit, inflate, check, make durable, and only then 200.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson

from ingress.acceptance import Acceptance
from ingress.errors import RejectedRequest, TooLarge, Truncated, Unauthorized, status_and_detail
from ingress.inflate import inflate
from ingress.metrics import SourceCounts
from ingress.rejected import LARGEST_BODY, RejectedStore
from sources.contract import NOTHING, OnFailure, Request
from sources.errors import Refused

log = logging.getLogger(__name__)

_MOST_FIELDS = 256
"""Of a query. Reading them comes before the credential, and 64 KiB of nothing but separators cost 16 ms."""
_LENGTH_DIGITS = 18
"""More are no length: Python refuses to read thousands of them."""

Pairs = list[tuple[bytes, bytes]]
Read = Callable[[int], Awaitable[bytes]]
"""Returns the whole body, never more than so many bytes. Raises TooLarge, or Truncated when the sender went away."""


class Answer(msgspec.Struct, frozen=True):
    """What a request is answered."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def wire(self, keep_alive: bool) -> bytes:
        """Return it as it goes over an HTTP/1.1 connection."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, HTTPStatus(self.status).phrase.encode())]
        lines += [name + b": " + value for name, value in self.headers]
        lines.append(b"content-length: %d" % len(self.body))
        if not keep_alive:
            lines.append(b"connection: close")
        return b"\r\n".join([*lines, b"", self.body])


OK = Answer(200)


class _RawNames(dict[str, bytes]):
    """Names of headers as they stand on the wire; they are ours, never a stranger's, so they are few."""

    def __missing__(self, name: str) -> bytes:
        raw = self[name] = name.encode("latin-1", "replace")
        return raw


_RAW_NAMES = _RawNames()


class WireHeaders(Mapping[str, str]):
    """The request's headers, decoded only when looked at. Names are lower-case; a repeated header keeps its last value."""

    __slots__ = ("_raw",)

    def __init__(self, pairs: Pairs) -> None:
        self._raw = dict(pairs)

    def get(self, name: str, default: Any = "") -> Any:
        """Return a header's value, Latin-1 as HTTP has it."""
        value = self._raw.get(_RAW_NAMES[name])
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class Door:
    """Takes the requests of one source on the route `template`."""

    def __init__(
        self,
        acceptance: Acceptance,
        template: str,
        counts: SourceCounts,
        *,
        https_only: bool = False,
        rejected: RejectedStore | None = None,
    ) -> None:
        self._acceptance = acceptance
        self._source = acceptance.source
        self._template = template
        self._counts = counts
        self._https_only = https_only
        self.hold = acceptance.hold
        self._rejected = rejected if self._source.on_failure is OnFailure.DROPS else None

    async def answer(
        self, method: str, scheme: str, pairs: Pairs, query: bytes, path_params: Mapping[str, str], read: Read
    ) -> Answer:
        """Answer one request: 200 and an empty body once it is durable, else what `ingress.errors` says. Never raises."""
        started = time.perf_counter()
        try:
            if method not in self._source.methods:
                return self._refused(Answer(405, ((b"allow", ", ".join(self._source.methods).encode()),)))
            if self._https_only and scheme != "https":
                return self._refused(_problem(403, "use https"))
            headers = WireHeaders(pairs)
            request = Request(
                method=method,
                path=self._template,
                path_params=path_params,
                query=_fields(query) if query else NOTHING,
                headers=headers,
                content_type=headers.get("content-type"),
            )
            acceptance = self._acceptance
            try:
                credential = acceptance.authenticate(request)
            except Unauthorized:
                if self._rejected is not None:
                    await self._rejected.rescue(self._source, request, _inflated(headers, read, LARGEST_BODY))
                raise
            request.body = await _inflated(headers, read, acceptance.limit)
            await acceptance.store(request, credential)
        except Exception as error:  # noqa: BLE001  whatever happened, the sender gets a status
            return self._refused(self._explain(error))
        self._counts.accepted(len(request.body), time.perf_counter() - started)
        return OK

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request over ASGI."""

        async def read(limit: int) -> bytes:
            return await _read(receive, limit, self.hold)

        answer = await self.answer(
            scope["method"], scope["scheme"], scope["headers"], scope["query_string"],
            scope.get("path_params") or NOTHING, read,
        )  # fmt: skip
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _refused(self, answer: Answer) -> Answer:
        self._counts.refused(answer.status)
        return answer

    def _explain(self, error: Exception) -> Answer:
        """Say what went wrong, if there is something to say, in a small problem document (RFC 9457).

        A 401 has an empty body (AP-a11), unless the secret is yet to be made (AC-b08).
        """
        status, detail = status_and_detail(error)
        if not isinstance(error, RejectedRequest | Refused):
            log.error("request to %s failed", self._template, exc_info=error)
        wait_s = getattr(error, "retry_after_s", 0)
        return _problem(status, detail, *([(b"retry-after", b"%d" % wait_s)] if wait_s else []))


def _problem(status: int, detail: str, *headers: tuple[bytes, bytes]) -> Answer:
    if not detail:
        return Answer(status, headers)
    body = orjson.dumps({"status": status, "detail": detail})
    return Answer(status, (*headers, (b"content-type", b"application/problem+json")), body)


def _fields(query: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise RejectedRequest(f"the query has more than {_MOST_FIELDS} fields") from None


async def _inflated(headers: WireHeaders, read: Read, limit: int) -> bytes:
    _check_length(headers.get("content-length"), limit)
    return inflate(await read(limit), headers.get("content-encoding"), limit)


def _check_length(announced: str, limit: int) -> None:
    if announced.isdecimal() and (len(announced) > _LENGTH_DIGITS or int(announced) > limit):
        raise TooLarge(f"the body is larger than {limit} bytes")


async def _read(receive: Any, limit: int, hold: Callable[[int], None]) -> bytes:
    parts: list[bytes] = []
    size = held = 0
    more = True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Truncated("the sender went away before the body was complete")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes")
            more = message.get("more_body", False)
            if more:
                hold(size - held)
                held = size
        return b"".join(parts)
    finally:
        hold(-held)
