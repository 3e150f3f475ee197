"""What may enter the registry: builds entries from what an operator asks for, and refuses what breaks a rule.

Pure: reads a view, makes entries, sends nothing. Everything raises RegistryRefused with a text for the operator.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from registry.errors import RegistryRefused
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Destination, Device, Tenant
from registry.tenant import plain_dev_eui
from registry.view import RegistryView
from schemas.ids import new_id
from sources.catalog import source_names

WEBHOOK = "webhook"
_LONGEST_ID = 200
_DEV_EUI_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


def clean_text(text: str, what: str) -> str:
    """Return the text without surrounding space. Refuses control characters and what cannot be written as UTF-8."""
    stripped = text.strip()
    if has_control(stripped):
        raise RegistryRefused(f"{what} holds control characters")
    return stripped


def has_control(text: str) -> bool:
    """Tell whether a text holds control characters (CR and LF among them) or lone surrogates."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def clean_id(wanted: str | None) -> str:
    """Return the id asked for, or a new one. Refuses white space and slashes: ids stand in keys and paths."""
    if wanted is None:
        return new_id()
    text = clean_text(wanted, "the id")
    if not text or len(text) > _LONGEST_ID or "/" in text or any(character.isspace() for character in text):
        raise RegistryRefused(f"{wanted!r} cannot be an id: 1 to {_LONGEST_ID} characters without spaces and slashes")
    return text


def _required(text: str, what: str) -> str:
    stripped = clean_text(text, what)
    if not stripped:
        raise RegistryRefused(f"{what} is empty")
    return stripped


def find_tenant(view: RegistryView, wanted: str | Tenant) -> Tenant:
    """Find a tenant by id, else by its name."""
    if isinstance(wanted, Tenant):
        wanted = wanted.id
    found = view.tenant(wanted)
    if found is not None:
        return found
    named = [tenant for tenant in view.tenants() if tenant.name == wanted]
    if len(named) > 1:
        raise RegistryRefused(f"{len(named)} tenants are called {wanted!r}; give the id")
    if not named:
        raise RegistryRefused(f"no tenant {wanted!r}; `fleetline tenant list` shows them")
    return named[0]


def find_device(view: RegistryView, tenant: Tenant, wanted: str | Device) -> Device:
    """Find a device of one tenant by id, else by its name."""
    if isinstance(wanted, Device):
        wanted = wanted.id
    found = view.device(wanted)
    if found is not None and found.tenant_id == tenant.id:
        return found
    named = view.claimants(tenant.id, "name", wanted)
    if len(named) > 1:
        raise RegistryRefused(f"{len(named)} devices of {tenant.name!r} are called {wanted!r}; give the id")
    device = view.device(named[0]) if named else None
    if device is None:
        raise RegistryRefused(f"no device {wanted!r} at tenant {tenant.name!r}; `fleetline device list` shows them")
    return device


def make_tenant(view: RegistryView, name: str, wanted_id: str | None = None) -> Tenant:
    """Make a tenant. Its name and id are its own: commands take either."""
    made = Tenant(id=clean_id(wanted_id), name=_required(name, "the tenant's name"))
    for other in view.tenants():
        if {other.id, other.name} & {made.id, made.name}:
            raise RegistryRefused(f"there is a tenant {other.name!r} already ({other.id})")
    return made


def make_device(
    view: RegistryView,
    tenant: Tenant,
    name: str,
    attributes: Mapping[str, str],
    *,
    gateway: bool = False,
    parent: str | Device | None = None,
    wanted_id: str | None = None,
) -> Device:
    """Make a device. Empty attributes are left out; the external id is the device's id unless given (AC-b04).

    Refuses an id of any kind that another device of the tenant has, the name of a sibling, and a parent that is no
    gateway, or is below one itself (AC-a17).
    """
    device_id = clean_id(wanted_id)
    if view.device(device_id) is not None:
        raise RegistryRefused(f"there is a device {device_id!r} already")
    kept = {key: clean_text(value, key) for key, value in attributes.items()}
    kept = {key: value for key, value in kept.items() if value}
    kept.setdefault(EXTERNAL_ID, device_id)
    if DEV_EUI in kept:
        kept[DEV_EUI] = _dev_eui(kept[DEV_EUI])
    made = Device(
        id=device_id,
        tenant_id=tenant.id,
        name=_required(name, "the device's name"),
        attributes=kept,
        gateway=gateway,
        parent_id="" if parent is None else _parent(view, tenant, parent, gateway=gateway).id,
    )
    _refuse_duplicates(view, made)
    return made


