"""Destinations: where a tenant's events go. The PSK goes in and never comes out."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Response
from msgspec import UNSET, UnsetType

from admin.paging import After, Limit, page_of
from admin.routing import PREFIX, AtTenant, Routes, TenantCall
from admin.shapes.common import Page, Version
from admin.shapes.places import DestinationChange, DestinationShown, NewDestination, destination_shown
from registry.draft import Draft
from registry.model import Destination, Tenant
from registry.rules import places as rules
from registry.sealing import seal

routes = Routes("destinations")
DESTINATIONS = "/tenants/{tenant_id}/destinations"
DESTINATION = f"{DESTINATIONS}/{{destination_id}}"


@routes.get(DESTINATIONS, scope="destinations:read")
async def list_destinations(call: AtTenant, after: After = "", limit: Limit = 100) -> Page[DestinationShown]:
    """List destinations by id."""
    return page_of(await call.page(Destination, after, limit + 1), limit, destination_shown)


@routes.add("POST", DESTINATIONS, scope="destinations:write", status_code=201)
async def create_destination(call: AtTenant, body: NewDestination, response: Response) -> DestinationShown:
    """Create a destination for a tenant's events."""
    sealed = await _sealed(call, body.psk)

    def plan(draft: Draft, tenant: Tenant) -> Destination:
        made = rules.create_destination(draft, tenant, body.kind, body.url, body.types, sealed, body.name)
        return made if body.enabled else rules.change_destination(draft, made, enabled=False)

    made = await call.change_tenants(plan)
    response.headers["location"] = f"{PREFIX}/tenants/{quote(made.tenant_id)}/destinations/{quote(made.id)}"
    return destination_shown(made)


@routes.get(DESTINATION, scope="destinations:read")
async def get_destination(call: AtTenant, destination_id: str) -> DestinationShown:
    """Show a destination."""
    return destination_shown(call.find(Destination, destination_id))


@routes.add("PATCH", DESTINATION, scope="destinations:write")
async def change_destination(call: AtTenant, destination_id: str, body: DestinationChange) -> DestinationShown:
    """Change a destination: only what is given."""
    sealed: str | UnsetType = UNSET
    if "psk" in body.model_fields_set:
        sealed = await _sealed(call, body.psk)
    made = await call.change_one(
        Destination,
        destination_id,
        lambda draft, standing: rules.change_destination(
            draft,
            standing,
            version=body.version,
            name=UNSET if body.name is None else body.name,
            url=UNSET if body.url is None else body.url,
            types=UNSET if body.types is None else body.types,
            sealed_psk=sealed,
            enabled=UNSET if body.enabled is None else body.enabled,
        ),
    )
    return destination_shown(made)


@routes.add("DELETE", DESTINATION, scope="destinations:write", status_code=204)
async def delete_destination(
    call: AtTenant, destination_id: str, version: Annotated[Version | None, Query()] = None
) -> None:
    """Remove a destination: nothing new is sent to it."""
    await call.change_one(
        Destination, destination_id, lambda draft, standing: rules.remove_destination(draft, standing, version)
    )


async def _sealed(call: TenantCall, psk: str | None) -> str:
    if not psk:
        return ""
    rules.check_psk(psk)
    return await call.read(lambda: seal(call.settings, psk))
