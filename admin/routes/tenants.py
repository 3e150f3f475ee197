"""Tenants: operators make, rename and remove them; a tenant's key sees its own."""

from typing import Annotated

from fastapi import Query, Response

from admin.paging import After, Limit, page_of
from admin.routing import AtTenant, Called, Routes
from admin.shapes.common import Page, Version
from admin.shapes.tenants import (
    NewTenant,
    SettingsGiven,
    SettingsShown,
    TenantChange,
    TenantShown,
    settings_shown,
    tenant_shown,
)
from registry.rules import tenants as rules

routes = Routes("tenants")


@routes.get("/tenants", scope="tenants:read")
async def list_tenants(call: Called, after: After = "", limit: Limit = 100) -> Page[TenantShown]:
    """List tenants by id: all for an operator, else one's own."""
    visible = [each for each in call.view.tenants() if call.caller.sees(each.id) and each.id > after]
    return page_of(visible[: limit + 1], limit, tenant_shown)


@routes.add("POST", "/tenants", scope="tenants:write", operator=True, status_code=201)
async def create_tenant(call: Called, body: NewTenant, response: Response) -> TenantShown:
    """Create a tenant."""
    made = await call.change(lambda draft: rules.create_tenant(draft, body.name, body.id))
    response.headers["location"] = f"/api/v1/tenants/{made.id}"
    return tenant_shown(made)


@routes.get("/tenants/{tenant_id}", scope="tenants:read")
async def get_tenant(call: AtTenant) -> TenantShown:
    """Show a tenant."""
    return tenant_shown(call.tenant)


@routes.add("PATCH", "/tenants/{tenant_id}", scope="tenants:write", operator=True)
async def change_tenant(call: AtTenant, body: TenantChange) -> TenantShown:
    """Rename a tenant."""
    plan = lambda draft, tenant: rules.change_tenant(draft, tenant, body.name, body.version)  # noqa: E731
    return tenant_shown(await call.change_tenants(plan))


@routes.add("DELETE", "/tenants/{tenant_id}", scope="tenants:write", operator=True, status_code=204)
async def delete_tenant(call: AtTenant, version: Annotated[Version | None, Query()] = None) -> None:
    """Remove a tenant that has no devices, destinations and geofences any more, with its keys and credentials."""
    await call.change_tenants(lambda draft, tenant: rules.remove_tenant(draft, tenant, version))


@routes.get("/tenants/{tenant_id}/settings", scope="settings:read")
async def get_settings(call: AtTenant) -> SettingsShown:
    """Show what a tenant has set."""
    return settings_shown(call.view.settings_of(call.tenant.id))


@routes.add("PUT", "/tenants/{tenant_id}/settings", scope="settings:write")
async def put_settings(call: AtTenant, body: SettingsGiven) -> SettingsShown:
    """Set everything a tenant can set."""
    made = await call.change_tenants(
        lambda draft, tenant: rules.change_settings(draft, tenant, body.auto_register, body.version)
    )
    return settings_shown(made)