def _dev_eui(value: str) -> str:
    plain = plain_dev_eui(value)
    if len(plain) != _DEV_EUI_DIGITS or not _HEX.issuperset(plain):
        raise RegistryRefused(f"{value!r} is no DevEUI: {_DEV_EUI_DIGITS} hex digits, separators allowed")
    return plain


def _parent(view: RegistryView, tenant: Tenant, wanted: str | Device, *, gateway: bool) -> Device:
    parent = find_device(view, tenant, wanted)
    if not parent.gateway:
        raise RegistryRefused(f"{parent.name!r} is no gateway, so it cannot be a parent")
    if parent.parent_id or gateway:
        raise RegistryRefused("a gateway cannot stand behind another gateway: one level only")
    return parent


def _refuse_duplicates(view: RegistryView, device: Device) -> None:
    unique = {"external_id": device.attributes[EXTERNAL_ID], "dev_eui": device.attributes.get(DEV_EUI, "")}
    unique |= {kind: device.attributes.get(kind, "") for kind in ("imei", "serial", "iccid")}
    for kind, value in unique.items():
        taken = view.claimants(device.tenant_id, kind, value) if value else ()
        if taken:
            raise RegistryRefused(f"the {kind} {value!r} is taken by device {taken[0]}")
    for other_id in view.claimants(device.tenant_id, "name", device.name):
        other = view.device(other_id)
        if other is not None and other.parent_id == device.parent_id:
            raise RegistryRefused(f"there is a device {device.name!r} already ({other_id})")


def check_source(source: str) -> None:
    """Refuse a source that does not exist, naming those that do."""
    if source != INTEGRATION and source not in source_names():
        raise RegistryRefused(f"no source {source!r}; there are: {', '.join(source_names())}")


def make_credential(tenant: Tenant, source: str, digest: str, device: Device | None = None) -> Credential:
    """Make a credential of a tenant for one source, speaking for all its devices or for one."""
    check_source(source)
    if device is not None and source == INTEGRATION:
        raise RegistryRefused("the integration secret belongs to the whole tenant, not to one device")
    device_id = "" if device is None else device.id
    return Credential(id=new_id(), tenant_id=tenant.id, source=source, digest=digest, device_id=device_id)


def make_destination(tenant: Tenant, kind: str, url: str, types: Sequence[str], sealed_psk: str) -> Destination:
    """Make a destination. The URL is http or https and holds no password: it is stored and shown as it is."""
    if kind != WEBHOOK:
        raise RegistryRefused(f"no destination of kind {kind!r}; there are: {WEBHOOK}")
    return Destination(
        id=new_id(),
        tenant_id=tenant.id,
        kind=kind,
        url=_webhook_url(url),
        types=tuple(dict.fromkeys(_required(each, "an event type") for each in types)),
        sealed_psk=sealed_psk,
    )


def check_psk(psk: str) -> None:
    """Refuse a pre-shared key that could smuggle a second header (BT-c06)."""
    if has_control(psk):
        raise RegistryRefused("the PSK holds control characters; it is sent as one header value")


def _webhook_url(url: str) -> str:
    text = clean_text(url, "the URL")
    try:
        parts = urlsplit(text)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError as error:
        raise RegistryRefused(f"{text!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not has_host or " " in text:
        raise RegistryRefused(f"{text!r} is no webhook URL: it must be http://host/… or https://host/…")
    if parts.username is not None or parts.password is not None:
        raise RegistryRefused("the URL holds a user name or password; give secrets as the PSK, it is stored encrypted")
    return text
