"""A change in the making: the registry as it will be, and what must be written to make it so.

The rules read and write a draft; `registry.store` commits it as a whole or not at all. Reads see what the draft already holds, so
the second of two rows of an import that claim one IMEI is refused as if the first had been stored.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from registry.errors import NotFound, Stale
from registry.model import Credential, Device, Entry, Owned, Tenant, entry_key
from registry.tenant import device_claims
from registry.view import RegistryView

E = TypeVar("E", bound=Entry)
O = TypeVar("O", bound=Owned)  # noqa: E741  O for owned


class Change(msgspec.Struct, frozen=True):
    """One object before and after; None where there was, or is to be, nothing."""

    before: Entry | None
    after: Entry | None

    @property
    def key(self) -> str:
        """The key of the object in the topic."""
        entry = self.after or self.before
        assert entry is not None
        return entry_key(entry)


class Draft:
    """The view with the changes of one unit of work on top. Not safe for several threads."""

    def __init__(self, view: RegistryView) -> None:
        self.view = view
        self._changes: dict[str, Change] = {}
        self._claims: dict[tuple[str, ...], set[str]] = {}
        """(tenant, kind of identity, value), or (tenant, parent, "name", value) -> ids of devices of this draft."""

    @property
    def changes(self) -> list[Change]:
        """What is to be written, in the order it was asked for."""
        return [change for change in self._changes.values() if change.before is not change.after]

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, entry: E) -> E:
        """Add or replace an object and return it with its version. One that says nothing new is left as it stands."""
        standing = self.get(type(entry), entry.id)
        if standing is None:
            entry = msgspec.structs.replace(entry, version=1)
        else:
            entry = msgspec.structs.replace(entry, version=standing.version)
            if entry == standing:
                return standing
            entry = msgspec.structs.replace(entry, version=standing.version + 1)
        self._note(entry_key(entry), standing, entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Remove an object; nothing happens when it is not there."""
        standing = self.get(type(entry), entry.id)
        if standing is not None:
            self._note(entry_key(entry), standing, None)

    def _note(self, key: str, standing: Entry | None, after: Entry | None) -> None:
        before = self._changes[key].before if key in self._changes else standing
        self._changes[key] = Change(before, after)
        if isinstance(standing, Device):
            self._forget_claims(standing)
        if isinstance(after, Device):
            for claim in _keys(after):
                self._claims.setdefault(claim, set()).add(after.id)

    def _forget_claims(self, device: Device) -> None:
        for key in _keys(device):
            self._claims.get(key, set()).discard(device.id)

    # --- versions ----------------------------------------------------------------------------------------------------

    def current(self, entry: E, version: int | None) -> E:
        """Return an object as it stands now. Raises NotFound when it is gone, Stale when `version` is not the one."""
        standing = self.get(type(entry), entry.id)
        if standing is None:
            raise NotFound(f"there is no {entry.KIND} {entry.id!r} any more")
        self.check_version(standing, version)
        return standing

    @staticmethod
    def check_version(standing: Entry, version: int | None) -> None:
        """Refuse a change that was made from another version; None is "whatever it is now"."""
        if version is not None and version != standing.version:
            raise Stale(f"{standing.KIND} {standing.id!r}", version, standing.version)

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, kind: type[E], id: str) -> E | None:  # noqa: A002  called `id` in the entry too
        """Return an object."""
        change = self._changes.get(f"{kind.KIND}/{id}")
        if change is None:
            return self.view.get(kind, id)
        return change.after if isinstance(change.after, kind) else None

    def owned(self, kind: type[O], tenant_id: str) -> tuple[O, ...]:
        """List a tenant's objects of one kind, by id."""
        return tuple(self._overlaid(kind, tenant_id, self.view.owned(kind, tenant_id)))

    def has_any(self, kind: type[Owned], tenant_id: str) -> bool:
        """Tell whether a tenant has objects of one kind."""
        if not any(isinstance(each.after or each.before, kind) for each in self._changes.values()):
            return self.view.count(kind, tenant_id) > 0
        return bool(self.owned(kind, tenant_id))

    def tenant(self, tenant_id: str) -> Tenant | None:
        """Return a tenant."""
        return self.get(Tenant, tenant_id)

    def tenants(self) -> tuple[Tenant, ...]:
        """List all tenants, by id."""
        kept = {each.id: each for each in self.view.tenants() if f"tenant/{each.id}" not in self._changes}
        kept |= {each.after.id: each.after for each in self._changes.values() if isinstance(each.after, Tenant)}
        return tuple(kept[each] for each in sorted(kept))

    def device(self, device_id: str) -> Device | None:
        """Return a device, of whatever tenant."""
        return self.get(Device, device_id)

    def claimants(self, tenant_id: str, kind: str, value: str) -> tuple[str, ...]:
        """List the ids of all devices of a tenant that claim an identity, by id."""
        found = {each for each in self.view.claimants(tenant_id, kind, value) if f"device/{each}" not in self._changes}
        return tuple(sorted(found | self._claims.get((tenant_id, kind, value), set())))

    def siblings(self, tenant_id: str, parent_id: str, name: str) -> tuple[str, ...]:
        """List the ids of a tenant's devices with a name behind one gateway, or behind none."""
        found = {
            each for each in self.view.siblings(tenant_id, parent_id, name) if f"device/{each}" not in self._changes
        }
        return tuple(sorted(found | self._claims.get((tenant_id, parent_id, "name", name), set())))

    def children(self, gateway_id: str) -> tuple[str, ...]:
        """List the ids of the devices behind a gateway."""
        found = {each for each in self.view.children(gateway_id) if f"device/{each}" not in self._changes}
        for change in self._changes.values():
            if isinstance(change.after, Device) and change.after.parent_id == gateway_id:
                found.add(change.after.id)
        return tuple(sorted(found))

    def credentials_of(self, device_id: str) -> tuple[Credential, ...]:
        """List the credentials that speak for one device."""
        device = self.device(device_id)
        if device is None:
            return ()
        found = (each for each in self.view.credentials_of(device_id) if entry_key(each) not in self._changes)
        mine = (each.after for each in self._changes.values())
        return (*found, *(each for each in mine if isinstance(each, Credential) and each.device_id == device_id))

    def _overlaid(self, kind: type[O], tenant_id: str, found: Iterable[O]) -> list[O]:
        kept = {each.id: each for each in found if entry_key(each) not in self._changes}
        for change in self._changes.values():
            after = change.after
            if isinstance(after, kind) and after.tenant_id == tenant_id:
                kept[after.id] = after
        return [kept[each] for each in sorted(kept)]


def _keys(device: Device) -> Iterator[tuple[str, ...]]:
    for scope, kind, value in device_claims(device):
        if not scope:
            yield device.tenant_id, kind, value
    yield device.tenant_id, device.parent_id, "name", device.name
