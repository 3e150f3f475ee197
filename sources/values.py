"""Reading JSON bodies and sorting their values into numbers, booleans and texts."""

from collections.abc import Mapping
from typing import Any

import orjson

from schemas.times import MILLISECONDS_FROM, parse_iso_us, parse_us
from sources.contract import Reading, Request
from sources.errors import Unreadable

_EXACT_INTEGER = 2**53


def parse_json(body: bytes) -> Any:
    """Parse a body as JSON whatever its content type says. Raises Unreadable("not_json")."""
    try:
        return orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Unreadable("not_json", str(error)[:200]) from None


def json_items(request: Request) -> list[Any]:
    """Split a body into its items: an array is its elements, anything else is one item, an empty body none."""
    body = request.body
    if not body or body.isspace():
        return []
    parsed = parse_json(body)
    return parsed if isinstance(parsed, list) else [parsed]


def as_object(item: Any) -> dict[str, Any]:
    """Return the item, or raise Unreadable("not_an_object")."""
    if not isinstance(item, dict):
        raise Unreadable("not_an_object", f"expected a JSON object, found {_json_type(item)}")
    return item


def _json_type(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def number_or(value: Any, otherwise: float) -> float:
    """Return a finite number (numbers in quotes are read too), or `otherwise`."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return otherwise
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
        return value
    return otherwise


def time_or_zero(value: Any) -> int:
    """Read a time in any form senders use; 0 when there is none or it cannot be read."""
    if value is None or value == "":
        return 0
    if value.__class__ is float and 1.0 < value < MILLISECONDS_FROM:
        return round(value * 1e6)
    try:
        return parse_iso_us(value) if value.__class__ is str and value[4:5] == "-" else parse_us(value)
    except ValueError:
        return 0


def put(reading: Reading, name: str, value: Any) -> None:
    """Keep one value under `name`, by its JSON type. Nothing is cast and nothing is lost.

    Integers a double cannot hold exactly and everything nested are kept as text; null says nothing and is left out.
    """
    if value is True or value is False:
        reading.booleans[name] = value
    elif isinstance(value, float):
        if abs(value) < float("inf"):
            reading.numbers[name] = value
    elif isinstance(value, int):
        if -_EXACT_INTEGER <= value <= _EXACT_INTEGER:
            reading.numbers[name] = value
        else:
            reading.texts[name] = str(value)
    elif isinstance(value, str):
        reading.texts[name] = value
    elif value is not None:
        reading.texts[name] = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def put_all(reading: Reading, prefix: str, values: Mapping[str, Any]) -> None:
    """Keep every value under `prefix` + its own name; nested objects are joined with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            put_all(reading, f"{prefix}{key}.", value)
        else:
            put(reading, f"{prefix}{key}", value)
