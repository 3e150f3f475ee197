"""Device tokens inside bodies: replaced by their digests before anything is stored, and read again as digests.

A body is kept for days and read by many; a token opens the door for years. Everything else in the body stays as it was.
"""

import hashlib
import re

import orjson

SEALED = "sha256:"
_NAME = b"deviceToken"
_MEMBER = re.compile(rb'("deviceToken"\s*:\s*)(?:"((?:[^"\\]|\\.)*+)("?)|(-?[0-9][^\s,\]}]*))', re.DOTALL)
"""A text, also one that breaks off, or a number. Other values hold no token: they are looked into by `_OPENED`."""
_SPELLED_OUT = re.compile(rb"\\u00[4-7]")
_ESCAPE = re.compile(rb"\\(?:u00([46][1-9A-Fa-f]|[57][0-9Aa])|.)", re.DOTALL)
_OPENED = re.compile(rb'"deviceToken"\s*:\s*([\[{])')
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LOOSE = re.compile(
    rb"deviceToken(\\*[\"']?\s*[:=]\s*\\*[\"']?)(?!sha256:|(?:null|true|false)\b)([^\s\"'\\&,;{}\[\]]+)", re.DOTALL
)
"""How a token stands in what is no JSON (forms, Python's repr) and in JSON inside a text."""
_CBOR_NAME = b"\x6b" + _NAME
_CBOR_TEXT, _CBOR_TEXTS_END = 0x60, 0x78
_CBOR_LENGTH_BYTES = {0x78: 1, 0x79: 2, 0x7A: 4, 0x7B: 8}


def token_digest(token: str) -> str:
    """Return what the registry knows a token by; a sealed one holds it."""
    if token.startswith(SEALED):
        return token.removeprefix(SEALED)
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def seal_json(body: bytes) -> bytes:
    """Replace every device token in a body by its digest, however its key is spelled and whether or not it is JSON.

    A second pass changes nothing. Never raises.
    """
    count = body.count(_NAME)
    spelled_out = _SPELLED_OUT.search(body) is not None
    if not count and not spelled_out:
        return body
    sealed, found = _MEMBER.subn(_sealed, body)
    if found == count and not spelled_out:
        return sealed
    if spelled_out:
        plain = _ESCAPE.sub(_letter, sealed)
        if plain.count(_NAME) > count:
            sealed = _MEMBER.sub(_sealed, plain)
    return _LOOSE.sub(_loosely_sealed, _opened_removed(sealed))


def seal_cbor(body: bytes) -> bytes:
    """Replace every device token in a CBOR body by its digest: maps count items, not bytes, so that the rest stays."""
    parts: list[bytes] = []
    done, at = 0, body.find(_CBOR_NAME)
    while at >= 0:
        at += len(_CBOR_NAME)
        start, end = _cbor_text(body, at)
        if end > start:
            text = _digest(body[start:end].decode("utf-8", "replace"))
            parts += (body[done:at], b"\x78", bytes((len(text),)), text)
            done = at = end
        at = body.find(_CBOR_NAME, at)
    return b"".join((*parts, body[done:])) if parts else body


def _cbor_text(body: bytes, at: int) -> tuple[int, int]:
    """Return where the text that starts at `at` begins and ends; nothing when there is none."""
    head = body[at] if at < len(body) else 0
    if _CBOR_TEXT <= head < _CBOR_TEXTS_END:
        return at + 1, min(at + 1 + head - _CBOR_TEXT, len(body))
    size = _CBOR_LENGTH_BYTES.get(head, 0)
    start = at + 1 + size
    return (start, min(start + int.from_bytes(body[at + 1 : start]), len(body))) if size else (at, at)


def _sealed(found: re.Match[bytes]) -> bytes:
    if found[4] is not None:
        return found[1] + b'"' + _digest(found[4].decode("utf-8", "replace")) + b'"'
    try:
        token = orjson.loads(b'"' + found[2] + b'"')
    except orjson.JSONDecodeError:
        token = found[2].decode("utf-8", "replace")
    return found[1] + b'"' + _digest(token) + found[3] if token else found[0]


def _loosely_sealed(found: re.Match[bytes]) -> bytes:
    return _NAME + found[1] + _digest(found[2].decode("utf-8", "replace"))


def _digest(token: str) -> bytes:
    return f"{SEALED}{token_digest(token)}".encode()


def _letter(found: re.Match[bytes]) -> bytes:
    """Write a letter that was spelled out as four hex digits as itself: the same JSON."""
    return bytes((int(found[1], 16),)) if found[1] else found[0]


def _opened_removed(body: bytes) -> bytes:
    """Replace what is no token but an array or an object by `true`, which is as unreadable and holds no secret."""
    parts: list[bytes] = []
    done, found = 0, _OPENED.search(body)
    while found is not None:
        parts += (body[done : found.start(1)], b"true")
        done = _closed(body, found.start(1))
        found = _OPENED.search(body, done)
    return b"".join((*parts, body[done:])) if parts else body


def _closed(body: bytes, at: int) -> int:
    depth = 0
    for token in _TOKENS.finditer(body, at):
        if token[0] in b"[{":
            depth += 1
        elif token[0] in b"]}":
            depth -= 1
            if depth == 0:
                return token.end()
    return len(body)
