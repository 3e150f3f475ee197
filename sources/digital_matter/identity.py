"""Whose records these are: what path, query, headers and body say, and what to do when they disagree."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from sources.contract import Identity, Request
from sources.peek import peek

SERIAL_PART = "serial"
KEY_PART = "key"
SECRET_QUERY = ("token", "key", "apikey", "api_key")
_FIELDS = ("serial", "imei", "iccid")
_CUSTOM = ("custom1", "custom2", "custom3")
CAPTURED = tuple(f"{prefix}{name}" for prefix in ("x-", "") for name in (*_FIELDS, *_CUSTOM))
"""Headers in which a connector can be told to send its dynamic fields (DM-a06); unset ones come empty (DM-a21)."""
_SECRET = frozenset(SECRET_QUERY)
_IMEI_DIGITS = 15
_ICCID_DIGITS = range(18, 23)
_EUI_DIGITS = 16
_HEX = frozenset("0123456789abcdef")
_PEEKED = 512
_QUOTE = b"%22"


class Claims(NamedTuple):
    """What a request says about its device outside of its body."""

    serials: tuple[str, ...] = ()
    imeis: tuple[str, ...] = ()
    iccid: str = ""
    kept: tuple[tuple[str, str], ...] = ()
    """Names and values of the custom fields and of query parameters of no known name."""


_NO_CLAIMS = Claims()


def ordering_key(request: Request) -> str:
    """Keep the order of one device: `SerNo`, or the Edge dialect's `sn`, else the serial in the path."""
    body = request.body
    if body[:1] not in {b"{", b"["} and _QUOTE in body[:_PEEKED]:
        body = unquote_to_bytes(body[:_PEEKED])
    return peek(body, b'"SerNo"', b'"sn"') or request.path_params.get(SERIAL_PART, "")


def as_text(value: object) -> str:
    """Return an id as text whether it was sent as a number or as text; empty when it is neither."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def claims_of(request: Request) -> Claims:
    """Collect what path, query and headers say. A dynamic field that is not set comes empty, and says nothing (DM-a21)."""
    if not (request.path_params or request.headers or request.query):
        return _NO_CLAIMS
    return _claims(
        request.path_params.get(SERIAL_PART, ""), tuple(request.headers.items()), tuple(request.query.items())
    )


@lru_cache(maxsize=4096)
def _claims(path: str, headers: tuple[tuple[str, str], ...], query: tuple[tuple[str, str], ...]) -> Claims:
    said = [(name.lower(), value.strip()) for name, value in query]
    said += [(name.removeprefix("x-"), value.strip()) for name, value in headers if name in CAPTURED]
    said = [(name, value) for name, value in said if value and name not in _SECRET]
    serials = [value for name, value in said if name == "serial"]
    imeis = [value for name, value in said if name == "imei"]
    iccids = [value for name, value in said if name == "iccid"]
    kept = {f"query.{name}" if name not in _CUSTOM else name: value for name, value in said if name not in _FIELDS}
    path = path.strip()
    if path and path not in {*imeis, *iccids, *kept.values()}:
        _kind_of(path, serials, imeis, iccids).insert(0, path)
    return Claims(_distinct(serials), _distinct(imeis), iccids[0] if iccids else "", tuple(kept.items()))


def _kind_of(path: str, serials: list[str], imeis: list[str], iccids: list[str]) -> list[str]:
    """Tell an IMEI and an ICCID from a serial number: a connector can put any of its dynamic fields into the path."""
    if path.isdecimal():
        if len(path) == _IMEI_DIGITS:
            return imeis
        if len(path) in _ICCID_DIGITS:
            return iccids
    return serials


def _distinct(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def disagree(claims: Claims, serial: str, imei: str) -> bool:
    """Tell whether the request names another device than its body, or two of them (DM-a18)."""
    return _differ((*claims.serials, serial)) or _differ((*claims.imeis, imei))


def _differ(values: tuple[str, ...]) -> bool:
    return len({value.lstrip("0").lower() for value in values if value}) > 1


def identities(claims: Claims, serial: str, imei: str) -> tuple[Identity, ...]:
    """List how to find the device.

    Where path, query or a header names another device than the body, the body's claim comes last (DM-a18); a credential
    that belongs to one device decides before any of them.
    """
    found = [Identity("serial", value) for value in claims.serials]
    found += [Identity("imei", value) for value in claims.imeis]
    found += [Identity(kind, value) for kind, value in (("serial", serial), ("imei", imei)) if value]
    found += [Identity("external_id", value) for value in (*claims.serials, serial) if value]
    eui = serial.lower()
    if len(eui) == _EUI_DIGITS and _HEX.issuperset(eui):
        found.append(Identity("dev_eui", eui))  # devices that come over LoRaWAN have their EUI for a serial number
    if not found and claims.iccid:
        found.append(Identity("iccid", claims.iccid))  # a SIM can move to another device, so it is the last resort
    return tuple(dict.fromkeys(found))


def kept_texts(claims: Claims, prefix: str) -> Mapping[str, str]:
    """Return the values of the custom fields by the names they are kept under."""
    return {prefix + name: value for name, value in claims.kept}
