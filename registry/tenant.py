"""Everything of one tenant, ready to be looked up: its devices by every id a sender may know them by."""

import logging
from collections.abc import Iterator

from registry.index import Index
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Destination, Device

log = logging.getLogger(__name__)

TOKEN_DIGEST = "token_digest"  # noqa: S105  the name of a kind of identity
DEVICE_SOURCE = "device"
_COMPUTED = {"id", "name", "external_id", "dev_eui", TOKEN_DIGEST}
"""Kinds of identity that are not the attribute of that name: an attribute called so is no identity."""
_NONE: dict[str, str] = {}
_SEPARATORS = str.maketrans("", "", "-: ")

Claim = tuple[str, str, str]
"""(parent id, or nothing for the whole tenant; kind; value)."""


def plain_dev_eui(value: str) -> str:
    """Bring a DevEUI into the one form it is compared in: lower case, without `-`, `:` and spaces (AC-a32)."""
    return value.translate(_SEPARATORS).lower()


def external_id_of(device: Device) -> str:
    """Return the id integrations know a device by: its own id until another one is set (AC-b04)."""
    return device.attributes.get(EXTERNAL_ID) or device.id


class TenantIndex:
    """One tenant's objects.

    An update adds new index entries before it removes old ones: a reader in another thread never misses a device that
    exists before and after.
    """

    __slots__ = ("_kinds", "children", "credentials", "destinations", "devices", "enabled", "lookup", "tenant_id")

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.devices: dict[str, Device] = {}
        self.credentials: dict[str, Credential] = {}
        self.destinations: dict[str, Destination] = {}
        self.enabled: tuple[Destination, ...] = ()
        self._kinds: dict[tuple[str, str], Index] = {}
        self.lookup: dict[str, dict[str, str]] = {}
        """Kind of identity -> value -> device id (for `token_digest`: credential id)."""
        self.children: dict[str, dict[str, dict[str, str]]] = {}
        """Gateway id -> kind -> value -> device id."""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing of this tenant is left."""
        return not (self.devices or self.credentials or self.destinations)

    def resolve(self, kind: str, value: str) -> str:
        """Return the id of the device one identity names, or nothing. Looks the device itself up only where it must."""
        by_value = self.lookup.get(kind)
        if by_value is None:
            return ""
        found = by_value.get(value)
        if found is None:
            if kind not in ("dev_eui", DEV_EUI):
                return ""
            return by_value.get(plain_dev_eui(value), "")
        if kind == TOKEN_DIGEST:
            return self._device_of(found)
        return found

    def _device_of(self, credential_id: str) -> str:
        credential = self.credentials.get(credential_id)
        return credential.device_id if credential is not None and credential.device_id in self.devices else ""

    def child(self, gateway_id: str, name: str) -> str:
        """Return the id of a device behind a gateway, found by its id, then its external id, then its name (AC-c11)."""
        by_kind = self.children.get(gateway_id)
        if by_kind is not None:
            for kind in ("id", "external_id", "name"):
                found = by_kind.get(kind, _NONE).get(name)
                if found is not None:
                    return found
        return ""

    def put_device(self, device: Device) -> None:
        """Add or replace a device."""
        former = self.devices.get(device.id)
        self.devices[device.id] = device
        self._move(device.id, _claims_of(former), _claims_of(device))

    def drop_device(self, device_id: str) -> None:
        """Remove a device."""
        former = self.devices.pop(device_id)
        self._move(device_id, _claims_of(former), set())

    def put_credential(self, credential: Credential) -> None:
        """Add or replace a credential."""
        former = self.credentials.get(credential.id)
        self.credentials[credential.id] = credential
        self._move(credential.id, _token_claims(former), _token_claims(credential))

    def drop_credential(self, credential_id: str) -> None:
        """Remove a credential."""
        former = self.credentials.pop(credential_id)
        self._move(credential_id, _token_claims(former), set())

    def put_destination(self, destination: Destination) -> None:
        """Add or replace a destination."""
        self.destinations[destination.id] = destination
        self._list_enabled()

    def drop_destination(self, destination_id: str) -> None:
        """Remove a destination."""
        del self.destinations[destination_id]
        self._list_enabled()

    def claimants(self, kind: str, value: str) -> tuple[str, ...]:
        """List the ids of all devices that claim a value of one kind, the winner first."""
        index = self._kinds.get(("", kind))
        return () if index is None else index.claimants(value)

    def _list_enabled(self) -> None:
        self.enabled = tuple(each for _, each in sorted(self.destinations.items()) if each.enabled)

    def _move(self, claimant: str, old: set[Claim], new: set[Claim]) -> None:
        for scope, kind, value in new - old:
            index = self._kinds.get((scope, kind)) or self._add_kind(scope, kind)
            other = index.claim(value, claimant)
            if other and not scope:
                log.warning(
                    "%s and %s of tenant %s both claim the same %s; the first by id is found",
                    *(other, claimant, self.tenant_id, kind),
                )
        for scope, kind, value in old - new:
            index = self._kinds[scope, kind]
            index.release(value, claimant)
            if not index.winners:
                self._remove_kind(scope, kind)

    def _add_kind(self, scope: str, kind: str) -> Index:
        index = self._kinds[scope, kind] = Index()
        lookup = self.children.setdefault(scope, {}) if scope else self.lookup
        lookup[kind] = index.winners
        alias = {"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI}.get(kind)
        if alias:
            lookup[alias] = index.winners
        return index

    def _remove_kind(self, scope: str, kind: str) -> None:
        del self._kinds[scope, kind]
        lookup = self.children[scope] if scope else self.lookup
        for name in (kind, {"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI}.get(kind, kind)):
            lookup.pop(name, None)
        if scope and not lookup:
            del self.children[scope]


def _token_claims(credential: Credential | None) -> set[Claim]:
    if credential is None or credential.source != DEVICE_SOURCE or not credential.device_id:
        return set()
    return {("", TOKEN_DIGEST, credential.digest)}


def _claims_of(device: Device | None) -> set[Claim]:
    return set() if device is None else set(device_claims(device))


def device_claims(device: Device) -> Iterator[Claim]:
    """Yield everything a device may be found by; nothing is found by an empty value."""
    return (claim for claim in _every_claim(device) if claim[2])


def _every_claim(device: Device) -> Iterator[Claim]:
    scopes = ("", device.parent_id) if device.parent_id else ("",)
    for scope in scopes:
        yield scope, "id", device.id
        yield scope, "external_id", external_id_of(device)
        yield scope, "name", device.name
    for name, value in device.attributes.items():
        if name == DEV_EUI:
            yield "", "dev_eui", plain_dev_eui(value)
        elif name != EXTERNAL_ID and name not in _COMPUTED:
            yield "", name, value
