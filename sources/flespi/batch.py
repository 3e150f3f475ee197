"""Finding the messages in a body, and keeping one of two copies of the same message."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from sources.errors import Unreadable
from sources.flespi.notation import dotted, flattened, renamed
from sources.flespi.options import Options

COPY = object()
"""Stands where a message was whose richer copy is in the same batch: the places of the others do not change."""
REGISTRATION = "device."
"""What the channel does not know and the device adds: all that differs between the copies (FL-a10)."""
_DEEPEST = 4
_SORTED = orjson.OPT_SORT_KEYS


def messages_in(parsed: Any, options: Options) -> Sequence[Any]:
    """Return the messages: an array's elements, those of an array inside an object (FL-a21), or one object alone.

    Raises Unreadable when `messages` names no array, or when several arrays could be meant.
    """
    if isinstance(parsed, list):
        return parsed
    if options.messages:
        return _at_path(parsed, options.messages)
    if not isinstance(parsed, dict) or _has_ident(parsed, options):
        return [parsed]
    result = parsed.get("result")  # flespi's REST API
    if isinstance(result, list):
        return result
    found = list(_arrays(parsed, 1))
    if len(found) > 1:
        found = [array for array in found if any(_has_ident(each, options) for each in array)]
        if len(found) != 1:
            raise Unreadable("several_arrays", "say in the URL which array holds the messages: ?messages=path.to.it")
    return found[0] if found else [parsed]


def _at_path(parsed: Any, path: str) -> Sequence[Any]:
    inner = parsed
    for name in path.split("."):
        inner = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(inner, list):
        return inner
    if isinstance(inner, dict):
        return [inner]
    raise Unreadable("no_messages", f"the body has no array at `{path[:100]}`")


def _arrays(value: dict[str, Any], depth: int) -> Iterator[list[Any]]:
    for inner in value.values():
        if isinstance(inner, list):
            yield inner
        elif isinstance(inner, dict) and depth < _DEEPEST:
            yield from _arrays(inner, depth + 1)


def _has_ident(value: Any, options: Options) -> bool:
    if not isinstance(value, dict):
        return False
    return "ident" in value or "Ident" in value or any(new == "ident" and old in value for old, new in options.rename)


def named(message: dict[str, Any], options: Options) -> dict[str, Any]:
    """Return the message under flespi's own names; the very same one when nothing had to be renamed."""
    if options.rename:
        message = renamed(message, options.rename)
    message = dotted(message, options.notation)
    return flattened(message) if dict in map(type, message.values()) else message


def without_registration(message: dict[str, Any]) -> dict[str, Any]:
    """Return what both copies of a message have."""
    return {key: value for key, value in message.items() if key[:7] != REGISTRATION}


def without_copies(messages: Sequence[Any], options: Options) -> Sequence[Any]:
    """Keep the richer of two copies, in the place of the first; a stream should not take both a channel and its devices.

    Looks closer only if some messages name a device and some do not. Copies in two batches have the same id, and
    ClickHouse keeps the richer one.
    """
    registered = 0
    for message in messages:
        if isinstance(message, dict) and _is_registered(message):
            registered += 1
    if registered in {0, len(messages)}:
        return messages
    kept = list(messages)
    first: dict[bytes, int] = {}
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        try:
            content = orjson.dumps(without_registration(named(message, options)), option=_SORTED)
        except orjson.JSONEncodeError:  # nested too deeply: a matter of this message alone
            continue
        place = first.setdefault(content, index)
        if place != index and message != kept[place]:
            if len(message) > len(kept[place]):
                kept[place] = message
            kept[index] = COPY
    return kept


def _is_registered(message: dict[str, Any]) -> bool:
    return "device.id" in message or "DeviceId" in message or "deviceId" in message or "device_id" in message
