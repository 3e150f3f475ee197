"""The token of one device for one source: whether there is one, and a new one (AP-b01, AC-b09)."""

from typing import TYPE_CHECKING

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from registry.draft import Draft
    from registry.model import Credential, Device
    from registry.store import RegistryStore
    from registry.view import RegistryView
    from sources.contract import Source


def tokens_of(view: "RegistryView", source: "Source", device: "Device") -> "list[Credential]":
    """List the credentials that speak for one device to one source, the newest first."""
    found = [each for each in view.credentials_of(device.id) if each.source == source.name]
    return sorted(found, key=lambda each: (each.created_us, each.id), reverse=True)


def has_secret(view: "RegistryView", source: "Source", device: "Device") -> bool:
    """Tell whether anything opens the source for this device: a token of its own, or what speaks for the whole tenant."""
    from registry.model import Credential, integration_id

    if tokens_of(view, source, device):
        return True
    if source.tenant_secret and view.get(Credential, integration_id(device.tenant_id)) is not None:
        return True
    return any(each.source == source.name and not each.device_id for each in view.credentials(device.tenant_id))


def rotate_token(store: "RegistryStore", source: "Source", device: "Device") -> str:
    """Give a device its first token for a source, or a new one in the place of its newest; returns it, this once.

    The former goes on opening for the usual overlap. Raises FleetlineError for webhooks: their secret is the tenant's.
    """
    from registry.rules import access, devices, tenants

    if source.tenant_secret:
        raise FleetlineError(
            f"{source.title} is opened by the tenant's secret, for all devices: fleetline tenant secret {device.tenant_id}"
        )

    def plan(draft: "Draft") -> str:
        standing = devices.find_device(draft, tenants.find_tenant(draft, device.tenant_id), device)
        found = tokens_of(draft.view, source, standing)
        if found:
            return access.rotate_credential(draft, found[0])[1]
        owner = tenants.find_tenant(draft, device.tenant_id)
        return access.create_credential(draft, owner, source.name, standing)[1]

    return store.change(plan)
