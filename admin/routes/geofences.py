"""Geofences: circles and polygons of a tenant."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Response
from msgspec import UNSET

from admin.paging import After, Limit, page_of
from admin.routing import PREFIX, AtTenant, Routes
from admin.shapes.common import Page, Version
from admin.shapes.places import GeofenceChange, GeofenceShown, NewGeofence, area_of, geofence_shown
from registry.model import Geofence
from registry.rules import places as rules

routes = Routes("geofences")
GEOFENCES = "/tenants/{tenant_id}/geofences"
GEOFENCE = f"{GEOFENCES}/{{geofence_id}}"


@routes.get(GEOFENCES, scope="geofences:read")
async def list_geofences(call: AtTenant, after: After = "", limit: Limit = 100) -> Page[GeofenceShown]:
    """List geofences by id."""
    return page_of(await call.page(Geofence, after, limit + 1), limit, geofence_shown)


@routes.add("POST", GEOFENCES, scope="geofences:write", status_code=201)
async def create_geofence(call: AtTenant, body: NewGeofence, response: Response) -> GeofenceShown:
    """Create a geofence."""
    attributes = {name: value or "" for name, value in body.attributes.items()}
    area = area_of(body.area)
    made = await call.change_tenants(
        lambda draft, tenant: rules.create_geofence(draft, tenant, body.name, area, attributes, body.id)
    )
    response.headers["location"] = f"{PREFIX}/tenants/{quote(made.tenant_id)}/geofences/{quote(made.id)}"
    return geofence_shown(made)


@routes.get(GEOFENCE, scope="geofences:read")
async def get_geofence(call: AtTenant, geofence_id: str) -> GeofenceShown:
    """Show a geofence."""
    return geofence_shown(call.find(Geofence, geofence_id))


@routes.add("PATCH", GEOFENCE, scope="geofences:write")
async def change_geofence(call: AtTenant, geofence_id: str, body: GeofenceChange) -> GeofenceShown:
    """Change a geofence: only what is given."""
    area = UNSET if body.area is None else area_of(body.area)
    made = await call.change_one(
        Geofence,
        geofence_id,
        lambda draft, standing: rules.change_geofence(
            draft,
            standing,
            version=body.version,
            name=UNSET if body.name is None else body.name,
            area=area,
            attributes=body.attributes,
        ),
    )
    return geofence_shown(made)


@routes.add("DELETE", GEOFENCE, scope="geofences:write", status_code=204)
async def delete_geofence(call: AtTenant, geofence_id: str, version: Annotated[Version | None, Query()] = None) -> None:
    """Remove a geofence."""
    await call.change_one(
        Geofence, geofence_id, lambda draft, standing: rules.remove_geofence(draft, standing, version)
    )
