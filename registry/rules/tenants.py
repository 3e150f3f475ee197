"""What may be done with tenants and their settings."""

from collections.abc import Iterable

import msgspec

from registry.draft import Draft
from registry.errors import Conflict, NotFound
from registry.model import (
    ApiKey,
    AutoRegistered,
    Credential,
    Destination,
    Device,
    Geofence,
    Owned,
    Tenant,
    TenantSettings,
    integration_id,
)
from registry.rules.access import check_source
from registry.rules.texts import clean_id, required
from registry.view import RegistryView


def find_tenant(view: RegistryView | Draft, wanted: str | Tenant) -> Tenant:
    """Find a tenant by id, else by its name. Raises NotFound, or Conflict when several are called so."""
    if isinstance(wanted, Tenant):
        wanted = wanted.id
    found = view.tenant(wanted)
    if found is not None:
        return found
    named = [tenant for tenant in view.tenants() if tenant.name == wanted]
    if len(named) > 1:
        raise Conflict(f"{len(named)} tenants are called {wanted!r}; give the id")
    if not named:
        raise NotFound(f"no tenant {wanted!r}; `fleetline tenant list` shows them")
    return named[0]


def create_tenant(draft: Draft, name: str, wanted_id: str | None = None) -> Tenant:
    """Create a tenant. Its name and id are its own: commands take either."""
    made = Tenant(id=clean_id(wanted_id), name=required(name, "the tenant's name"))
    _refuse_taken(draft, made)
    return draft.put(made)


def change_tenant(draft: Draft, tenant: Tenant, name: str, version: int | None = None) -> Tenant:
    """Rename a tenant."""
    standing = draft.current(tenant, version)
    changed = msgspec.structs.replace(standing, name=required(name, "the tenant's name"))
    _refuse_taken(draft, changed, but=standing.id)
    return draft.put(changed)


def remove_tenant(draft: Draft, tenant: Tenant, version: int | None = None) -> None:
    """Remove a tenant that has no devices and destinations any more, with its keys, credentials and settings."""
    standing = draft.current(tenant, version)
    kept: tuple[tuple[type[Owned], str], ...] = (
        (Device, "devices"),
        (Destination, "destinations"),
        (Geofence, "geofences"),
    )
    for kind, what in kept:
        if draft.has_any(kind, standing.id):
            raise Conflict(f"{standing.name!r} still has {what}: remove them first")
    leftovers: tuple[type[Owned], ...] = (Credential, ApiKey, TenantSettings, AutoRegistered)
    for leftover in leftovers:
        for each in draft.owned(leftover, standing.id):
            draft.remove(each)
    draft.remove(standing)


def change_settings(
    draft: Draft, tenant: Tenant, auto_register: Iterable[str], version: int | None = None
) -> TenantSettings:
    """Set what a tenant has settings for."""
    wanted = tuple(sorted(set(auto_register)))
    for source in wanted:
        check_source(source)
    standing = draft.get(TenantSettings, tenant.id) or TenantSettings(id=tenant.id, tenant_id=tenant.id, version=0)
    draft.check_version(standing, version)
    return draft.put(TenantSettings(id=tenant.id, tenant_id=tenant.id, auto_register=wanted))


def integration_secret(view: RegistryView | Draft, tenant: Tenant) -> Credential | None:
    """Return the credential that holds a tenant's webhook secret, if one was ever made (AC-b08)."""
    return view.get(Credential, integration_id(tenant.id))


def _refuse_taken(draft: Draft, tenant: Tenant, *, but: str = "") -> None:
    for other in draft.tenants():
        if other.id != but and {other.id, other.name} & {tenant.id, tenant.name}:
            raise Conflict(f"there is a tenant {other.name!r} already ({other.id})")
