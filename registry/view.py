"""The registry in memory: who may send, which device a sender means, where events go. All lookups are dict lookups.

Written by one thread (`registry.follower`), read by any number. Nothing of one tenant is ever found for another.
"""

import hmac
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar, get_args

import msgspec

from registry.index import Index
from registry.model import (
    INTEGRATION,
    ApiKey,
    Credential,
    Destination,
    Device,
    Entry,
    Owned,
    Tenant,
    TenantSettings,
    entry_key,
)
from registry.secrets import digest
from registry.tenant import TenantIndex
from schemas.times import now_us
from sources.contract import Identity

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Entry)
O = TypeVar("O", bound=Owned)  # noqa: E741  O for owned

KINDS: tuple[str, ...] = tuple(kind.KIND for kind in get_args(Entry))
_decode = msgspec.json.Decoder(Entry).decode


class Identified(msgspec.Struct, frozen=True, gc=False):
    """The device a record belongs to; `device_id` is empty when it is unknown.

    `gateway_id` is the gateway that relayed it. `mismatch`: the message names another device of the tenant than the one
    whose credential sent it (DM-a18).
    """

    device_id: str
    gateway_id: str
    mismatch: bool


UNKNOWN = Identified("", "", False)
__all__ = ["EVERY_TENANT", "KINDS", "UNKNOWN", "Identified", "RegistryView", "entry_key"]
EVERY_TENANT = ""


