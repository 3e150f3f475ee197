"""Bodies that are JSON wrapped in a form: in one of its fields, as the only key, or one field per member."""

from typing import Any
from urllib.parse import parse_qsl

from sources.contract import Request
from sources.errors import Unreadable
from sources.values import json_items, parse_json

_MEMBERS = frozenset(("SerNo", "Records", "device"))
_MOST_FIELDS = 1_000


def body_items(request: Request) -> list[Any]:
    """Split a body into its JSON items, whatever its content type says. Raises Unreadable("not_json")."""
    try:
        return json_items(request)
    except Unreadable:
        found = _unwrapped(request.body)
        if found is None:
            raise
        return found if isinstance(found, list) else [found]


def _unwrapped(body: bytes) -> Any:
    """Return the JSON inside a form; None when the body is no form."""
    text = body.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if "=" not in text and "%" not in text:
        return None
    bare = _bare(text)  # JSON that was never escaped: its own & and = must not cut it
    if bare is not None:
        return bare
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None
    return _whole(fields)


def _bare(text: str) -> Any:
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    found = _json(text[min(starts) : max(text.rfind("}"), text.rfind("]")) + 1]) if starts else None
    bodies = found if isinstance(found, list) else [found]
    return found if any(isinstance(each, dict) and not _MEMBERS.isdisjoint(each) for each in bodies) else None


def _whole(fields: list[tuple[str, str]]) -> Any:
    read = {name: _json(value) if value[:1] in {"{", "["} else value for name, value in fields}
    if not _MEMBERS.isdisjoint(read):
        return read
    for name, value in read.items():
        whole = value if isinstance(value, (dict, list)) else _json(name)
        if isinstance(whole, dict):
            others = {other: each for other, each in read.items() if other != name and each not in ("", None)}
            return {**others, **whole}
        if isinstance(whole, list):
            return whole
    return None


def _json(text: str) -> Any:
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except Unreadable:
        return None
