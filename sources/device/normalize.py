"""Device API bodies to readings: flat and nested JSON or CBOR, batches, ThingsBoard's forms, children of gateways.

The same bodies come over HTTP, MQTT and the device WebSocket; nothing here but `check` asks which.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sources.contract import Reading, Request
from sources.device.cbor import is_cbor, parse_cbor
from sources.device_api import RESERVED, require_readable, telemetry_reading
from sources.errors import Refused, Unreadable
from sources.sealed_token import seal_cbor, seal_json
from sources.values import as_object, parse_json

LARGEST_BATCH = 100
"""Items in one request; one more refuses the request as a whole (AC-a04)."""
GATEWAY_PATH = "v1/gateway/telemetry"
"""ThingsBoard's topic for gateways: what comes there is by device name, whatever it looks like (AC-a11)."""
_BATCH_PATH = "/telemetry/batch"
_ANSWERED = frozenset(("http", "websocket"))
"""Transports that can tell the client; a publish over MQTT gets no error, so there everything is kept or quarantined."""
_CBOR = "cbor"


def ordering_key(_: Request) -> str:
    """Keep the order of the credential's device."""
    return ""


def seal(body: bytes) -> bytes:
    """Replace tokens in the body by their digests: a device that repeats its token there must not have it stored."""
    return seal_cbor(body) if is_cbor(body) else seal_json(body)


def check(request: Request) -> None:
    """Refuse at once what the client should mend: unreadable bodies (400) and batches over the limit (413).

    A batch's items that are wrong by themselves are quarantined, and the rest of the batch is kept (AC-c08).
    """
    if request.transport not in _ANSWERED:
        return
    try:
        parsed = parse_body(request)
        items = _items(parsed, request.path)
        if len(items) == 1 and items[0] is parsed:
            require_readable(as_object(parsed))
    except Unreadable as unreadable:
        raise Refused(400, f"{unreadable.reason}: {unreadable.detail}") from None
    if len(items) > LARGEST_BATCH:
        raise Refused(
            413, f"a batch holds at most {LARGEST_BATCH} items, this one has {len(items)}; nothing of it was kept"
        )


def split(request: Request) -> Sequence[Any]:
    """Return the readings of a body, one per moment and device. Raises Unreadable for one that is neither JSON nor CBOR."""
    return _items(parse_body(request), request.path)


def parse_body(request: Request) -> Any:
    """Parse CBOR (AC-a02) or JSON. The first byte tells which, and only where it does not, the content type."""
    body = request.body
    if is_cbor(body) or (_CBOR in request.content_type and body.lstrip()[:1] not in (b"{", b"[")):
        return parse_cbor(body)
    return parse_json(body)


def _items(parsed: Any, path: str) -> list[Any]:
    if isinstance(parsed, list):
        return parsed
    if not isinstance(parsed, dict):
        return [parsed]
    path = path.rstrip("/")
    batch = _batch(parsed, path.endswith(_BATCH_PATH))
    if batch is not None:
        return batch
    at_gateway = path.endswith(GATEWAY_PATH) and not parsed.keys() & {"childDeviceId", "telemetry"}
    if at_gateway or _is_gateway_form(parsed):
        return [_relayed(name, entry) for name, entries in parsed.items() for entry in _listed(entries)]
    return [parsed]


def _batch(parsed: dict[str, Any], stated: bool) -> list[Any] | None:
    """Return the items of `{"items": […]}` (AC-a03); what stands beside them, e.g. `childDeviceId`, holds for each.

    Where the path does not say that it is a batch, `items` may also be a telemetry key.
    """
    items = parsed.get("items")
    if isinstance(items, list) and parsed.keys() - {"items"} <= RESERVED:
        if stated or not items or any(each.__class__ is dict for each in items):
            common = {key: value for key, value in parsed.items() if key != "items"}
            return [{**common, **each} if isinstance(each, dict) else each for each in items] if common else items
    elif stated:
        raise Unreadable("not_a_batch", 'a batch is `{"items": [...]}` or an array')
    return None


def _is_gateway_form(parsed: dict[str, Any]) -> bool:
    """Recognise ThingsBoard's gateway form: `{"Device A": [{"ts": …, "values": {…}}, …], …}`."""
    return bool(parsed) and all(
        isinstance(entries, list) and entries and all(isinstance(each, dict) for each in entries)
        and any("values" in each or "ts" in each for each in entries)
        for entries in parsed.values()
    )  # fmt: skip


def _listed(entries: Any) -> list[Any]:
    return entries if isinstance(entries, list) else [entries]


def _relayed(name: str, entry: Any) -> Any:
    """Bring one gateway entry into the nested form; without `values` it is flat. What is no object stays unreadable."""
    if not isinstance(entry, Mapping):
        return [name, entry]
    if isinstance(entry.get("values"), dict):
        return {**entry, "childDeviceId": name, "ts": entry.get("ts")}
    flat = {key: value for key, value in entry.items() if key != "ts"}
    return {"childDeviceId": name, "ts": entry.get("ts"), "telemetry": flat}


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it is no object, its time is none, or nothing is in it."""
    reading = telemetry_reading("device", as_object(item), request)
    reading.source_device = reading.child
    return (reading,)
