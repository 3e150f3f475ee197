"""Finds what a command is about, by id or by name, and says plainly when there is none."""

from typing import TYPE_CHECKING, TypeVar

from registry.errors import Conflict, NotFound

if TYPE_CHECKING:
    from registry.model import Device, Geofence, Owned
    from registry.view import RegistryView

O = TypeVar("O", bound="Owned")  # noqa: E741  O for owned


def find_owned(view: "RegistryView", kind: type[O], wanted: str) -> O:
    """Find an object by its id. Raises NotFound."""
    found = view.get(kind, wanted)
    if found is None:
        raise _missing(kind.KIND, wanted)
    return found


def find_device(view: "RegistryView", tenant: str | None, wanted: str) -> "Device":
    """Find a device by id or name, of one tenant or of whichever has it. Raises NotFound, or Conflict for several."""
    from fleetline.admin import chosen_tenants

    found = view.device(wanted)
    owners = chosen_tenants(view, tenant)
    if found is not None and (tenant is None or found.tenant_id == owners[0].id):
        return found
    ids = [each for owner in owners for each in view.claimants(owner.id, "name", wanted)]
    if len(ids) > 1:
        raise Conflict(f"{len(ids)} devices are called {wanted!r}; give the id, or --tenant")
    device = view.device(ids[0]) if ids else None
    if device is None:
        raise _missing("device", wanted)
    return device


def find_geofence(view: "RegistryView", tenant: str | None, wanted: str) -> "Geofence":
    """Find a geofence by id or name, of one tenant or of whichever has it. Raises NotFound, or Conflict for several."""
    from fleetline.admin import chosen_tenants
    from registry.model import Geofence

    found = view.get(Geofence, wanted)
    owners = chosen_tenants(view, tenant)
    if found is not None and (tenant is None or found.tenant_id == owners[0].id):
        return found
    named = [each for owner in owners for each in view.owned(Geofence, owner.id) if each.name == wanted]
    if len(named) > 1:
        raise Conflict(f"{len(named)} geofences are called {wanted!r}; give the id, or --tenant")
    if not named:
        raise _missing("geofence", wanted)
    return named[0]


def _missing(kind: str, wanted: str) -> NotFound:
    return NotFound(f"no {kind.replace('_', ' ')} {wanted!r}; `fleetline {kind.replace('_', '-')} list` shows them")
