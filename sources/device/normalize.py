"""Device API bodies to readings: flat and nested JSON or CBOR, batches, ThingsBoard's forms, children of gateways."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from sources.common_names import place
from sources.contract import Reading, Request
from sources.device_api import child_of, require_values, telemetry_of, time_of
from sources.errors import Refused, Unreadable
from sources.values import as_object, parse_json

LARGEST_BATCH = 100
"""Items in one batch; one more refuses the batch as a whole (AC-a04)."""
_DEEPEST = 32


def ordering_key(_: Request) -> str:
    """Keep the order of the credential's device."""
    return ""


def check(request: Request) -> None:
    """Refuse at once what the client should mend: unreadable bodies (400) and batches over the limit (413).

    Items that are wrong by themselves are quarantined, and the rest of the batch is kept (AC-c08).
    """
    try:
        parsed = parse_body(request)
    except Unreadable as unreadable:
        raise Refused(400, f"{unreadable.reason}: {unreadable.detail}") from None
    if not isinstance(parsed, (dict, list)):
        raise Refused(400, "the body must be an object or an array of objects")
    count = len(_items(parsed))
    if count > LARGEST_BATCH:
        raise Refused(413, f"a batch holds at most {LARGEST_BATCH} items, this one has {count}; nothing of it was kept")


def split(request: Request) -> Sequence[Any]:
    """Return the readings of a body, one per moment and device."""
    return _items(parse_body(request))


def parse_body(request: Request) -> Any:
    """Parse JSON, or CBOR when the content type says so (AC-a02). Raises Unreadable."""
    if request.content_type.partition(";")[0].strip().lower() == "application/cbor":
        return parse_cbor(request.body)
    return parse_json(request.body)


def parse_cbor(body: bytes) -> Any:
    """Parse CBOR into what JSON could hold. Raises Unreadable("not_cbor")."""
    import cbor2

    try:
        return _jsonable(cbor2.loads(body), 0)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001  the decoder raises whatever a tag's conversion raises
        raise Unreadable("not_cbor", f"{type(error).__name__}: {error}"[:200]) from None


def _jsonable(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise Unreadable("not_cbor", f"nested deeper than {_DEEPEST} levels")
    if isinstance(value, Mapping):
        return {str(key): _jsonable(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(each, depth + 1) for each in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # NaN and infinity say nothing a number can hold
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    encoded: Any = orjson.loads(orjson.dumps(value, default=str))
    return encoded


def _items(parsed: Any) -> list[Any]:
    if isinstance(parsed, list):
        return parsed
    if isinstance(parsed, dict):
        batch = parsed.get("items")
        if isinstance(batch, list) and parsed.keys() == {"items"}:
            return batch
        if _is_gateway_form(parsed):
            return [{"childDeviceId": name, **_enveloped(each)} for name, entries in parsed.items() for each in entries]
    return [parsed]


def _is_gateway_form(parsed: dict[str, Any]) -> bool:
    """Recognise ThingsBoard's gateway form: `{"Device A": [{"ts": …, "values": {…}}, …], …}`."""
    return bool(parsed) and all(
        isinstance(entries, list) and entries and all(isinstance(each, dict) for each in entries)
        and any("values" in each or "ts" in each for each in entries)
        for entries in parsed.values()
    )  # fmt: skip


def _enveloped(entry: dict[str, Any]) -> dict[str, Any]:
    """Bring one gateway entry into the nested form; without `values` it is flat."""
    time = {"ts": entry["ts"]} if "ts" in entry else {}
    if isinstance(entry.get("values"), dict):
        return {**time, "telemetry": entry["values"]}
    return {**time, "telemetry": {key: value for key, value in entry.items() if key != "ts"}}


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it is no object, its time is none, or nothing is in it."""
    values = as_object(item)
    child = child_of(values)
    reading = Reading(type="telemetry", source_device=child, child=child, sent_us=time_of(values))
    telemetry = telemetry_of(values)
    place(reading, "device", telemetry)
    require_values(reading)
    reading.content = {"telemetry": telemetry, "ts": reading.sent_us}
    return (reading,)
