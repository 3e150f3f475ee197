"""The registry's objects as they stand in the compacted topic: one JSON value per key `kind/id`, versioned.

Schema evolution: a reader leaves out fields it does not know and fills in defaults for those it misses, so a new field needs a
default and a field is never given another meaning; a kind it does not know is skipped. `version` counts an object's changes.
"""

import hmac
from typing import ClassVar

import msgspec

EXTERNAL_ID = "integration.external_id"
DEV_EUI = "integration.lorawan.dev_eui"


class Tenant(msgspec.Struct, frozen=True, kw_only=True, tag="tenant"):
    """A customer. Nothing crosses from one tenant to another."""

    KIND: ClassVar[str] = "tenant"
    id: str
    name: str
    version: int = 1


class Device(msgspec.Struct, frozen=True, kw_only=True, tag="device"):
    """A device; `attributes` hold the ids its senders know it by (`imei`, `serial`, `iccid`, DevEUI, external id, ...)."""

    KIND: ClassVar[str] = "device"
    id: str
    tenant_id: str
    name: str
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    gateway: bool = False
    parent_id: str = ""
    version: int = 1


class Credential(msgspec.Struct, frozen=True, kw_only=True, tag="credential"):
    """What a sender shows at the door. Only the SHA-256 of the secret is kept; the secret is shown once.

    `source` is a source's name, or `integration` for the tenant's webhook secret that opens every source which declares
    `tenant_secret`. With `device_id` it speaks for that device alone.
    """

    KIND: ClassVar[str] = "credential"
    SECRETS: ClassVar[tuple[str, ...]] = ("digest", "former_digest")
    id: str
    tenant_id: str
    source: str
    digest: str
    device_id: str = ""
    name: str = ""
    former_digest: str = ""
    """Of the secret before the last rotation; opens the same until `former_until_us`."""
    former_until_us: int = 0
    created_us: int = 0
    version: int = 1

    def opens_with(self, digest: str, now_us: int) -> bool:
        """Tell, in constant time, whether a secret with this digest is the credential's, or its former one in time."""
        presented = digest.encode()
        current = hmac.compare_digest(presented, self.digest.encode())
        former = hmac.compare_digest(presented, self.former_digest.encode())
        return current or (former and now_us < self.former_until_us)


class Destination(msgspec.Struct, frozen=True, kw_only=True, tag="destination"):
    """Where events go. `types` empty means all; `sealed_psk` is encrypted, see `registry.sealing`."""

    KIND: ClassVar[str] = "destination"
    SECRETS: ClassVar[tuple[str, ...]] = ("sealed_psk",)
    id: str
    tenant_id: str
    kind: str
    url: str
    name: str = ""
    types: tuple[str, ...] = ()
    sealed_psk: str = ""
    enabled: bool = True
    version: int = 1


class Circle(msgspec.Struct, frozen=True, tag="circle"):
    """The ground within `radius_m` metres of a point; degrees WGS 84."""

    latitude: float
    longitude: float
    radius_m: float


class Polygon(msgspec.Struct, frozen=True, tag="polygon"):
    """Rings of (longitude, latitude) in degrees WGS 84, as GeoJSON has them: the outer one, then holes; first point = last."""

    coordinates: tuple[tuple[tuple[float, float], ...], ...]


class Geofence(msgspec.Struct, frozen=True, kw_only=True, tag="geofence"):
    """A place of a tenant's."""

    KIND: ClassVar[str] = "geofence"
    id: str
    tenant_id: str
    name: str
    area: Circle | Polygon
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    version: int = 1


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True, tag="settings"):
    """What a tenant has set; `id` is the tenant's. Absent: all defaults.

    `auto_register`: sources whose unknown devices are made instead of waiting in `unmapped`.
    """

    KIND: ClassVar[str] = "settings"
    id: str
    tenant_id: str
    auto_register: tuple[str, ...] = ()
    version: int = 1


class AutoRegistered(msgspec.Struct, frozen=True, kw_only=True, tag="auto_registered"):
    """How many devices of a tenant were made by auto-registration on its last day; `id` is the tenant's.

    Written in the transaction that makes them, so that the daily limit holds for all workers together and over restarts.
    `day` counts from 1970-01-01 UTC.
    """

    KIND: ClassVar[str] = "auto_registered"
    id: str
    tenant_id: str
    day: int
    count: int
    version: int = 1


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, tag="api_key"):
    """Opens the admin API. Only the SHA-256 of the secret is kept. `tenant_id` empty: an operator's, for every tenant.

    `scopes` are `<resource>:read`, `<resource>:write` or `*`; `expires_us` 0 is never.
    """

    KIND: ClassVar[str] = "api_key"
    SECRETS: ClassVar[tuple[str, ...]] = ("digest",)
    id: str
    tenant_id: str
    name: str
    digest: str
    scopes: tuple[str, ...] = ()
    expires_us: int = 0
    created_us: int = 0
    version: int = 1


Entry = Tenant | Device | Credential | Destination | Geofence | TenantSettings | ApiKey | AutoRegistered
Owned = Device | Credential | Destination | Geofence | TenantSettings | ApiKey | AutoRegistered
"""Everything that belongs to a tenant."""
INTEGRATION = "integration"


def secret_fields(entry: Entry) -> tuple[str, ...]:
    """Return the fields nobody is shown, in no log and no audit trail: digests can be tried out, sealed texts opened."""
    return getattr(entry, "SECRETS", ())


def integration_id(tenant_id: str) -> str:
    """Return the id of the credential that holds a tenant's webhook secret: each tenant has one at most."""
    return f"{INTEGRATION}.{tenant_id}"


def entry_key(entry: Entry) -> str:
    """Return the key an entry stands under in the topic: `kind/id`."""
    return f"{entry.KIND}/{entry.id}"
