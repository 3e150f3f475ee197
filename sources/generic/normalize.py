"""Generic webhook bodies to readings: the device is named by its token or by its external id."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from sources.common_names import place
from sources.contract import Identity, Reading, Request
from sources.device_api import child_of, require_values, telemetry_of, time_of
from sources.errors import Refused, Unreadable
from sources.peek import peek
from sources.values import as_object, json_items

_DIGEST_SHOWN = 16
_SEALED = "sha256:"
_TOKEN = re.compile(rb'("deviceToken"\s*:\s*")((?:[^"\\]|\\.)*)(")')


def ordering_key(request: Request) -> str:
    """Keep the order of the device that the body names; a token only as its digest."""
    external = peek(request.body, b'"externalDeviceId"')
    if external:
        return external
    token = peek(request.body, b'"deviceToken"')
    return _digest(token)[:_DIGEST_SHOWN] if token else ""


def check(request: Request) -> None:
    """Refuse a body that names another tenant than the query does (AC-c05)."""
    stated = request.query.get("tenantId", "")
    if not stated or b'"tenantId"' not in request.body:
        return
    try:
        items = json_items(request)
    except Unreadable:
        return
    if any(isinstance(item, dict) and item.get("tenantId", stated) != stated for item in items):
        raise Refused(400, "`tenantId` in the body is not the one in the query")


def seal(body: bytes) -> bytes:
    """Replace every device token in the body by its digest: a body is kept for days, a secret must not be."""
    return _TOKEN.sub(_sealed, body) if b'"deviceToken"' in body else body


def _sealed(found: re.Match[bytes]) -> bytes:
    try:
        token = orjson.loads(b'"' + found[2] + b'"')
    except orjson.JSONDecodeError:
        token = found[2].decode("utf-8", "replace")
    return found[1] + _SEALED.encode() + _digest(token).encode() + found[3]


def split(request: Request) -> Sequence[Any]:
    """Return the readings: one object, or an array of them."""
    return json_items(request)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it names no device or holds no telemetry. The token is not kept."""
    values = as_object(item)
    token, external = _text(values, "deviceToken"), _text(values, "externalDeviceId")
    if not token and not external:
        raise Unreadable("no_device", "neither `deviceToken` nor `externalDeviceId` says whose reading it is")
    identities: list[Identity] = []
    if token:
        identities.append(Identity("token_digest", _digest(token)))
    if external:
        identities.append(Identity("external_id", external))
    reading = Reading(
        type="telemetry",
        source_device=external or f"token:{_digest(token)[:_DIGEST_SHOWN]}",
        identities=tuple(identities),
        child=child_of(values),
        sent_us=time_of(values),
    )
    telemetry = telemetry_of(values)
    place(reading, "generic", telemetry)
    require_values(reading)
    reading.content = {"telemetry": telemetry, "ts": reading.sent_us}
    return (reading,)


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unreadable("bad_device", f"`{key}` must be a text")
    return str(value)


def _digest(token: str) -> str:
    """Return what the registry knows a token by; a sealed one holds it."""
    if token.startswith(_SEALED):
        return token.removeprefix(_SEALED)
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
