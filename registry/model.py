"""The registry's objects as they stand in the compacted topic: one JSON value per key `kind/id`, versioned."""

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
    id: str
    tenant_id: str
    source: str
    digest: str
    device_id: str = ""
    version: int = 1


class Destination(msgspec.Struct, frozen=True, kw_only=True, tag="destination"):
    """Where events go. `types` empty means all; `sealed_psk` is encrypted, see `registry.sealing`."""

    KIND: ClassVar[str] = "destination"
    id: str
    tenant_id: str
    kind: str
    url: str
    types: tuple[str, ...] = ()
    sealed_psk: str = ""
    enabled: bool = True
    version: int = 1


Entry = Tenant | Device | Credential | Destination
INTEGRATION = "integration"
