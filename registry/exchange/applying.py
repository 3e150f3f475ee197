"""One row of a file on a draft of the registry, by the same rules as every other change."""

from typing import Literal, get_args

from msgspec import UNSET

from registry.draft import Draft
from registry.errors import RegistryRefused
from registry.exchange.columns import NAMED, DeviceRow, said_plainly
from registry.exchange.events import RowDone
from registry.exchange.reading import Unreadable
from registry.model import Device, Tenant
from registry.rules.access import create_credential
from registry.rules.devices import UNIQUE, change_device, create_device, find_device
from registry.tenant import DEVICE_SOURCE, plain_dev_eui

OnExisting = Literal["refuse", "update", "skip"]
ON_EXISTING: tuple[OnExisting, ...] = get_args(OnExisting)
_RECOGNISED = ("external_id", "dev_eui", *UNIQUE)
"""What tells that a row is of a device there is already, when it gives no id; the first that is known decides."""


def apply_row(
    draft: Draft, tenant: Tenant, row: DeviceRow | Unreadable, on_existing: OnExisting, *, tokens: bool
) -> RowDone:
    """Do what a row says, or say why not; never raises for what a row holds. A refused row leaves the draft as it was."""
    if isinstance(row, Unreadable):
        return refused(row.line, row.reason)
    name = "" if row.name is UNSET else row.name
    try:
        if on_existing == "refuse":
            return _create(draft, tenant, row, name, tokens=tokens)
        standing, _ = existing(draft, tenant, row)
        if standing is None:
            return _create(draft, tenant, row, name, tokens=tokens)
        if on_existing == "skip":
            return RowDone(line=row.line, outcome="skipped", device_id=standing.id, name=name)
        return _update(draft, standing, row, name)
    except RegistryRefused as error:
        return _why(draft, tenant, row, error, known=on_existing != "refuse")


def _why(draft: Draft, tenant: Tenant, row: DeviceRow, error: RegistryRefused, *, known: bool) -> RowDone:
    """Name the device in the way; when none may be in the way, and the row is of one that is there, that is the reason."""
    name = "" if row.name is UNSET else row.name
    try:
        standing, kind = existing(draft, tenant, row)
    except RegistryRefused:
        standing, kind = None, ""
    if standing is None:
        return refused(row.line, str(error), name)
    reason = str(error) if known else f"there is a device with this {kind} already"
    return refused(row.line, reason, name, standing.id)


def refused(line: int, reason: str, name: str = "", device_id: str = "") -> RowDone:
    """Say that a row was refused."""
    return RowDone(
        line=line, outcome="refused", device_id=device_id, name=said_plainly(name), reason=said_plainly(reason)
    )


def existing(draft: Draft, tenant: Tenant, row: DeviceRow) -> tuple[Device | None, str]:
    """Find the tenant's device that a row is about, and say by what.

    By its id when the row gives one, and then by nothing else; else by the first of external id, DevEUI, IMEI, serial and
    ICCID that is known; a row without any of them by its name among the devices behind the same gateway, or behind none.
    """
    if row.id is not UNSET:
        found = draft.device(row.id)
        return (found if found is not None and found.tenant_id == tenant.id else None), "id"
    identified = False
    for kind in _RECOGNISED:
        value = row.attributes.get(NAMED[kind], "")
        if not value:
            continue
        identified = True
        claimants = draft.claimants(tenant.id, kind, plain_dev_eui(value) if kind == "dev_eui" else value)
        if claimants:
            return draft.device(claimants[0]), kind
    if identified or row.name is UNSET:
        return None, ""
    return _sibling(draft, tenant, row.name, row), "name"


def _sibling(draft: Draft, tenant: Tenant, name: str, row: DeviceRow) -> Device | None:
    parent_id = find_device(draft, tenant, row.parent).id if row.parent else ""
    found = draft.siblings(tenant.id, parent_id, name)
    return draft.device(found[0]) if found else None


def _create(draft: Draft, tenant: Tenant, row: DeviceRow, name: str, *, tokens: bool) -> RowDone:
    made = create_device(
        draft,
        tenant,
        name,
        row.attributes,
        gateway=row.gateway is True,
        parent=row.parent or None,
        wanted_id=None if row.id is UNSET else row.id,
    )
    token = create_credential(draft, tenant, DEVICE_SOURCE, made)[1] if tokens else ""
    return RowDone(line=row.line, outcome="created", device_id=made.id, name=name, token=token)


def _update(draft: Draft, standing: Device, row: DeviceRow, name: str) -> RowDone:
    made = change_device(
        draft, standing, name=row.name, attributes=row.attributes, gateway=row.gateway, parent=row.parent
    )
    outcome: Literal["updated", "unchanged"] = "unchanged" if made.version == standing.version else "updated"
    return RowDone(line=row.line, outcome=outcome, device_id=made.id, name=name)
