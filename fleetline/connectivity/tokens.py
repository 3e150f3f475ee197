"""The token of one device for one source: whether there is one, and a new one (AP-b01, AC-b09)."""

from typing import TYPE_CHECKING

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from registry.draft import Draft
    from registry.model import Credential, Device
    from registry.store import RegistryStore
    from registry.view import RegistryView
    from sources.contract import Source


_LOOKED_AT = 1_000
"""Credentials of a tenant; reading them takes a few milliseconds."""


def tokens_of(view: "RegistryView | Draft", source: "Source", device: "Device") -> "list[Credential]":
    """List the credentials that speak for one device to one source, the newest first."""
    found = [each for each in view.credentials_of(device.id) if each.source == source.name]
    return sorted(found, key=lambda each: (each.created_us, each.id), reverse=True)


def has_secret(view: "RegistryView", source: "Source", device: "Device") -> bool:
    """Tell whether anything opens the source for this device: a token of its own, or what speaks for the whole tenant.

    A tenant with very many credentials is taken to have one of those: nobody waits for them all to be looked at.
    """
    from registry.model import Credential, integration_id

    if tokens_of(view, source, device):
        return True
    if source.tenant_secret and view.get(Credential, integration_id(device.tenant_id)) is not None:
        return True
    first = view.page(Credential, device.tenant_id, "", _LOOKED_AT)
    return len(first) == _LOOKED_AT or any(each.source == source.name and not each.device_id for each in first)


def make_token(
    draft: "Draft", source: "Source", device: "Device", overlap_s: float | None = None, version: int | None = None
) -> "tuple[Credential, str]":
    """Give a device its first token for a source, or a new one in the place of its newest, as part of a change.

    The former goes on opening for `overlap_s` seconds, or the usual while. Raises what `rotate_credential` raises.
    """
    from registry.rules import access, tenants

    found = tokens_of(draft, source, device)
    if found:
        overlap_s = access.OVERLAP_S if overlap_s is None else overlap_s
        return access.rotate_credential(draft, found[0], overlap_s=overlap_s, version=version)
    return access.create_credential(draft, tenants.find_tenant(draft, device.tenant_id), source.name, device)


def rotate_token(store: "RegistryStore", source: "Source", device: "Device") -> str:
    """Give a device its first token for a source, or a new one in the place of its newest; returns it, this once.

    The former goes on opening for the usual overlap. Raises FleetlineError for webhooks: their secret is the tenant's.
    """
    from registry.rules import devices, tenants

    if source.tenant_secret:
        raise FleetlineError(
            f"{source.title} is opened by the tenant's secret, for all devices: fleetline tenant secret {device.tenant_id}"
        )

    def plan(draft: "Draft") -> str:
        standing = devices.find_device(draft, tenants.find_tenant(draft, device.tenant_id), device)
        return make_token(draft, source, standing)[1]

    return store.change(plan)
