"""Which device a message means, within its tenant."""

from collections.abc import Sequence

import msgspec

from registry.contents import Contents
from registry.packing import DIGEST, CredentialRow, DeviceRow
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


_AS_WRITTEN = frozenset(("imei", "external_id", "serial", "iccid", "name"))
"""Kinds of identity that are looked up under the name and the value a message gives."""


def identify(
    contents: Contents, tenant: int, credential_device_id: str, identities: Sequence[Identity], child: str
) -> Identified:
    """Find the device of one record; see `RegistryView.identify`."""
    if credential_device_id:
        return _authenticated(contents, tenant, credential_device_id, identities, child)
    named = contents.devices.named
    for identity in identities:
        kind = identity.kind
        if kind in _AS_WRITTEN:
            device = named(tenant, kind, identity.value)
        elif kind == "dev_eui":
            device = named(tenant, kind, plain_dev_eui(identity.value))
        else:
            device = _resolve(contents, tenant, kind, identity.value)
        if device is not None:
            return _behind(contents, device, child) if child else Identified(device.id, "", False)
    return UNKNOWN


def _resolve(contents: Contents, tenant: int, kind: str, value: str) -> DeviceRow | None:
    if kind == "id":
        return contents.devices.owned(tenant, value)
    if kind == TOKEN_DIGEST:
        return _token_bearer(contents, tenant, value)
    kind, value = compared(kind, value)
    return contents.devices.named(tenant, kind, value)


def compared(kind: str, value: str) -> tuple[str, str]:
    """Return the name and the form under which an identity is looked up."""
    kind = ALIASES.get(kind, kind)
    return kind, plain_dev_eui(value) if kind == "dev_eui" else value


def tokens(contents: Contents, tenant: int, presented: str) -> list[CredentialRow]:
    """List the credentials of a tenant's devices with a digest, expired ones included, by id."""
    rows = contents.credentials.all((DIGEST, presented))
    return [row for row in rows if row.tenant == tenant and row.is_token]


def _token_bearer(contents: Contents, tenant: int, presented: str) -> DeviceRow | None:
    for row in tokens(contents, tenant, presented):
        credential = contents.credential(row)
        if credential is not None and credential.opens_with(presented, now_us()):
            return contents.devices.owned(tenant, credential.device_id)
    return None


def _behind(contents: Contents, gateway: DeviceRow, name: str) -> Identified:
    if not gateway.gateway:
        return UNKNOWN
    child = _child(contents, gateway, name)
    return Identified("" if child is None else child.id, gateway.id, False)


def _child(contents: Contents, gateway: DeviceRow, name: str) -> DeviceRow | None:
    """Find a device behind a gateway by its id, then its external id, then its name (AC-c11)."""
    devices = contents.devices
    by_id = devices.owned(gateway.tenant, name)
    if by_id is not None and by_id.parent == gateway.id:
        return by_id
    by_external_id = devices.find((gateway.tenant, gateway.id, "external_id", name))
    return by_external_id or devices.find((gateway.tenant, gateway.id, "name", name))


def _authenticated(
    contents: Contents, tenant: int, device_id: str, identities: Sequence[Identity], child: str
) -> Identified:
    device = contents.devices.owned(tenant, device_id)
    if device is None:  # the credential outlived its device: what the message claims to be must not count instead
        return UNKNOWN
    if child:
        return _behind(contents, device, child)
    relayed, mismatch = "", False
    contested = contents.devices.contested
    for identity in identities:
        kind, value = identity.kind, identity.value
        own = kind in _AS_WRITTEN and device.value(kind) == value
        if own and not (contested and (tenant, kind, value) in contested):
            continue
        named = _resolve(contents, tenant, kind, value)
        if named is None or named.id in (device_id, relayed):
            continue
        if device.gateway and not relayed and named.parent == device_id:
            relayed = named.id
        else:
            mismatch = True
    if relayed:
        return Identified(relayed, device_id, mismatch)
    return Identified(device_id, "", mismatch)
