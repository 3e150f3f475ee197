"""CBOR (RFC 8949) as what JSON could have said, so that both give the same record (AC-a02)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from sources.device_api import DEEPEST
from sources.errors import Unreadable

REASON = "not_cbor"
_FIRST, _LAST = 0x80, 0xDB
"""First bytes of arrays, maps and tags: no JSON begins with one of them."""
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_PRINTED_BITS = 8_192
_REFERENCES = (25, 29)
"""References to earlier values: with them a body of a few bytes could stand for gigabytes."""
_BY_CONTENT = (0, 1, 28, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000)
"""Tags the library would make Python objects of; here they stand for what they contain, as unknown tags do."""


def _content(value: Any, _: bool) -> Any:
    return value


def _refused(_: Any, __: bool) -> Any:
    raise Unreadable(REASON, "references to earlier values are not read")


_DECODERS = {**dict.fromkeys(_BY_CONTENT, _content), **dict.fromkeys(_REFERENCES, _refused)}


def is_cbor(body: bytes) -> bool:
    """Tell CBOR by its first byte: senders state the wrong content type, and MQTT has none."""
    return bool(body) and _FIRST <= body[0] <= _LAST


def parse_cbor(body: bytes) -> Any:
    """Parse one CBOR item. Raises Unreadable("not_cbor"), also when anything follows it, and Unreadable("too_deep").

    Byte strings become hex; a tag is what it contains (a time: ISO 8601 or seconds), but large integers and decimal
    fractions are numbers; `undefined` and NaN become null, infinities and integers of more than 64 bits text; keys of
    maps become text.
    """
    import io

    import cbor2

    source = io.BytesIO(body)
    try:
        parsed = cbor2.CBORDecoder(source, semantic_decoders=_DECODERS, allow_duplicate_keys=False).decode()
        if source.tell() < len(body):
            raise Unreadable(REASON, f"{len(body) - source.tell()} bytes behind the first item")
        return _jsonable(parsed, 0)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001  the decoder raises whatever a tag's conversion raises
        raise Unreadable(REASON, f"{type(error).__name__}: {error}"[:200]) from None


def _jsonable(value: Any, depth: int) -> Any:
    found = value.__class__
    if found is str or found is bool or value is None:
        return value
    if found is int:
        return value if _SMALLEST <= value <= _LARGEST else _large(value)
    if found is float:
        return _finite(value)
    if depth > DEEPEST:
        raise Unreadable("too_deep", f"nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, (list, tuple)):
        return [_jsonable(each, depth + 1) for each in value]
    return _other(value, depth)


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    made = {key if key.__class__ is str else _key(key): _jsonable(each, depth + 1) for key, each in value.items()}
    if len(made) < len(value):
        raise Unreadable(REASON, "two keys of a map are the same text")
    return made


def _key(key: Any) -> str:
    plain = _jsonable(key, 0)
    return plain if isinstance(plain, str) else orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def _other(value: Any, depth: int) -> Any:
    import cbor2

    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        number = float(value)
        return number if abs(number) < float("inf") else str(value)
    if isinstance(value, cbor2.CBORTag):
        return _jsonable(value.value, depth + 1)
    if isinstance(value, cbor2.CBORSimpleValue):
        return value.value
    return None if value is cbor2.undefined else str(value)


def _finite(value: float) -> float | str | None:
    """Return what a number can hold: NaN is no measurement, and infinity is none that can be counted with."""
    if abs(value) < float("inf"):
        return value
    return None if value != value else ("Infinity" if value > 0 else "-Infinity")


def _large(value: int) -> str:
    return str(value) if value.bit_length() <= _PRINTED_BITS else hex(value)
