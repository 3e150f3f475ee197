"""The registry in memory: who may send, which device a sender means, where events go.

Written by one thread (`registry.follower`), read by any number. Nothing of one tenant is ever found for another.
"""

import hmac
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, get_args

import msgspec

from registry.contents import Contents
from registry.identify import UNKNOWN, Identified, compared, identify, tokens
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
from registry.packing import DIGEST, check
from registry.secrets import digest
from registry.tenant import TOKEN_DIGEST
from schemas.times import now_us
from sources.contract import Identity

__all__ = ["EVERY_TENANT", "KINDS", "UNKNOWN", "Identified", "RegistryView", "entry_key"]

log = logging.getLogger(__name__)

KINDS: tuple[str, ...] = tuple(kind.KIND for kind in get_args(Entry))
EVERY_TENANT = ""
E = TypeVar("E", bound=Entry)
O = TypeVar("O", bound=Owned)  # noqa: E741  O for owned
_decode = msgspec.json.Decoder(Entry).decode
_TOLD_OF = frozenset((Device.KIND, Credential.KIND, TenantSettings.KIND))
_REMEMBERED = 10_000
_ALIKE = 8
_UNKNOWN_KINDS = 100


class RegistryView:
    """What `apply` was told, latest value per key; the order of the topic decides."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._watchers: list[Callable[[str], None]] = []
        self._unknown_kinds: set[str] = set()

    def __len__(self) -> int:
        return len(self._contents)

    def __bool__(self) -> bool:
        """Be true: an empty registry is one too."""
        return True

    # --- writing -----------------------------------------------------------------------------------------------------

    def apply(self, key: bytes | str, value: bytes | None) -> None:
        """Take one record of the registry topic: `kind/id` and its JSON, or None for a removal.

        What cannot be read is logged by its key and skipped: one bad entry must not close the door for everybody. So is a
        kind of entry that a later version may have brought, once.
        """
        try:
            name = key if isinstance(key, str) else key.decode()
            if value is None:
                self._drop(name)
                return
            entry = _decode(value)
            if name != f"{entry.KIND}/{entry.id}":
                raise ValueError(f"the value is {entry_key(entry)!r}")
            check(entry)
        except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
            self._skipped(key, error)
            return
        self._put(entry)

    def _skipped(self, key: bytes | str, error: Exception) -> None:
        name = key if isinstance(key, str) else key.decode(errors="replace")
        kind, slash, _ = name.partition("/")
        if slash and kind not in KINDS:
            if kind not in self._unknown_kinds and len(self._unknown_kinds) < _UNKNOWN_KINDS:
                self._unknown_kinds.add(kind)
                log.warning("registry entries of the kind %.80r are unknown to this version and skipped", kind)
            return
        # The text of a decoding error may quote the value, so only its kind is logged.
        log.warning("registry entry %.80r cannot be read and is skipped (%s)", key, type(error).__name__)

    def adopt(self, other: "RegistryView") -> None:
        """Become `other`, which must not be used afterwards: after the topic was recreated, nothing old must stay."""
        self._contents = other._contents  # noqa: SLF001
        self._tell(EVERY_TENANT)

    def watch(self, told: Callable[[str], None]) -> None:
        """Have `told` called with the tenant's id once a device, credential or setting of it has changed; must be quick.

        Called by the thread that writes, after the change can be seen; with `EVERY_TENANT` when anything may have.
        """
        self._watchers.append(told)

    def _tell(self, tenant_id: str) -> None:
        for told in self._watchers:
            told(tenant_id)

    def _put(self, entry: Entry) -> None:
        before = self._contents.put(entry)
        if self._watchers and not isinstance(entry, Tenant) and entry.KIND in _TOLD_OF:
            self._tell(entry.tenant_id)
            if before is not None:
                self._tell(before)

    def _drop(self, key: str) -> None:
        kind, before = self._contents.drop(key)
        if before is not None and kind in _TOLD_OF:
            self._tell(before)

    # --- who is at the door ------------------------------------------------------------------------------------------

    def credential_for(self, source: str, tenant_secret: bool, secret: str) -> Credential | None:
        """Find the credential a secret belongs to, if it opens `source`; the tenant's secret counts if `tenant_secret`.

        Found by SHA-256, then compared in constant time; a former secret opens until its time is over. Takes any text; an
        empty secret opens nothing (AC-a24).
        """
        if not secret:
            return None
        presented = digest(secret)
        contents = self._contents
        opening = contents.opening
        found = opening.get(presented)
        if found is None:
            rows = contents.credentials.all((DIGEST, presented))
            found = tuple(each for each in map(contents.credential, rows) if each is not None)
            if 0 < len(found) <= _ALIKE:  # what opens nothing is not remembered: anybody can make it up
                if len(opening) < _REMEMBERED:
                    opening[presented] = found
                else:
                    contents.opening = {}  # and not with these in it: the writer may have been here since they were found
        for credential in found:
            fits = credential.source == source or (tenant_secret and credential.source == INTEGRATION)
            if fits and credential.opens_with(presented, now_us()):
                return credential
        return None

    def api_key_for(self, secret: str) -> ApiKey | None:
        """Find the API key a secret belongs to, if it has not expired. Takes any text; an empty one is nobody's."""
        if not secret:
            return None
        presented = digest(secret)
        for _, key in sorted(self._contents.api_keys.get(presented, {}).items()):
            same = hmac.compare_digest(key.digest.encode(), presented.encode())
            if same and not (key.expires_us and now_us() >= key.expires_us):
                return key
        return None

    # --- which device ------------------------------------------------------------------------------------------------

    def identify(
        self, tenant_id: str, credential_device_id: str, identities: Sequence[Identity], child: str
    ) -> Identified:
        """Find the device of one record within its tenant; the rules are those of `Identified` and DM-a18, AC-a17, AC-c11.

        A credential that belongs to one device decides: what the message says can only choose among the children of
        that device, if it is a gateway. Without one, the first of `identities` that names a device decides. `child`
        names a device behind the gateway found so far; unknown, the record is nobody's, not the gateway's.
        """
        contents = self._contents
        tenancy = contents.tenancies.get(tenant_id)
        if tenancy is None:
            return UNKNOWN
        return identify(contents, tenancy.number, credential_device_id, identities, child)

    def claimants(self, tenant_id: str, kind: str, value: str) -> tuple[str, ...]:
        """List the ids of all devices of a tenant that claim an identity, the one that is found first.

        For `token_digest` the credentials'.
        """
        contents = self._contents
        tenancy = contents.tenancies.get(tenant_id)
        if tenancy is None or not value:
            return ()
        if kind == TOKEN_DIGEST:
            return tuple(row.id for row in tokens(contents, tenancy.number, value))
        if kind == "id":
            return (value,) if contents.devices.owned(tenancy.number, value) is not None else ()
        kind, value = compared(kind, value)
        return tuple(row.id for row in contents.devices.all((tenancy.number, kind, value)))

    def siblings(self, tenant_id: str, parent_id: str, name: str) -> tuple[str, ...]:
        """List the ids of a tenant's devices with a name that stand behind one gateway, or behind none.

        However many devices behind other gateways have that name, those behind this one are found at once.
        """
        contents = self._contents
        tenancy = contents.tenancies.get(tenant_id)
        if tenancy is None or not name:
            return ()
        number = tenancy.number
        key = (number, parent_id, "name", name) if parent_id else (number, "name", name)
        return tuple(row.id for row in contents.devices.all(key) if row.parent == parent_id)

    # --- what there is -----------------------------------------------------------------------------------------------

    def get(self, kind: type[E], id: str) -> E | None:  # noqa: A002  called `id` in the entry too
        """Return the entry of a kind with an id, of whatever tenant."""
        return self._contents.get(kind, id)

    def owned(self, kind: type[O], tenant_id: str) -> tuple[O, ...]:
        """List all of a tenant's entries of a kind, by id."""
        return tuple(self._entries(kind, tenant_id, self._contents.ids(kind, tenant_id, None, 0)))

    def page(self, kind: type[O], tenant_id: str, after: str, limit: int) -> list[O]:
        """List the next `limit` entries of a tenant with ids greater than `after`, by id; fewer: there are no more.

        The first listing of a kind in a process puts all ids of that kind in order, seconds for millions; from then on a
        page takes as long as its entries.
        """
        found: list[O] = []
        while len(found) < limit:
            wanted = limit - len(found)
            ids = self._contents.ids(kind, tenant_id, after, wanted)
            found += self._entries(kind, tenant_id, ids)
            if len(ids) < wanted:
                break
            after = ids[-1]
        return found

    def _entries(self, kind: type[O], tenant_id: str, ids: Sequence[str]) -> Iterator[O]:
        contents = self._contents
        for each in ids:
            entry = contents.get(kind, each)
            if entry is not None and entry.tenant_id == tenant_id:  # else it has just left
                yield entry

    def count(self, kind: type[Owned], tenant_id: str) -> int:
        """Return how many entries of a kind a tenant has."""
        tenancy = self._contents.tenancies.get(tenant_id)
        return 0 if tenancy is None else tenancy.counts.get(kind.KIND, 0)

    def children(self, gateway_id: str) -> tuple[str, ...]:
        """List the ids of the devices of the gateway's tenant that stand behind it, by id."""
        return self._contents.children(gateway_id)

    def credentials_of(self, device_id: str) -> tuple[Credential, ...]:
        """List the credentials of the device's tenant that speak for it alone, by id."""
        contents = self._contents
        found = (contents.get(Credential, each) for each in contents.credentials_of(device_id))
        return tuple(each for each in found if each is not None and each.device_id == device_id)

    def entries(self) -> Iterator[Entry]:
        """Go through everything there is, in no order; what changes meanwhile is seen before or after the change."""
        return self._contents.entries()

    def settings_of(self, tenant_id: str) -> TenantSettings:
        """Return what a tenant has set; the defaults when it has set nothing."""
        found = self._contents.get(TenantSettings, tenant_id)
        if found is not None and found.tenant_id == tenant_id:
            return found
        return TenantSettings(id=tenant_id, tenant_id=tenant_id, version=0)

    def tenant(self, tenant_id: str) -> Tenant | None:
        """Return a tenant."""
        return self._contents.get(Tenant, tenant_id)

    def tenants(self) -> tuple[Tenant, ...]:
        """List all tenants, by id."""
        return tuple(tenant for _, tenant in sorted(self._contents.tenants.copy().items()))

    def device(self, device_id: str) -> Device | None:
        """Return a device, of whatever tenant."""
        return self._contents.get(Device, device_id)

    def devices(self, tenant_id: str) -> tuple[Device, ...]:
        """List a tenant's devices, by id."""
        return self.owned(Device, tenant_id)

    def credential(self, credential_id: str) -> Credential | None:
        """Return a credential."""
        return self._contents.get(Credential, credential_id)

    def credentials(self, tenant_id: str) -> tuple[Credential, ...]:
        """List a tenant's credentials, by id."""
        return self.owned(Credential, tenant_id)

    def destination(self, destination_id: str) -> Destination | None:
        """Return a destination, enabled or not."""
        return self._contents.get(Destination, destination_id)

    def destinations(self, tenant_id: str) -> tuple[Destination, ...]:
        """List a tenant's enabled destinations, by id."""
        tenancy = self._contents.tenancies.get(tenant_id)
        return () if tenancy is None else tenancy.enabled

    def all_destinations(self, tenant_id: str) -> tuple[Destination, ...]:
        """List a tenant's destinations, disabled ones included, by id."""
        return self.owned(Destination, tenant_id)
