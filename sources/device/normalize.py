"""Device API bodies to readings: flat and nested JSON or CBOR, batches, ThingsBoard's forms, children of gateways.

The same bodies come over HTTP, MQTT and the device WebSocket; nothing here but `check` asks which.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sources.contract import Reading, Request
from sources.device.cbor import is_cbor, parse_cbor
from sources.device_api import RESERVED, require_readable, telemetry_reading
from sources.errors import Refused, Unreadable
from sources.sealed_token import seal_cbor, seal_json
from sources.values import as_object, parse_json

LARGEST_BATCH = 100
"""Items in one request; one more refuses the request as a whole (AC-a04)."""
ATTRIBUTES_PATH = "v1/devices/me/attributes"
"""Where ThingsBoard devices say what they are (firmware, serial number); many do before their first telemetry."""
GATEWAY_PATH = "v1/gateway/telemetry"
"""ThingsBoard's topic for gateways: what comes there is by device name, whatever it looks like (AC-a11)."""
_BATCH_PATH = "/telemetry/batch"
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
    at_gateway = path.endswith(GATEWAY_PATH)
    batch = _batch(parsed, path.endswith(_BATCH_PATH), at_gateway)
    if batch is not None:
        return batch
    if _is_by_name(parsed) if at_gateway else _is_gateway_form(parsed):
        return [_relayed(name, entry) for name, entries in parsed.items() for entry in _listed(entries)]
    return [parsed]


def _batch(parsed: dict[str, Any], stated: bool, at_gateway: bool) -> list[Any] | None:
    """Return the items of `{"items": […]}` (AC-a03); what stands beside them, e.g. `childDeviceId`, holds for each.

    Where the path does not say that it is a batch, `items` may also be a telemetry key, or a device's name.
    """
    items = parsed.get("items")
    if not isinstance(items, list) or not parsed.keys() - {"items"} <= RESERVED:
        if stated:
            raise Unreadable("not_a_batch", 'a batch is `{"items": [...]}` or an array')
        return None
    if not stated and items and not any(_is_item(each, at_gateway) for each in items):
        return None
    common = {key: value for key, value in parsed.items() if key != "items"}
    return [{**common, **each} if isinstance(each, dict) else each for each in items] if common else items


def _is_item(value: Any, at_gateway: bool) -> bool:
    return isinstance(value, dict) and (not at_gateway or "telemetry" in value or "childDeviceId" in value)


def _is_by_name(parsed: dict[str, Any]) -> bool:
    """Tell ThingsBoard's gateway form from `{"childDeviceId": …, "telemetry": {…}}` where one of them is expected."""
    return "childDeviceId" not in parsed and not isinstance(parsed.get("telemetry"), dict)


def _is_gateway_form(parsed: dict[str, Any]) -> bool:
    """Recognise ThingsBoard's gateway form, `{"Device A": [{"ts": …, "values": {…}}, …], …}`, where any form may come."""
    return bool(parsed) and all(
        isinstance(entries, list)
        and any(isinstance(each, dict) and isinstance(each.get("values"), dict) for each in entries)
        for entries in parsed.values()
    )


def _listed(entries: Any) -> list[Any]:
    return entries if isinstance(entries, list) else [entries]


def _relayed(name: str, entry: Any) -> Any:
    """Make one gateway entry an item of its own. What is no object stays unreadable, with the name beside it."""
    if not isinstance(entry, dict):
        return [name, entry]
    return {"ts": None, **entry, "childDeviceId": name}


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it is no object, its time is none, or nothing is in it."""
    reading = telemetry_reading("device", as_object(item), request)
    reading.source_device = reading.child
    if request.path == ATTRIBUTES_PATH:
        reading.type = "attributes"
    return (reading,)
