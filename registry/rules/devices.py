"""What may be done with devices."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from registry.draft import Draft
from registry.errors import Conflict, NotFound, RegistryRefused
from registry.model import DEV_EUI, EXTERNAL_ID, Device, Tenant
from registry.rules.texts import clean_attributes, clean_id, required
from registry.tenant import external_id_of, plain_dev_eui
from registry.view import RegistryView

UNIQUE = ("imei", "serial", "iccid")
"""Attributes that only one device of a tenant can have, beside the external id and the DevEUI."""
_DEV_EUI_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


def find_device(view: RegistryView | Draft, tenant: Tenant, wanted: str | Device) -> Device:
    """Find a device of one tenant by id, else by its name. Raises NotFound, or Conflict when several are called so."""
    if isinstance(wanted, Device):
        wanted = wanted.id
    found = view.device(wanted)
    if found is not None and found.tenant_id == tenant.id:
        return found
    named = view.claimants(tenant.id, "name", wanted)
    if len(named) > 1:
        raise Conflict(f"{len(named)} devices of {tenant.name!r} are called {wanted!r}; give the id")
    device = view.device(named[0]) if named else None
    if device is None:
        raise NotFound(f"no device {wanted!r} at tenant {tenant.name!r}; `fleetline device list` shows them")
    return device


def create_device(
    draft: Draft,
    tenant: Tenant,
    name: str,
    attributes: Mapping[str, str],
    *,
    gateway: bool = False,
    parent: str | Device | None = None,
    wanted_id: str | None = None,
) -> Device:
    """Create a device. Empty attributes are left out; the external id is the device's id unless given (AC-b04).

    Refuses an id of any kind that another device of the tenant has, the name of a sibling, and a parent that is no
    gateway, or is below one itself (AC-a17).
    """
    device_id = clean_id(wanted_id)
    if draft.device(device_id) is not None:
        raise Conflict(f"there is a device {device_id!r} already")
    made = Device(
        id=device_id,
        tenant_id=tenant.id,
        name=required(name, "the device's name"),
        attributes=_attributes(attributes, device_id),
        gateway=gateway,
        parent_id="" if not parent else _parent(draft, tenant, parent, gateway=gateway).id,
    )
    _refuse_duplicates(draft, made)
    return draft.put(made)


def change_device(
    draft: Draft,
    device: Device,
    *,
    version: int | None = None,
    name: str | UnsetType = UNSET,
    attributes: Mapping[str, str | None] | UnsetType = UNSET,
    gateway: bool | UnsetType = UNSET,
    parent: str | Device | UnsetType | None = UNSET,
) -> Device:
    """Change what is given. Of `attributes` only those named; None or an empty text removes one (AC-b05)."""
    standing = draft.current(device, version)
    changed: dict[str, Any] = {}
    if name is not UNSET:
        changed["name"] = required(name, "the device's name")
    if attributes is not UNSET:
        given = {key: value or "" for key, value in attributes.items()}
        changed["attributes"] = _attributes({**standing.attributes, **given}, standing.id)
    is_gateway = standing.gateway if gateway is UNSET else gateway
    changed["gateway"] = is_gateway
    if standing.gateway and not is_gateway and draft.children(standing.id):
        raise Conflict(f"{standing.name!r} has devices behind it: move or remove them before it stops being a gateway")
    wanted = standing.parent_id if parent is UNSET else parent
    if not wanted:
        changed["parent_id"] = ""
    else:
        owner = draft.tenant(standing.tenant_id)
        if owner is None:
            raise NotFound(f"there is no tenant {standing.tenant_id!r} any more")
        changed["parent_id"] = _parent(draft, owner, wanted, gateway=is_gateway, child=standing.id).id
    made = msgspec.structs.replace(standing, **changed)
    _refuse_duplicates(draft, made)
    return draft.put(made)


def remove_device(draft: Draft, device: Device, version: int | None = None) -> None:
    """Remove a device with its credentials. Refuses a gateway that has devices behind it."""
    standing = draft.current(device, version)
    behind = len(draft.children(standing.id))
    if behind:
        raise Conflict(f"{standing.name!r} has {behind} devices behind it: move or remove them first")
    for credential in draft.credentials_of(standing.id):
        draft.remove(credential)
    draft.remove(standing)


def _attributes(given: Mapping[str, str], device_id: str) -> dict[str, str]:
    kept = clean_attributes(given)
    kept.setdefault(EXTERNAL_ID, device_id)
    if DEV_EUI in kept:
        kept[DEV_EUI] = _dev_eui(kept[DEV_EUI])
    return kept


def _dev_eui(value: str) -> str:
    plain = plain_dev_eui(value)
    if len(plain) != _DEV_EUI_DIGITS or not _HEX.issuperset(plain):
        raise RegistryRefused(f"{value!r} is no DevEUI: {_DEV_EUI_DIGITS} hex digits, separators allowed")
    return plain


def _parent(draft: Draft, tenant: Tenant, wanted: str | Device, *, gateway: bool, child: str = "") -> Device:
    parent = find_device(draft, tenant, wanted)
    if not parent.gateway:
        raise RegistryRefused(f"{parent.name!r} is no gateway, so it cannot be a parent")
    if parent.parent_id or gateway or parent.id == child:
        raise RegistryRefused("a gateway cannot stand behind another gateway: one level only")
    return parent


def _refuse_duplicates(draft: Draft, device: Device) -> None:
    unique = {"external_id": external_id_of(device), "dev_eui": device.attributes.get(DEV_EUI, "")}
    unique |= {kind: device.attributes.get(kind, "") for kind in UNIQUE}
    for kind, value in unique.items():
        for taken in draft.claimants(device.tenant_id, kind, value) if value else ():
            if taken != device.id:
                raise Conflict(f"the {kind} {value!r} is taken by device {taken}")
    for other_id in draft.siblings(device.tenant_id, device.parent_id, device.name):
        if other_id != device.id:
            raise Conflict(f"there is a device {device.name!r} already ({other_id})")
