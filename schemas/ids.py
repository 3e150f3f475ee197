"""Ids: a new one for every accepted body, a deterministic one for every canonical record and event."""

import os
import time
from hashlib import blake2b

_VERSION_AND_VARIANT = 0xF000 << 64 | 0xC000 << 48
_UUID_8 = 0x8000 << 64 | 0x8000 << 48
_VARIANT_DIGITS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


_NOISE: list[str] = []
"""Random digits for the next ids: asking the system for each one costs as much as the rest of an id."""
_NOISE_DIGITS = 20
os.register_at_fork(after_in_child=_NOISE.clear)  # parent and child must not make the same ids


def _noise() -> str:
    try:
        return _NOISE.pop()
    except IndexError:
        digits = os.urandom(_NOISE_DIGITS * 128).hex()
        _NOISE.extend(digits[start : start + _NOISE_DIGITS] for start in range(0, len(digits), _NOISE_DIGITS))
        return os.urandom(_NOISE_DIGITS // 2).hex()


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562): unique, and sorted by the time it was made to the millisecond."""
    noise = _noise()
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-{_VARIANT_DIGITS[noise[3]]}{noise[4:7]}-{noise[7:19]}"


def content_id(*parts: bytes) -> bytes:
    """Make the 16 bytes of a UUIDv8 that is a pure function of `parts`, each taken with its length.

    The same message sent again gets the same id: the dedupe key of ClickHouse and the idempotency key of webhooks.
    """
    joined = b""
    for part in parts:
        joined += len(part).to_bytes(4) + part
    made = int.from_bytes(blake2b(joined, digest_size=16).digest())
    return (made & ~_VERSION_AND_VARIANT | _UUID_8).to_bytes(16)


def format_id(id16: bytes) -> str:
    """Print 16 bytes the way UUIDs are printed."""
    text = id16.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_id(text: str) -> bytes:
    """Read what `format_id` printed. Raises ValueError when it is no UUID."""
    made = bytes.fromhex(text.replace("-", ""))
    if len(made) != 16:
        raise ValueError(f"not a UUID: {text!r}")
    return made
