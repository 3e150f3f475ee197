"""Devices: the ids they are known by stand as fields of their own, whatever else is kept of them in `attributes`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from admin.shapes.common import Given, Shown, Text, Version
from registry.model import DEV_EUI, EXTERNAL_ID, Device

FIELDS: Mapping[str, str] = {
    "external_id": EXTERNAL_ID,
    "dev_eui": DEV_EUI,
    **{name: name for name in ("imei", "serial", "iccid", "custom1", "custom2", "custom3")},
}
"""Field: attribute of the registry."""
FILTERS = ("imei", "serial", "dev_eui", "external_id", "name")
Attributes = Annotated[dict[Text, Text | None], Field(max_length=100)]


class _Ids(Given):
    external_id: Text | None = Field(
        None, description="The id the sender knows it by; the device's own id unless given."
    )
    dev_eui: Text | None = Field(
        None, description="16 hex digits in any spelling.", examples=["24-E1-24-12-6B-01-23-45"]
    )
    imei: Text | None = None
    serial: Text | None = None
    iccid: Text | None = None
    custom1: Text | None = None
    custom2: Text | None = None
    custom3: Text | None = None
    attributes: Attributes = Field(default_factory=dict, description="Further ones, by name.")
    parent_id: Text | None = Field(None, description="The gateway it stands behind.")

    @model_validator(mode="after")
    def _once(self) -> "_Ids":
        for field, attribute in FIELDS.items():
            if field in self.model_fields_set and attribute in self.attributes:
                raise ValueError(f"{field} is given twice, as a field and in attributes")
        return self

    def given_attributes(self) -> dict[str, str | None]:
        """Return the attributes that were sent, null ones as None."""
        named = {
            attribute: getattr(self, field) for field, attribute in FIELDS.items() if field in self.model_fields_set
        }
        return {**self.attributes, **named}


class NewDevice(_Ids):
    """A device to be made."""

    name: Text
    id: Text | None = Field(
        None, description="One of your own, unique in the whole installation; made up unless given."
    )
    gateway: bool = Field(False, description="Whether other devices may stand behind it.")


class DeviceChange(_Ids):
    """What is to be changed of a device: only what is there; null or an empty text removes an attribute, or the parent."""

    name: Text | None = None
    gateway: bool | None = None
    version: Version | None = None


class DeviceShown(Shown):
    """A device."""

    id: str
    tenant_id: str
    name: str
    external_id: str | None
    dev_eui: str | None
    imei: str | None
    serial: str | None
    iccid: str | None
    custom1: str | None
    custom2: str | None
    custom3: str | None
    attributes: dict[str, str]
    gateway: bool
    parent_id: str | None
    version: int


class DeviceDetail(DeviceShown):
    """A device and how many stand behind it."""

    children: int


def device_shown(device: Device) -> DeviceShown:
    """Show a device."""
    return DeviceShown(**_fields(device))


def device_detail(device: Device, children: int) -> DeviceDetail:
    """Show a device and how many stand behind it."""
    return DeviceDetail(**_fields(device), children=children)


def _fields(device: Device) -> dict[str, object]:
    known = {field: device.attributes.get(attribute) for field, attribute in FIELDS.items()}
    return {
        "id": device.id,
        "tenant_id": device.tenant_id,
        "name": device.name,
        **known,
        "attributes": device.attributes,
        "gateway": device.gateway,
        "parent_id": device.parent_id or None,
        "version": device.version,
    }
