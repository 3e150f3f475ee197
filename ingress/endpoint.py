"""One door: a raw ASGI callable that takes one source's requests on one route.

The order is fixed: authenticate, read within the limit, inflate, check, make durable, and only then 200.
"""

import hmac
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from fleetline.settings import Settings
from ingress.errors import RETRY_AFTER_S, RejectedRequest, TooLarge, Truncated, Unauthorized, status_and_detail
from ingress.inflate import inflate
from ingress.metrics import SourceCounts
from ingress.producer import Producer
from registry.model import Credential
from registry.view import RegistryView
from schemas.ids import new_id
from schemas.times import now_us
from sources.contract import NOTHING, Request, Source
from sources.errors import Refused
from sources.raw_record import raw_headers

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
    """Takes the requests of `source` on the route `template`."""

    def __init__(
        self,
        source: Source,
        template: str,
        settings: Settings,
        view: RegistryView,
        producer: Producer,
        counts: SourceCounts,
    ) -> None:
        self._source = source
        self._template = template
        self._topic = settings.topics.raw(source.name)
        self._limit = settings.max_body_bytes
        self._global_secret = settings.integration_webhook_secret.get_secret_value().encode()
        self._view = view
        self._producer = producer
        self._counts = counts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: 200 and an empty body once it is durable, else what `ingress.errors` says."""
        if scope["method"] not in self._source.methods:
            await self._answer(send, 405, "", [(b"allow", ", ".join(self._source.methods).encode())])
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
        source = self._source
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
        credential = self._authenticate(request)
        body = await _read(headers, receive, self._limit)
        request.body = inflate(body, headers.get("content-encoding"), self._limit)
        request.received_us = now_us()
        request.record_id = new_id()
        request.tenant_id = credential.tenant_id
        request.credential_id = credential.id
        request.device_id = credential.device_id
        try:
            source.check(request)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001  quarantine will show it; a 500 would come again for days
            self._mistaken("check", error)
        request.body = source.seal(request.body)  # a mistake here must not store a secret: it is a 500
        try:
            key = source.ordering_key(request)
        except Exception as error:  # noqa: BLE001  the record is worth more than its place
            key = self._mistaken("ordering_key", error)
        key = key or credential.device_id or credential.id
        await self._producer.append(
            self._topic, key.encode("utf-8", "replace"), request.body, raw_headers(request, source)
        )
        return len(request.body)

    def _mistaken(self, what: str, error: Exception) -> str:
        """Report a mistake of the source's and return nothing. Only the error's type: its text may quote a secret."""
        log.error("%s of source %s failed with %s", what, self._source.name, type(error).__name__)
        return ""

    def _authenticate(self, request: Request) -> Credential:
        """Find whose secret was presented. Raises Unauthorized; says nothing about why."""
        source = self._source
        for extract in source.credentials:
            try:
                secret = extract(request)
            except Exception as error:  # noqa: BLE001  no stranger's header may cost more than a 401
                secret = self._mistaken("credentials", error)
            if not secret:
                continue
            found = self._view.credential_for(source.name, source.tenant_secret, secret) or self._global(
                request, secret
            )
            if found is None:
                continue
            if source.tenant_query and request.query.get(source.tenant_query, found.tenant_id) != found.tenant_id:
                raise Unauthorized  # AC-a23: tenant A's secret with tenant B's id
            return found
        raise Unauthorized

    def _global(self, request: Request, secret: str) -> Credential | None:
        """Accept the operators' secret for the tenant the query names (AC-a24); an empty one opens nothing."""
        source = self._source
        if not (self._global_secret and source.tenant_secret and source.tenant_query):
            return None
        if not hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._global_secret):
            return None
        tenant = self._view.tenant(request.query.get(source.tenant_query, ""))
        if tenant is None:
            return None
        return Credential(id="integration", tenant_id=tenant.id, source=source.name, digest="")

    async def _refuse(self, send: Any, error: Exception) -> None:
        status, detail = status_and_detail(error)
        if not isinstance(error, RejectedRequest | Refused):
            log.error("request to %s failed", self._template, exc_info=error)
        extra = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 503 else []
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
