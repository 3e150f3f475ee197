"""All that a view holds, in one object: a view that adopts another one changes it in one step.

Devices and credentials are packed, the few others kept as they are. Written by one thread, read by any number.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from registry.listing import BOUND, CHILDREN, Listing, To
from registry.model import ApiKey, Credential, Destination, Device, Entry, Owned, Tenant, entry_key
from registry.packing import CredentialRow, DeviceRow, Key, credential_of, credential_row, device_of, device_row
from registry.shelf import DeviceShelf, Shelf
from registry.tenant import ONE_DEVICES, Tenancy

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Entry)
_OF_TENANT = 3
_decode_device = msgspec.msgpack.Decoder(DeviceRow).decode
_decode_credential = msgspec.msgpack.Decoder(CredentialRow).decode


class Contents:
    """The latest entry per key, and what finds it."""

    def __init__(self) -> None:
        self.devices = DeviceShelf(_decode_device, self._contested)
        self.credentials: Shelf[CredentialRow] = Shelf(_decode_credential, self._contested)
        self.tenants: dict[str, Tenant] = {}
        self.few: dict[str, Owned] = {}
        self.tenancies: dict[str, Tenancy] = {}
        self.tenant_ids: dict[int, str] = {}
        """Of the numbers in packed rows."""
        self.opening: dict[str, tuple[Credential, ...]] = {}
        """Digest -> credentials, of those asked for lately. Exchanged for an empty one when a credential has changed: what a
        reader found before the change then goes into the one nobody reads any more."""
        self.api_keys: dict[str, dict[str, ApiKey]] = {}
        """Digest -> id -> key."""
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        """Held to write, and to read or build what is there for listing only."""
        self._listing = Listing()

    def __len__(self) -> int:
        return len(self.tenants) + len(self.few) + len(self.devices) + len(self.credentials)

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> str | None:
        """Add or replace an entry. Return the id of the tenant it belonged to before, if that was another one."""
        if isinstance(entry, Tenant):
            self.tenants[entry.id] = entry
            return None
        with self._lock:
            tenancy = self.tenancies.get(entry.tenant_id) or self._new_tenancy(entry.tenant_id)
            if isinstance(entry, Device):
                before = self._put_device(device_row(entry, tenancy.number))
            elif isinstance(entry, Credential):
                before = self._put_credential(credential_row(entry, tenancy.number))
            else:
                before = self._put_few(entry, tenancy)
            if before == entry.tenant_id:
                return None
            self._enter(entry.KIND, entry.id, tenancy)
            if before is not None:
                self._leave(entry.KIND, entry.id, before)
            return before

    def drop(self, key: str) -> tuple[str, str | None]:
        """Remove what stands under a key. Return its kind and the id of the tenant it belonged to, None for nothing."""
        kind, _, entry_id = key.partition("/")
        if kind == Tenant.KIND:
            self.tenants.pop(entry_id, None)
            return kind, None
        with self._lock:
            if kind == Device.KIND:
                before = self._drop_device(entry_id)
            elif kind == Credential.KIND:
                before = self._drop_credential(entry_id)
            else:
                before = self._drop_few(key)
            if before is not None:
                self._leave(kind, entry_id, before)
            return kind, before

    def _new_tenancy(self, tenant_id: str) -> Tenancy:
        made = Tenancy(tenant_id, next(self._numbers))
        self.tenant_ids[made.number] = tenant_id
        self.tenancies[tenant_id] = made
        return made

    def _enter(self, kind: str, entry_id: str, tenancy: Tenancy) -> None:
        tenancy.counts[kind] = tenancy.counts.get(kind, 0) + 1
        self._listing.entered(kind, tenancy.number, entry_id)

    def _leave(self, kind: str, entry_id: str, tenant_id: str) -> None:
        tenancy = self.tenancies[tenant_id]
        tenancy.counts[kind] -= 1
        if not tenancy.counts[kind]:
            del tenancy.counts[kind]
        self._listing.left(kind, tenancy.number, entry_id)
        if not tenancy.counts:
            del self.tenancies[tenant_id], self.tenant_ids[tenancy.number]

    def _put_device(self, row: DeviceRow) -> str | None:
        former = self.devices.put(row)
        if self._listing.keeps(CHILDREN):
            self._listing.related(CHILDREN, _parent(former), _parent(row), row.id)
        return None if former is None else self.tenant_ids[former.tenant]

    def _drop_device(self, device_id: str) -> str | None:
        former = self.devices.drop(device_id)
        if self._listing.keeps(CHILDREN):
            self._listing.related(CHILDREN, _parent(former), None, device_id)
        return None if former is None else self.tenant_ids[former.tenant]

    def _put_credential(self, row: CredentialRow) -> str | None:
        former = self.credentials.put(row)
        self.opening = {}
        if self._listing.keeps(BOUND):
            self._listing.related(BOUND, _bound_to(former), _bound_to(row), row.id)
        return None if former is None else self.tenant_ids[former.tenant]

    def _drop_credential(self, credential_id: str) -> str | None:
        former = self.credentials.drop(credential_id)
        self.opening = {}
        if self._listing.keeps(BOUND):
            self._listing.related(BOUND, _bound_to(former), None, credential_id)
        return None if former is None else self.tenant_ids[former.tenant]

    def _put_few(self, entry: Owned, tenancy: Tenancy) -> str | None:
        key = entry_key(entry)
        former = self.few.get(key)
        self.few[key] = entry
        tenancy.few.setdefault(entry.KIND, {})[entry.id] = entry
        if isinstance(entry, ApiKey):
            self.api_keys[entry.digest] = {**self.api_keys.get(entry.digest, {}), entry.id: entry}
        if isinstance(former, ApiKey) and not (isinstance(entry, ApiKey) and entry.digest == former.digest):
            self._forget_api_key(former)
        if isinstance(entry, Destination):
            tenancy.list_enabled()
        if former is None:
            return None
        if former.tenant_id != entry.tenant_id:
            self._take_from(former)
        return former.tenant_id

    def _drop_few(self, key: str) -> str | None:
        former = self.few.pop(key, None)
        if former is None:
            return None
        if isinstance(former, ApiKey):
            self._forget_api_key(former)
        self._take_from(former)
        return former.tenant_id

    def _take_from(self, former: Owned) -> None:
        tenancy = self.tenancies[former.tenant_id]
        mine = tenancy.few[former.KIND]
        del mine[former.id]
        if not mine:
            del tenancy.few[former.KIND]
        if isinstance(former, Destination):
            tenancy.list_enabled()

    def _forget_api_key(self, former: ApiKey) -> None:
        left = {each: key for each, key in self.api_keys[former.digest].items() if each != former.id}
        if left:
            self.api_keys[former.digest] = left
        else:
            del self.api_keys[former.digest]

    def _contested(self, key: Key, one: str, other: str) -> None:
        if isinstance(key, tuple) and len(key) == _OF_TENANT and isinstance(key[0], int):
            # A fleet has a colour for every tenth of its vehicles, and that is no trouble to report.
            log.log(
                logging.WARNING if key[1] in ONE_DEVICES else logging.DEBUG,
                "%s and %s of tenant %s both claim the same %s; the first by id is found",
                *(one, other, self.tenant_ids[key[0]], key[1]),
            )

    # --- reading -----------------------------------------------------------------------------------------------------

    def device(self, row: DeviceRow | None) -> Device | None:
        """Unpack a device."""
        tenant_id = None if row is None else self.tenant_ids.get(row.tenant)
        return None if row is None or tenant_id is None else device_of(row, tenant_id)

    def credential(self, row: CredentialRow | None) -> Credential | None:
        """Unpack a credential."""
        tenant_id = None if row is None else self.tenant_ids.get(row.tenant)
        return None if row is None or tenant_id is None else credential_of(row, tenant_id)

    def get(self, kind: type[E], entry_id: str) -> E | None:
        """Return the entry of a kind with an id."""
        found: Entry | None
        if kind is Device:
            found = self.device(self.devices.find(entry_id))
        elif kind is Credential:
            found = self.credential(self.credentials.find(entry_id))
        elif kind is Tenant:
            found = self.tenants.get(entry_id)
        else:
            found = self.few.get(f"{kind.KIND}/{entry_id}")
        return found if isinstance(found, kind) else None

    def entries(self) -> Iterator[Entry]:
        """Go through everything; what changes meanwhile is seen before or after."""
        yield from tuple(self.tenants.values())
        yield from tuple(self.few.values())
        for device in self.devices:
            made = self.device(device)
            if made is not None:
                yield made
        for credential in self.credentials:
            opened = self.credential(credential)
            if opened is not None:
                yield opened

    def ids(self, kind: type[E], tenant_id: str, after: str | None, limit: int) -> list[str]:
        """List a tenant's ids of a kind in order, at most `limit` behind `after`, or all.

        The first time this reads every entry of the kind, some seconds for millions, and changes wait for it.
        """
        with self._lock:
            tenancy = self.tenancies.get(tenant_id)
            if tenancy is None:
                return []
            order = self._listing.order(kind.KIND, tenancy.number, lambda: self._owners(kind))
            return order.all() if after is None else order.after(after, limit)

    def _owners(self, kind: type[E]) -> Iterable[tuple[int, str]]:
        if kind in (Device, Credential):
            return ((row.tenant, row.id) for row in (self.devices if kind is Device else self.credentials))
        every = self.tenancies.values()
        return ((tenancy.number, each) for tenancy in every for each in tenancy.few.get(kind.KIND, ()))

    def children(self, gateway_id: str) -> tuple[str, ...]:
        """List the ids of the devices behind a gateway, in order. The first time this reads every device."""
        return self._related(CHILDREN, gateway_id, lambda: ((_parent(row), row.id) for row in self.devices))

    def credentials_of(self, device_id: str) -> tuple[str, ...]:
        """List the ids of a device's credentials, in order. The first time this reads every credential."""
        return self._related(BOUND, device_id, lambda: ((_bound_to(row), row.id) for row in self.credentials))

    def _related(
        self, relation: str, device_id: str, every: Callable[[], Iterable[tuple[To | None, str]]]
    ) -> tuple[str, ...]:
        with self._lock:
            device = self.devices.find(device_id)
            if device is None:
                return ()
            return tuple(sorted(self._listing.of(relation, (device.tenant, device_id), every)))


def _parent(row: DeviceRow | None) -> To | None:
    return (row.tenant, row.parent) if row is not None and row.parent else None


def _bound_to(row: CredentialRow | None) -> To | None:
    return (row.tenant, row.device_id) if row is not None and row.device_id else None
