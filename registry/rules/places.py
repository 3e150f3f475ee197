"""What may be done with destinations and geofences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from registry.draft import Draft
from registry.errors import Conflict, RegistryRefused
from registry.model import Circle, Destination, Geofence, Polygon, Tenant
from registry.rules.texts import clean_attributes, clean_id, clean_text, has_control, required
from schemas.ids import new_id

WEBHOOK = "webhook"
KINDS = (WEBHOOK,)
MOST_TYPES = 100
MOST_POINTS = 10_000
LARGEST_RADIUS_M = 1_000_000.0
_SMALLEST_RING = 4


def create_destination(
    draft: Draft, tenant: Tenant, kind: str, url: str, types: Sequence[str], sealed_psk: str, name: str = ""
) -> Destination:
    """Create a destination. The URL is http or https and holds no password: it is stored and shown as it is."""
    if kind not in KINDS:
        raise RegistryRefused(f"no destination of kind {kind!r}; there are: {', '.join(KINDS)}")
    made = Destination(
        id=new_id(),
        tenant_id=tenant.id,
        kind=kind,
        name=clean_text(name, "the name"),
        url=_webhook_url(url),
        types=_types(types),
        sealed_psk=sealed_psk,
    )
    return draft.put(made)


def change_destination(
    draft: Draft,
    destination: Destination,
    *,
    version: int | None = None,
    name: str | UnsetType = UNSET,
    url: str | UnsetType = UNSET,
    types: Sequence[str] | UnsetType = UNSET,
    sealed_psk: str | UnsetType = UNSET,
    enabled: bool | UnsetType = UNSET,
) -> Destination:
    """Change what is given."""
    standing = draft.current(destination, version)
    changed: dict[str, Any] = {}
    if name is not UNSET:
        changed["name"] = clean_text(name, "the name")
    if url is not UNSET:
        changed["url"] = _webhook_url(url)
    if types is not UNSET:
        changed["types"] = _types(types)
    if sealed_psk is not UNSET:
        changed["sealed_psk"] = sealed_psk
    if enabled is not UNSET:
        changed["enabled"] = enabled
    return draft.put(msgspec.structs.replace(standing, **changed))


def remove_destination(draft: Draft, destination: Destination, version: int | None = None) -> None:
    """Remove a destination: nothing new is sent to it."""
    draft.remove(draft.current(destination, version))


def check_psk(psk: str) -> None:
    """Refuse a pre-shared key that could smuggle a second header (BT-c06)."""
    if has_control(psk):
        raise RegistryRefused("the PSK holds control characters; it is sent as one header value")


def create_geofence(
    draft: Draft,
    tenant: Tenant,
    name: str,
    area: Circle | Polygon,
    attributes: Mapping[str, str],
    wanted_id: str | None = None,
) -> Geofence:
    """Create a geofence. Refuses an area that is none: open rings, degrees out of range, no extent."""
    fence_id = clean_id(wanted_id)
    if draft.get(Geofence, fence_id) is not None:
        raise Conflict(f"there is a geofence {fence_id!r} already")
    check_area(area)
    made = Geofence(
        id=fence_id,
        tenant_id=tenant.id,
        name=required(name, "the geofence's name"),
        area=area,
        attributes=clean_attributes(attributes),
    )
    return draft.put(made)


def change_geofence(
    draft: Draft,
    fence: Geofence,
    *,
    version: int | None = None,
    name: str | UnsetType = UNSET,
    area: Circle | Polygon | UnsetType = UNSET,
    attributes: Mapping[str, str | None] | UnsetType = UNSET,
) -> Geofence:
    """Change what is given. Of `attributes` only those named; None or an empty text removes one."""
    standing = draft.current(fence, version)
    changed: dict[str, Any] = {}
    if name is not UNSET:
        changed["name"] = required(name, "the geofence's name")
    if area is not UNSET:
        check_area(area)
        changed["area"] = area
    if attributes is not UNSET:
        given = {key: value or "" for key, value in attributes.items()}
        changed["attributes"] = clean_attributes({**standing.attributes, **given})
    return draft.put(msgspec.structs.replace(standing, **changed))


def remove_geofence(draft: Draft, fence: Geofence, version: int | None = None) -> None:
    """Remove a geofence."""
    draft.remove(draft.current(fence, version))


def check_area(area: Circle | Polygon) -> None:
    """Refuse an area that no position could be inside of."""
    if isinstance(area, Circle):
        _check_point(area.longitude, area.latitude)
        if not 0 < area.radius_m <= LARGEST_RADIUS_M:
            raise RegistryRefused(f"the radius is more than 0 and at most {LARGEST_RADIUS_M:.0f} metres")
        return
    if not area.coordinates or sum(len(ring) for ring in area.coordinates) > MOST_POINTS:
        raise RegistryRefused(f"a polygon has a ring at least, and at most {MOST_POINTS} points")
    for ring in area.coordinates:
        if len(ring) < _SMALLEST_RING or ring[0] != ring[-1] or len(set(ring)) < _SMALLEST_RING - 1:
            raise RegistryRefused("each ring has three different points at least, and its first one again at its end")
        for longitude, latitude in ring:
            _check_point(longitude, latitude)


def _check_point(longitude: float, latitude: float) -> None:
    inside = -90 <= latitude <= 90 and -180 <= longitude <= 180
    if not (math.isfinite(latitude) and math.isfinite(longitude) and inside):
        raise RegistryRefused(
            f"longitude {longitude}, latitude {latitude} is no place: degrees, longitude first in polygons"
        )


def _types(types: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(required(each, "an event type") for each in types))
    if len(wanted) > MOST_TYPES:
        raise RegistryRefused(f"more than {MOST_TYPES} event types; leave them out to get all")
    return wanted


def _webhook_url(url: str) -> str:
    text = clean_text(url, "the URL")
    try:
        parts = urlsplit(text)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError as error:
        raise RegistryRefused(f"{text!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not has_host or " " in text:
        raise RegistryRefused(f"{text!r} is no webhook URL: it must be http://host/… or https://host/…")
    if parts.username is not None or parts.password is not None:
        raise RegistryRefused("the URL holds a user name or password; give secrets as the PSK, it is stored encrypted")
    return text
