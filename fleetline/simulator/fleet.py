"""The simulated fleet: its devices, its credentials, and what the registry must know of them."""

import msgspec

from fleetline.errors import FleetlineError
from fleetline.simulator.profile import Profile, SimDevice
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Device, Entry, Tenant
from registry.secrets import digest, new_secret
from schemas.ids import new_id

_ATTRIBUTES = {"external_id": EXTERNAL_ID, "dev_eui": DEV_EUI, "imei": "imei", "serial": "serial"}


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One credential of a running installation. `device_id` is needed where it speaks for one device alone."""

    source: str
    secret: str
    device_id: str = ""
    credential_id: str = ""


class GivenCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `--credentials FILE` holds. `integration` as a source is the tenant's webhook secret."""

    tenant_id: str
    credentials: tuple[Given, ...]


class Fleet(msgspec.Struct, kw_only=True):
    """Devices by profile. `entries` are to be registered, credentials last; `own_tenant`: nobody else's data is in it."""

    tenant_id: str
    own_tenant: bool
    devices: dict[str, list[SimDevice]]
    entries: list[Entry] = []


def device_counts(profiles: tuple[Profile, ...], devices: int) -> dict[str, int]:
    """Spread `devices` over the senders, at least one each."""
    each, more = divmod(devices, len(profiles))
    return {profile.name: max(1, each + (number < more)) for number, profile in enumerate(profiles)}


def new_fleet(profiles: tuple[Profile, ...], devices: int) -> Fleet:
    """Make a new tenant with its devices and credentials: no run counts another's records."""
    tenant = Tenant(id=new_id(), name=f"Simulation {new_id()[-8:]}")
    keys = _NewKeys(tenant)
    fleet = Fleet(tenant_id=tenant.id, own_tenant=True, devices={})
    known: list[Entry] = []
    number = 0
    for profile in profiles:
        made = fleet.devices[profile.name] = []
        for is_gateway in _roles(profile, device_counts(profiles, devices)[profile.name]):
            number += 1
            device = _sim_device(profile, number, tenant.id, new_id(), keys, is_gateway=is_gateway)
            made.append(device)
            known.append(_registered(profile, device))
            known.extend(_behind(device))
    fleet.entries = [tenant, *known, *keys.entries]
    return fleet


def given_fleet(profiles: tuple[Profile, ...], devices: int, given: GivenCredentials) -> Fleet:
    """Make devices for credentials that exist already. Raises FleetlineError when one is missing."""
    fleet = Fleet(tenant_id=given.tenant_id, own_tenant=False, devices={})
    number = 0
    for profile in profiles:
        wanted = INTEGRATION if profile.credential == "tenant" else profile.source
        fitting = [each for each in given.credentials if each.source == wanted and (each.device_id or profile.known_by)]
        if not fitting:
            bound = "" if profile.known_by else ", with its device_id"
            raise FleetlineError(f"the credentials file holds none for {profile.name} (source {wanted!r}{bound})")
        made = fleet.devices[profile.name] = []
        for index, is_gateway in enumerate(_roles(profile, device_counts(profiles, devices)[profile.name])):
            number += 1
            key = _GivenKey(fitting[index % len(fitting)])
            made.append(_sim_device(profile, number, given.tenant_id, new_id(), key, is_gateway=is_gateway))
    return fleet


class _NewKeys:
    """Makes each credential once: per device, per source, or one for the tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._made: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.entries: list[Entry] = []

    def key(self, profile: Profile, device_id: str) -> tuple[str, str, str]:
        """Return (secret, credential id, device the credential belongs to)."""
        opens = INTEGRATION if profile.credential == "tenant" else profile.source
        bound = device_id if profile.credential == "device" else ""
        if (opens, bound) not in self._made:
            secret = new_secret()
            entry = Credential(
                id=new_id(), tenant_id=self._tenant.id, source=opens, digest=digest(secret), device_id=bound
            )
            self._made[opens, bound] = secret, entry.id, bound
            self.entries.append(entry)
        return self._made[opens, bound]


class _GivenKey:
    """One credential that exists already."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def key(self, _: Profile, __: str) -> tuple[str, str, str]:
        return self._given.secret, self._given.credential_id, self._given.device_id


def _roles(profile: Profile, count: int) -> tuple[bool, ...]:
    """Return for each device whether it is a gateway: the last one, beyond the count, when the profile has children."""
    return (False,) * count + (True,) * bool(profile.children)


def _sim_device(
    profile: Profile, number: int, tenant_id: str, device_id: str, keys: _NewKeys | _GivenKey, *, is_gateway: bool
) -> SimDevice:
    secret, credential_id, bound = keys.key(profile, device_id)
    unique = int(device_id.replace("-", "")[-8:], 16)
    """Digits from the device's id: two runs against one installation never play the same device."""
    return SimDevice(
        source=profile.source,
        number=number,
        tenant_id=tenant_id,
        id=device_id,
        name=f"sim-{profile.name}-{number}",
        imei=f"35{unique:010}{number % 1000:03}",
        serial=str(10_000_000 + unique % 80_000_000 * 10 + number % 10),
        dev_eui=device_id.replace("-", "")[-16:],
        external_id=f"sim-{device_id[-12:]}-{number}",
        secret=secret,
        credential_id=credential_id,
        credential_device_id=bound,
        transport=profile.transport,
        children=tuple(f"Child {each} of {number}" for each in range(1, profile.children + 1)) if is_gateway else (),
    )


def _registered(profile: Profile, device: SimDevice) -> Device:
    attributes = {_ATTRIBUTES[kind]: getattr(device, kind) for kind in profile.known_by}
    attributes.setdefault(EXTERNAL_ID, device.external_id)
    return Device(
        id=device.id,
        tenant_id=device.tenant_id,
        name=device.name,
        attributes=attributes,
        gateway=bool(device.children),
    )


def _behind(device: SimDevice) -> list[Entry]:
    """Return the devices behind a gateway: it calls them by their names (AC-a11)."""
    return [Device(id=new_id(), tenant_id=device.tenant_id, name=name, parent_id=device.id) for name in device.children]
