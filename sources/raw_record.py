"""A request as a Kafka record and back: what the edge writes is what the normalizer reads."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import replace

from schemas import topics
from sources.contract import NOTHING, Request, Source

NEVER_CAPTURED = frozenset(
    (
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-webhook-secret",
        "x-device-token",
        "x-downlink-apikey",
        "x-api-key",
    )
)
"""Headers that carry secrets: they are dropped even when a source asks for them."""
_OWN = frozenset(
    (
        topics.RECORD_ID, topics.RECEIVED_US, topics.TENANT, topics.CREDENTIAL, topics.DEVICE, topics.TRANSPORT,
        topics.METHOD, topics.PATH, topics.QUERY, topics.CONTENT_TYPE, topics.ORIGINAL_ENCODING, topics.TRACEPARENT,
    )
)  # fmt: skip
_REDACTED = "redacted"
_TIME_DIGITS = 18
"""More do not fit the canonical record, and thousands of them Python refuses to read."""


def raw_headers(request: Request, source: Source) -> list[tuple[str, bytes]]:
    """Build the headers of the raw record. Empty ones are left out; no secret is ever among them.

    `path` is the route with its secret parts left as `{name}`; a secret query parameter reads `redacted`.
    """
    headers = [
        (topics.RECORD_ID, request.record_id.encode()),
        (topics.RECEIVED_US, b"%d" % request.received_us),
        *_constant(
            request.tenant_id, request.credential_id, request.device_id, request.transport, request.method, request.path
        ),
    ]
    if request.query:
        headers.append((topics.QUERY, _query(request, source)))
    if request.content_type:
        headers.append((topics.CONTENT_TYPE, request.content_type.encode("utf-8", "replace")))
    encoding = request.header("content-encoding")
    if encoding:
        headers.append((topics.ORIGINAL_ENCODING, encoding.encode("utf-8", "replace")))
    trace = request.header("traceparent")
    if trace:
        headers.append((topics.TRACEPARENT, trace.encode("utf-8", "replace")))
    for name in source.captured_headers:
        value = request.header(name)
        if value and name not in NEVER_CAPTURED:
            headers.append((topics.CAPTURED + name, value.encode("utf-8", "replace")))
    for name, part in request.path_params.items():
        if name not in source.secret_path_parts:
            headers.append((topics.PATH_PART + name, part.encode("utf-8", "replace")))
    return headers


@lru_cache(maxsize=65_536)
def _constant(
    tenant: str, credential: str, device: str, transport: str, method: str, path: str
) -> tuple[tuple[str, bytes], ...]:
    """Return what is the same for every request of a credential on a route."""
    named = (
        (topics.TENANT, tenant), (topics.CREDENTIAL, credential), (topics.DEVICE, device), (topics.TRANSPORT, transport),
        (topics.METHOD, method), (topics.PATH, path),
    )  # fmt: skip
    return tuple((name, text.encode()) for name, text in named if text)


def _query(request: Request, source: Source) -> bytes:
    pairs = [(key, _REDACTED if key in source.secret_query else value) for key, value in request.query.items()]
    return urlencode(pairs, errors="replace").encode()


def request_from_raw(
    headers: Iterable[tuple[str, bytes]] | None, body: bytes, topic: str, partition: int, offset: int
) -> Request:
    """Read a raw record back. Never raises: headers it does not know are passed over, odd ones read as they can be."""
    known = dict(headers) if headers else {}
    captured: Mapping[str, str] = NOTHING
    parts: Mapping[str, str] = NOTHING
    if not known.keys() <= _OWN:
        captured = _named(known, topics.CAPTURED)
        parts = _named(known, topics.PATH_PART)
    get = known.get
    received, query = get(topics.RECEIVED_US, b""), get(topics.QUERY)
    shared = _shared(
        get(topics.METHOD, b"POST"), get(topics.PATH), get(topics.CONTENT_TYPE), get(topics.TRANSPORT, b"http"),
        get(topics.TENANT), get(topics.CREDENTIAL), get(topics.DEVICE),
    )  # fmt: skip
    return replace(
        shared,
        body=body,
        path_params=parts,
        query=dict(parse_qsl(_text(query), keep_blank_values=True)) if query else NOTHING,
        headers=captured,
        received_us=int(received) if received and len(received) <= _TIME_DIGITS and received.isdigit() else 0,
        record_id=_text(get(topics.RECORD_ID)),
        topic=topic,
        partition=partition,
        offset=offset,
    )


@lru_cache(maxsize=4096)
def _shared(
    method: bytes, path: bytes | None, content_type: bytes | None, transport: bytes, *who: bytes | None
) -> Request:
    """Return what is the same for every request of a credential on a route, see `_constant`."""
    tenant, credential, device = map(_text, who)
    return Request(
        method=_text(method),
        path=_text(path),
        content_type=_text(content_type),
        transport=_text(transport),
        tenant_id=tenant,
        credential_id=credential,
        device_id=device,
    )


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace") if value else ""


def _named(known: Mapping[str, bytes], prefix: str) -> Mapping[str, str]:
    cut = len(prefix)
    return {name[cut:]: _text(value) for name, value in known.items() if str(name).startswith(prefix)}


def header_value(headers: Sequence[tuple[str, bytes]] | None, name: str) -> str:
    """Return one header of a Kafka record as text, or nothing."""
    for key, value in headers or ():
        if key == name:
            return str(value or b"", "utf-8", "replace")
    return ""
