"""What identifies a device within its tenant, and the few things a tenant has that are kept as they are."""

from collections.abc import Iterator

from registry.model import DEV_EUI, EXTERNAL_ID, Destination, Device, Entry

TOKEN_DIGEST = "token_digest"  # noqa: S105  the name of a kind of identity
DEVICE_SOURCE = "device"
COMPUTED = frozenset(("id", "name", "external_id", EXTERNAL_ID, "dev_eui", TOKEN_DIGEST))
"""Kinds of identity that are not the attribute of that name: an attribute called so is no identity."""
ALIASES = {EXTERNAL_ID: "external_id", DEV_EUI: "dev_eui"}
ONE_DEVICES = frozenset(("external_id", "dev_eui", "imei", "serial", "iccid", TOKEN_DIGEST))
"""Kinds of identity that two devices have by mistake only; names, and whatever else people keep, are shared at will."""
Claim = tuple[str, str, str]
"""(parent id, or nothing for the whole tenant; kind; value)."""


def plain_dev_eui(value: str) -> str:
    """Bring a DevEUI into the one form it is compared in: lower case, without `-`, `:` and spaces (AC-a32)."""
    return value.lower().replace("-", "").replace(":", "").replace(" ", "")


def external_id_of(device: Device) -> str:
    """Return the id integrations know a device by: its own id until another one is set (AC-b04)."""
    return device.attributes.get(EXTERNAL_ID) or device.id


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
        elif name not in COMPUTED:
            yield "", name, value


class Tenancy:
    """One tenant as its objects see it; there while it has any, with or without an entry of its own."""

    __slots__ = ("counts", "enabled", "few", "id", "number")

    def __init__(self, tenant_id: str, number: int) -> None:
        self.id = tenant_id
        self.number = number
        """Stands for the tenant in packed rows; never given to another tenant."""
        self.counts: dict[str, int] = {}
        """Kind -> how many; no zeros."""
        self.few: dict[str, dict[str, Entry]] = {}
        """Kind -> id -> entry, of the kinds that are not packed."""
        self.enabled: tuple[Destination, ...] = ()
        """The destinations events go to, by id."""

    def list_enabled(self) -> None:
        """Bring `enabled` up to date."""
        there = sorted(self.few.get(Destination.KIND, {}).items())
        self.enabled = tuple(each for _, each in there if isinstance(each, Destination) and each.enabled)
