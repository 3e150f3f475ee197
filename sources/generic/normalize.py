"""Generic webhook bodies to readings: the device is named by its token or by its external id."""

from collections.abc import Iterable, Sequence
from typing import Any

from sources.contract import Identity, Reading, Request
from sources.device_api import telemetry_reading
from sources.errors import Refused, Unreadable
from sources.peek import peek
from sources.sealed_token import token_digest
from sources.values import as_object, json_items

_DIGEST_SHOWN = 16


def ordering_key(request: Request) -> str:
    """Keep the order of the device that the body names; a token only as its digest."""
    external = peek(request.body, b'"externalDeviceId"')
    if external:
        return external
    token = peek(request.body, b'"deviceToken"')
    return token_digest(token)[:_DIGEST_SHOWN] if token else ""


def check(request: Request) -> None:
    """Refuse a body that names another tenant than the query does, or than the secret belongs to (AC-c05)."""
    if b"tenantId" not in request.body and b"\\u" not in request.body:
        return
    stated = request.query.get("tenantId") or request.tenant_id
    try:
        items = json_items(request)
    except Unreadable:
        return
    for item in items:
        named = item.get("tenantId") if isinstance(item, dict) else None
        if named is not None and str(named) != stated:
            raise Refused(400, "`tenantId` in the body is not the one in the query")


def split(request: Request) -> Sequence[Any]:
    """Return the readings: one object, or an array of them."""
    return json_items(request)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it names no device or holds no telemetry. The token is not kept.

    A token counts more than an external id (AC-c06): it is looked up first.
    """
    values = as_object(item)
    token, external = _text(values, "deviceToken"), _text(values, "externalDeviceId")
    if not token and not external:
        raise Unreadable("no_device", "neither `deviceToken` nor `externalDeviceId` says whose reading it is")
    identities: list[Identity] = []
    if token:
        identities.append(Identity("token_digest", token_digest(token)))
    if external:
        identities.append(Identity("external_id", external))
    reading = telemetry_reading("generic", values, request)
    reading.source_device = external or f"token:{identities[0].value[:_DIGEST_SHOWN]}"
    reading.identities = tuple(identities)
    return (reading,)


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unreadable("bad_device", f"`{key}` must be a text")
    return str(value)
