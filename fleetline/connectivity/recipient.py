"""For whom examples are made: a device and its tenant, or a tenant alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from sources.contract import NOTHING

if TYPE_CHECKING:
    from registry.model import Credential, Device
    from registry.view import RegistryView


class Recipient(msgspec.Struct, frozen=True):
    """A device and its tenant; without `device_id` all of the tenant's devices.

    `ids` are the values it is looked up by, per kind of identity (`external_id`, `dev_eui`, `imei`, …); `children` the ids of
    the devices behind it.
    """

    tenant_id: str
    device_id: str = ""
    ids: Mapping[str, str] = NOTHING
    gateway: bool = False
    children: tuple[str, ...] = ()

    @property
    def child(self) -> str:
        """Return a device behind it to send for, or a word that stands for one."""
        return self.children[0] if self.children else "CHILD"


def recipient_of(view: "RegistryView", device: "Device") -> Recipient:
    """Return a device of the registry as a recipient."""
    from registry.model import DEV_EUI, EXTERNAL_ID

    ids = {**device.attributes, "id": device.id, "name": device.name}
    ids["external_id"] = device.attributes.get(EXTERNAL_ID) or device.id
    ids["dev_eui"] = device.attributes.get(DEV_EUI, "")
    known = {kind: value for kind, value in ids.items() if value}
    children = view.children(device.id) if device.gateway else ()
    return Recipient(device.tenant_id, device.id, known, device.gateway, children)


def recipient_for(view: "RegistryView", credential: "Credential") -> Recipient:
    """Return for whom a credential speaks: its device, else all of its tenant's."""
    device = view.device(credential.device_id) if credential.device_id else None
    return Recipient(credential.tenant_id) if device is None else recipient_of(view, device)
