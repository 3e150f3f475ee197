"""Which device a message means, within its tenant."""

from collections.abc import Sequence

import msgspec

from registry.contents import Contents
from registry.packing import DeviceRow
from registry.tenant import ALIASES, TOKEN_DIGEST, plain_dev_eui
from schemas.times import now_us
from sources.contract import Identity


class Identified(msgspec.Struct, frozen=True, gc=False):
    """The device a record belongs to; `device_id` is empty when it is unknown.

    `gateway_id` is the gateway that relayed it. `mismatch`: the message names another device of the tenant than the one
    whose credential sent it (DM-a18).
    """

    device_id: str
    gateway_id: str
    mismatch: bool


UNKNOWN = Identified("", "", False)


def identify(
    contents: Contents, tenant: int, credential_device_id: str, identities: Sequence[Identity], child: str
) -> Identified:
    """Find the device of one record; see `RegistryView.identify`."""
    if credential_device_id:
        return _authenticated(contents, tenant, credential_device_id, identities, child)
    for identity in identities:
        device = resolve(contents, tenant, identity.kind, identity.value)
        if device is not None:
            return _behind(contents, device, child) if child else Identified(device.id, "", False)
    return UNKNOWN


def resolve(contents: Contents, tenant: int, kind: str, value: str) -> DeviceRow | None:
    """Return the device of a tenant that one identity names."""
    if kind in ALIASES:
        kind = ALIASES[kind]
    if kind == "dev_eui":
        value = plain_dev_eui(value)
    if not value:
        return None
    if kind == "id":
        return _of_tenant(contents, tenant, value)
    if kind == TOKEN_DIGEST:
        return _token_bearer(contents, tenant, value)
    return contents.devices.find((tenant, kind, value))


def _of_tenant(contents: Contents, tenant: int, device_id: str) -> DeviceRow | None:
    device = contents.devices.find(device_id)
    return device if device is not None and device.tenant == tenant else None


def _token_bearer(contents: Contents, tenant: int, presented: str) -> DeviceRow | None:
    for row in contents.credentials.all((tenant, TOKEN_DIGEST, presented)):
        credential = contents.credential(row)
        if credential is not None and credential.opens_with(presented, now_us()):
            return _of_tenant(contents, tenant, credential.device_id)
    return None


def _child(contents: Contents, gateway: DeviceRow, name: str) -> DeviceRow | None:
    """Find a device behind a gateway by its id, then its external id, then its name (AC-c11)."""
    device = _of_tenant(contents, gateway.tenant, name)
    if device is not None and device.parent == gateway.id:
        return device
    for kind in ("external_id", "name"):
        device = contents.devices.find((gateway.tenant, gateway.id, kind, name))
        if device is not None:
            return device
    return None


def _behind(contents: Contents, gateway: DeviceRow, name: str) -> Identified:
    if not gateway.gateway:
        return UNKNOWN
    child = _child(contents, gateway, name)
    return Identified("" if child is None else child.id, gateway.id, False)


def _authenticated(
    contents: Contents, tenant: int, device_id: str, identities: Sequence[Identity], child: str
) -> Identified:
    device = _of_tenant(contents, tenant, device_id)
    if device is None:  # the credential outlived its device: what the message claims to be must not count instead
        return UNKNOWN
    if child:
        return _behind(contents, device, child)
    relayed, mismatch = "", False
    for identity in identities:
        named = resolve(contents, tenant, identity.kind, identity.value)
        if named is None or named.id in (device_id, relayed):
            continue
        if device.gateway and not relayed and named.parent == device_id:
            relayed = named.id
        else:
            mismatch = True
    if relayed:
        return Identified(relayed, device_id, mismatch)
    return Identified(device_id, "", mismatch)
