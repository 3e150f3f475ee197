"""Devices (AC-b04, AC-b05, AC-b06)."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Query, Response
from msgspec import UNSET

from admin.paging import After, Limit, page_of
from admin.routing import AtTenant, Routes
from admin.shapes.common import Page, Text, Version
from admin.shapes.devices import (
    FILTERS,
    DeviceChange,
    DeviceDetail,
    DeviceShown,
    NewDevice,
    device_detail,
    device_shown,
)
from registry.model import Device
from registry.rules import devices as rules
from registry.tenant import plain_dev_eui
from registry.view import RegistryView

routes = Routes("devices")
DEVICES = "/tenants/{tenant_id}/devices"
DEVICE = f"{DEVICES}/{{device_id}}"
Wanted = Annotated[Text | None, Query()]


async def _filters(
    imei: Wanted = None,
    serial: Wanted = None,
    dev_eui: Wanted = None,
    external_id: Wanted = None,
    name: Wanted = None,
    parent: Annotated[Text | None, Query(description="The id of a gateway: the devices behind it.")] = None,
) -> dict[str, str]:
    given = dict(zip((*FILTERS, "parent"), (imei, serial, dev_eui, external_id, name, parent), strict=True))
    return {kind: value for kind, value in given.items() if value is not None}


@routes.get(DEVICES, scope="devices:read")
async def list_devices(
    call: AtTenant, filters: Annotated[dict[str, str], Depends(_filters)], after: After = "", limit: Limit = 100
) -> Page[DeviceShown]:
    """List devices by id; of several filters each must hold, exactly."""
    view, tenant_id = call.view, call.tenant.id
    if not filters:
        return page_of(await call.page(Device, after, limit + 1), limit, device_shown)
    matching = set.intersection(*(_matching(view, tenant_id, kind, value) for kind, value in filters.items()))
    ids = sorted(each for each in matching if each > after)[: limit + 1]
    found = [each for each in map(view.device, ids) if each is not None and each.tenant_id == tenant_id]
    return page_of(found, limit, device_shown)


def _matching(view: RegistryView, tenant_id: str, kind: str, value: str) -> set[str]:
    if kind == "parent":
        return set(view.children(value))
    return set(view.claimants(tenant_id, kind, plain_dev_eui(value) if kind == "dev_eui" else value))


@routes.add("POST", DEVICES, scope="devices:write", status_code=201)
async def create_device(call: AtTenant, body: NewDevice, response: Response) -> DeviceShown:
    """Create a device."""
    attributes = {name: value or "" for name, value in body.given_attributes().items()}
    made = await call.change_tenants(
        lambda draft, tenant: rules.create_device(
            draft, tenant, body.name, attributes, gateway=body.gateway, parent=body.parent_id, wanted_id=body.id
        )
    )
    response.headers["location"] = f"/api/v1/tenants/{quote(made.tenant_id)}/devices/{quote(made.id)}"
    return device_shown(made)


@routes.get(DEVICE, scope="devices:read")
async def get_device(call: AtTenant, device_id: str) -> DeviceDetail:
    """Show a device."""
    found = call.find(Device, device_id)
    return device_detail(found, len(call.view.children(found.id)) if found.gateway else 0)


@routes.add("PATCH", DEVICE, scope="devices:write")
async def change_device(call: AtTenant, device_id: str, body: DeviceChange) -> DeviceShown:
    """Change a device: only what is given. With `version`, only if it has not been changed since."""
    given = body.model_fields_set
    made = await call.change_one(
        Device,
        device_id,
        lambda draft, device: rules.change_device(
            draft,
            device,
            version=body.version,
            name=UNSET if body.name is None else body.name,
            attributes=body.given_attributes(),
            gateway=UNSET if body.gateway is None else body.gateway,
            parent=body.parent_id if "parent_id" in given else UNSET,
        ),
    )
    return device_shown(made)


@routes.add("DELETE", DEVICE, scope="devices:write", status_code=204)
async def delete_device(call: AtTenant, device_id: str, version: Annotated[Version | None, Query()] = None) -> None:
    """Remove a device with its credentials; not a gateway that has devices behind it."""
    await call.change_one(Device, device_id, lambda draft, device: rules.remove_device(draft, device, version))