class RegistryView:
    """What `apply` was told, latest value per key; the order of the topic decides."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._tenants: dict[str, TenantIndex] = {}
        self._digests = Index()
        self._watchers: list[Callable[[str], None]] = []

    # --- writing -----------------------------------------------------------------------------------------------------

    def apply(self, key: bytes | str, value: bytes | None) -> None:
        """Take one record of the registry topic: `kind/id` and its JSON, or None for a removal.

        What cannot be read is logged by its key and skipped: one bad entry must not close the door for everybody.
        """
        try:
            name = key if isinstance(key, str) else key.decode()
            if value is None:
                self._drop(name)
                return
            entry = _decode(value)
            if name != entry_key(entry):
                raise ValueError(f"the value is {entry_key(entry)!r}")
            self._put(name, entry)
        except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
            # The text of a decoding error may quote the value, so only its kind is logged.
            log.warning("registry entry %.80r cannot be read and is skipped (%s)", key, type(error).__name__)

    def adopt(self, other: "RegistryView") -> None:
        """Become `other`, which must not be used afterwards: after the topic was recreated, nothing old must stay."""
        self._entries, self._tenants, self._digests = other._entries, other._tenants, other._digests  # noqa: SLF001
        self._tell(EVERY_TENANT)

    def watch(self, told: Callable[[str], None]) -> None:
        """Have `told` called with the tenant's id once a device or credential of it has changed; must be quick.

        Called by the thread that writes, after the change can be seen; with `EVERY_TENANT` when anything may have.
        """
        self._watchers.append(told)

    def _tell(self, tenant_id: str) -> None:
        for told in self._watchers:
            told(tenant_id)

    def _put(self, key: str, entry: Entry) -> None:
        former = self._entries.get(key)
        self._entries[key] = entry
        if isinstance(entry, Tenant):
            return
        moved = former is not None and not isinstance(former, Tenant) and former.tenant_id != entry.tenant_id
        tenant = self._tenants.get(entry.tenant_id)
        if tenant is None:
            tenant = self._tenants[entry.tenant_id] = TenantIndex(entry.tenant_id)
        if isinstance(entry, Device):
            tenant.put_device(entry)
        elif isinstance(entry, Destination):
            tenant.put_destination(entry)
        elif isinstance(entry, Credential):
            tenant.put_credential(entry)
            if not isinstance(former, Credential) or former.digest != entry.digest:
                self._digests.claim(entry.digest, entry.id)
                if isinstance(former, Credential):
                    self._digests.release(former.digest, former.id)
        if moved:
            self._leave_tenant(former)
        if not isinstance(entry, Destination):
            self._tell(entry.tenant_id)

    def _drop(self, key: str) -> None:
        former = self._entries.pop(key, None)
        if isinstance(former, Credential):
            self._digests.release(former.digest, former.id)
        self._leave_tenant(former)

    def _leave_tenant(self, former: Entry | None) -> None:
        if former is None or isinstance(former, Tenant):
            return
        tenant = self._tenants[former.tenant_id]
        if isinstance(former, Device):
            tenant.drop_device(former.id)
        elif isinstance(former, Destination):
            tenant.drop_destination(former.id)
        elif isinstance(former, Credential):
            tenant.drop_credential(former.id)
        if tenant.is_empty:
            del self._tenants[former.tenant_id]
        if not isinstance(former, Destination):
            self._tell(former.tenant_id)

    # --- who is at the door ------------------------------------------------------------------------------------------

    def credential_for(self, source: str, tenant_secret: bool, secret: str) -> Credential | None:
        """Find the credential a secret belongs to, if it opens `source`; the tenant's secret counts if `tenant_secret`.

        Found by SHA-256, then compared in constant time. Takes any text; an empty secret opens nothing (AC-a24).
        """
        if not secret:
            return None
        presented = digest(secret)
        found = self._digests.winners.get(presented)
        if found is None:
            return None
        credential = self._fitting(found, source, tenant_secret, presented)
        if credential is not None:
            return credential
        for other in self._digests.claimants(presented):
            credential = self._fitting(other, source, tenant_secret, presented)
            if credential is not None:
                return credential
        return None

    def _fitting(self, credential_id: str, source: str, tenant_secret: bool, presented: str) -> Credential | None:
        credential = self.credential(credential_id)
        if credential is None or not hmac.compare_digest(credential.digest.encode(), presented.encode()):
            return None
        opens = credential.source == source or (tenant_secret and credential.source == INTEGRATION)
        return credential if opens else None

    # --- which device ------------------------------------------------------------------------------------------------

    def identify(
        self, tenant_id: str, credential_device_id: str, identities: Sequence[Identity], child: str
    ) -> Identified:
        """Find the device of one record within its tenant; the rules are those of `Identified` and DM-a18, AC-a17, AC-c11.

        A credential that belongs to one device decides: what the message says can only choose among the children of
        that device, if it is a gateway. Without one, the first of `identities` that names a device decides. `child`
        names a device behind the gateway found so far; unknown, the record is nobody's, not the gateway's.
        """
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            return UNKNOWN
        if credential_device_id:
            return _authenticated(tenant, credential_device_id, identities, child)
        for identity in identities:
            device_id = tenant.resolve(identity.kind, identity.value)
            if device_id:
                return _behind(tenant, device_id, child) if child else Identified(device_id, "", False)
        return UNKNOWN

    # --- what there is -----------------------------------------------------------------------------------------------

    def get(self, kind: type[E], id: str) -> E | None:  # noqa: A002  called `id` in the entry too
        """Return an object of one kind."""
        found = self._entries.get(f"{kind.KIND}/{id}")
        return found if isinstance(found, kind) else None

    def owned(self, kind: type[O], tenant_id: str) -> tuple[O, ...]:
        """List a tenant's objects of one kind, by id."""
        every = tuple(self._entries.values())
        return tuple(sorted((e for e in every if isinstance(e, kind) and e.tenant_id == tenant_id), key=_id))

    def page(self, kind: type[O], tenant_id: str, after: str, limit: int) -> list[O]:
        """Return the next `limit` of a tenant's objects whose id comes after `after`."""
        return [each for each in self.owned(kind, tenant_id) if each.id > after][:limit]

    def count(self, kind: type[Owned], tenant_id: str) -> int:
        """Count a tenant's objects of one kind."""
        return len(self.owned(kind, tenant_id))

    def children(self, gateway_id: str) -> tuple[str, ...]:
        """List the ids of the devices behind a gateway."""
        every = tuple(self._entries.values())
        return tuple(sorted(e.id for e in every if isinstance(e, Device) and e.parent_id == gateway_id))

    def credentials_of(self, device_id: str) -> tuple[Credential, ...]:
        """List the credentials that speak for one device."""
        every = tuple(self._entries.values())
        return tuple(e for e in every if isinstance(e, Credential) and e.device_id == device_id)

    def settings_of(self, tenant_id: str) -> TenantSettings:
        """Return what a tenant has set; defaults where it has not."""
        return self.get(TenantSettings, tenant_id) or TenantSettings(id=tenant_id, tenant_id=tenant_id, version=0)

    def api_key_for(self, secret: str) -> ApiKey | None:
        """Find the key of the admin API a secret belongs to, unless it has expired."""
        presented = digest(secret) if secret else ""
        for each in tuple(self._entries.values()):
            if isinstance(each, ApiKey) and hmac.compare_digest(each.digest.encode(), presented.encode()):
                return each if not each.expires_us or now_us() < each.expires_us else None
        return None

    def tenant(self, tenant_id: str) -> Tenant | None:
        """Return a tenant."""
        found = self._entries.get(f"tenant/{tenant_id}")
        return found if isinstance(found, Tenant) else None

    def tenants(self) -> tuple[Tenant, ...]:
        """List all tenants, by id."""
        return tuple(sorted((each for each in tuple(self._entries.values()) if isinstance(each, Tenant)), key=_id))

    def device(self, device_id: str) -> Device | None:
        """Return a device, of whatever tenant."""
        found = self._entries.get(f"device/{device_id}")
        return found if isinstance(found, Device) else None

    def devices(self, tenant_id: str) -> tuple[Device, ...]:
        """List a tenant's devices, by id."""
        tenant = self._tenants.get(tenant_id)
        return () if tenant is None else tuple(sorted(tenant.devices.values(), key=_id))

    def claimants(self, tenant_id: str, kind: str, value: str) -> tuple[str, ...]:
        """List the ids of all devices of a tenant that claim an identity, the one that is found first."""
        tenant = self._tenants.get(tenant_id)
        return () if tenant is None else tenant.claimants(kind, value)

    def credential(self, credential_id: str) -> Credential | None:
        """Return a credential."""
        found = self._entries.get(f"credential/{credential_id}")
        return found if isinstance(found, Credential) else None

    def credentials(self, tenant_id: str) -> tuple[Credential, ...]:
        """List a tenant's credentials, by id."""
        tenant = self._tenants.get(tenant_id)
        return () if tenant is None else tuple(sorted(tenant.credentials.values(), key=_id))

    def destination(self, destination_id: str) -> Destination | None:
        """Return a destination, enabled or not."""
        found = self._entries.get(f"destination/{destination_id}")
        return found if isinstance(found, Destination) else None

    def destinations(self, tenant_id: str) -> tuple[Destination, ...]:
        """List a tenant's enabled destinations, by id."""
        tenant = self._tenants.get(tenant_id)
        return () if tenant is None else tenant.enabled

    def all_destinations(self, tenant_id: str) -> tuple[Destination, ...]:
        """List a tenant's destinations, disabled ones included, by id."""
        tenant = self._tenants.get(tenant_id)
        return () if tenant is None else tuple(sorted(tenant.destinations.values(), key=_id))


def _id(entry: Entry) -> str:
    return entry.id


def _behind(tenant: TenantIndex, gateway_id: str, child: str) -> Identified:
    gateway = tenant.devices.get(gateway_id)
    if gateway is None or not gateway.gateway:
        return UNKNOWN
    return Identified(tenant.child(gateway_id, child), gateway_id, False)


def _authenticated(tenant: TenantIndex, device_id: str, identities: Sequence[Identity], child: str) -> Identified:
    device = tenant.devices.get(device_id)
    if device is None:  # the credential outlived its device: what the message claims to be must not count instead
        return UNKNOWN
    if child:
        return _behind(tenant, device_id, child)
    relayed, mismatch = "", False
    for identity in identities:
        named = tenant.resolve(identity.kind, identity.value)
        if not named or named in (device_id, relayed):
            continue
        if device.gateway and not relayed and tenant.child(device_id, named) == named:
            relayed = named
        else:
            mismatch = True
    if relayed:
        return Identified(relayed, device_id, mismatch)
    return Identified(device_id, "", mismatch)
