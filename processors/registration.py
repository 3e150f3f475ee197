"""Which senders get a device by themselves, and what is known of that device: the rules of auto-registration."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from processors.sender import Sender
from registry.draft import Draft
from registry.errors import RegistryRefused
from registry.model import DEV_EUI, EXTERNAL_ID, AutoRegistered, Tenant, TenantSettings
from registry.rules.devices import create_device
from registry.rules.texts import LONGEST_TEXT
from registry.tenant import plain_dev_eui
from registry.view import RegistryView
from schemas.ids import new_id
from sources.contract import Identity

_ATTRIBUTES = {
    "external_id": EXTERNAL_ID,
    EXTERNAL_ID: EXTERNAL_ID,
    "dev_eui": DEV_EUI,
    DEV_EUI: DEV_EUI,
    "imei": "imei",
    "serial": "serial",
    "iccid": "iccid",
}
"""Kind of identity -> the attribute it becomes. A platform's own numbers (`traccar.device.id`) are left out: two servers of
a tenant use the same ones, so the second one's devices would silently be taken for the first one's. So are tokens."""
_KINDS = {EXTERNAL_ID: "external_id", DEV_EUI: "dev_eui"}
_IMEI_DIGITS = 15
_SUFFIX = 8


class Outcome(NamedTuple):
    """What became of a batch of senders; those in neither list have their device by now."""

    created: int
    refused: list[tuple[Sender, str]]
    """Cannot be registered, and why."""
    over_limit: list[Sender]
    """Their tenant has had its devices of the day."""


def is_wanted(sender: Sender, view: RegistryView) -> bool:
    """Tell whether a sender that waits is to get a device by itself.

    The tenant wants it for this source; a credential of the tenant vouches for the sender, not one of a device that is
    gone; it is not behind a gateway, where the child must exist (AC-a17); and it says what a device can be found by.
    """
    return (
        not sender.child
        and not sender.credential_device_id
        and sender.source in view.settings_of(sender.tenant_id).auto_register
        and bool(attributes_of(sender.identities))
    )


def attributes_of(identities: Iterable[Identity]) -> dict[str, str]:
    """Return the attributes of the device that identities describe; empty when there is none to find it by.

    A source that does not know what kind an id is names it as several: it is kept as the first of them, and as the IMEI
    or DevEUI it looks like. With a DevEUI, which is unique everywhere, names stay out: The Things Stack's are unique in
    an application only, so the same name in another one would be taken for this device.
    """
    kept: dict[str, str] = {}
    used: set[str] = set()
    for kind, value in ((each.kind, each.value) for each in identities):
        attribute = _ATTRIBUTES.get(kind)
        if attribute is None or attribute in kept or not value or value != value.strip():
            continue  # the registry would store it without the spaces, and it would not be found by it
        if value in used and not (attribute == DEV_EUI or (attribute == "imei" and _is_imei(value))):
            continue
        kept[attribute] = value
        used.add(value)
    if DEV_EUI in kept:
        kept.pop(EXTERNAL_ID, None)
    return kept


def _is_imei(value: str) -> bool:
    return len(value) == _IMEI_DIGITS and value.isascii() and value.isdecimal()


def register(draft: Draft, senders: Iterable[Sender], day: int, limit: int) -> Outcome:
    """Create the devices of senders that still have none, at most `limit` of one tenant on one `day` (from 1970-01-01).

    A plan for `RegistryStore.change`: everything is looked at again in the registry as it stands now, where another worker, or
    a person, may have created the device meanwhile. Of several senders that name one device the most talkative makes it.
    """
    outcome = Outcome(0, [], [])
    created: dict[str, int] = {}
    for sender in sorted(senders, key=lambda each: -len(each.identities)):
        tenant = draft.tenant(sender.tenant_id)
        settings = draft.get(TenantSettings, sender.tenant_id)
        if tenant is None or settings is None or sender.source not in settings.auto_register:
            continue
        if _is_known(draft, sender):
            continue
        if _made_today(draft, tenant, day) + created.get(tenant.id, 0) >= limit:
            outcome.over_limit.append(sender)
            continue
        try:
            _create(draft, tenant, sender)
        except RegistryRefused as error:
            outcome.refused.append((sender, str(error)))
        else:
            created[tenant.id] = created.get(tenant.id, 0) + 1
    for tenant_id, count in created.items():
        _note(draft, tenant_id, day, count)
    return outcome._replace(created=sum(created.values()))


def _is_known(draft: Draft, sender: Sender) -> bool:
    if sender.identify(draft.view).device_id:
        return True
    return any(draft.claimants(sender.tenant_id, kind, value) for kind, value in map(_plain, sender.identities))


def _plain(identity: Identity) -> tuple[str, str]:
    kind = _KINDS.get(identity.kind, identity.kind)
    return kind, plain_dev_eui(identity.value) if kind == "dev_eui" else identity.value


def _create(draft: Draft, tenant: Tenant, sender: Sender) -> None:
    device_id = new_id()
    attributes = attributes_of(sender.identities)
    name = (sender.source_device.strip() or next(iter(attributes.values())))[:LONGEST_TEXT]
    siblings = (draft.device(each) for each in draft.claimants(tenant.id, "name", name))
    if any(each is not None and not each.parent_id for each in siblings):
        name = f"{name[: LONGEST_TEXT - _SUFFIX - 3]} ({device_id[-_SUFFIX:]})"
    create_device(draft, tenant, name, attributes, wanted_id=device_id)


def _made_today(draft: Draft, tenant: Tenant, day: int) -> int:
    noted = draft.get(AutoRegistered, tenant.id)
    return noted.count if noted is not None and noted.day == day else 0


def _note(draft: Draft, tenant_id: str, day: int, count: int) -> None:
    noted = draft.get(AutoRegistered, tenant_id) or AutoRegistered(id=tenant_id, tenant_id=tenant_id, day=day, count=0)
    before = noted.count if noted.day == day else 0
    draft.put(msgspec.structs.replace(noted, day=day, count=before + count))
