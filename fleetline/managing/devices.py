"""`fleetline device list`, `show`, `update` and `delete`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetline.admin import (
    chosen_tenants,
    common_options,
    credential_row,
    device_row,
    open_registry,
    print_fields,
    print_json,
    print_rows,
)
from fleetline.managing.options import (
    Command,
    attribute_options,
    attributes_from,
    confirm,
    counted,
    of_tenant_option,
    set_once,
    together,
    version_option,
    yes_option,
)
from fleetline.managing.pages import Part, page_options

if TYPE_CHECKING:
    from registry.draft import Draft
    from registry.model import Device, Tenant
    from registry.view import RegistryView

COLUMNS = {
    "id": "id",
    "name": "name",
    "external_id": "external id",
    "dev_eui": "DevEUI",
    "imei": "IMEI",
    "serial": "serial",
    "gateway": "gateway",
    "parent_id": "parent",
}
IDS = {
    "external_id": ("integration.external_id", "Id it has at its senders [default: its id here]."),
    "dev_eui": ("integration.lorawan.dev_eui", "LoRaWAN DevEUI: 16 hex digits, any case and separators."),
    "imei": ("imei", None),
    "serial": ("serial", "Serial number."),
    "iccid": ("iccid", "Of its SIM card."),
    "custom1": ("custom1", None),
    "custom2": ("custom2", None),
    "custom3": ("custom3", None),
}
"""Option: the attribute it sets, and its help."""
SEARCHED = ("id", "name", *IDS)
_SHOWN_BEHIND = 20


def id_options(command: Command) -> Command:
    """Add an option for each id a device is known by, passed under its name; None where it was not given."""
    for name, (_, said) in reversed(IDS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, help=said)(command)
    return command


def given_attributes(ids: dict[str, Any], given: Sequence[str], removed: Sequence[str] = ()) -> dict[str, str | None]:
    """Put together what the options say of a device's attributes; refuse one that is given twice."""
    wanted = attributes_from(given, removed)
    for name, value in ids.items():
        if value is not None:
            set_once(wanted, IDS[name][0], value)
    return wanted


@click.command("list")
@click.option(
    "--search", metavar="TEXT", help="Only with exactly this id of any kind, or name: IMEI, serial, DevEUI, …"
)
@of_tenant_option
@page_options
@common_options
def list_devices(
    search: str | None, tenant: str | None, limit: int, after: str, whole: bool, data: Path | None, as_json: bool
) -> None:
    """List the devices of one tenant, or of all, a part at a time.

    \b
    fleetline device list --tenant Acme
    fleetline device list --search 352625333222111
    fleetline device list --all --json > devices.json
    """  # noqa: D301  click reads the backspace itself
    from fleetline.managing.pages import listed, say_how_to_go_on
    from registry.model import Device

    with open_registry(data) as (_, store):
        view = store.view
        owners = [each.id for each in chosen_tenants(view, tenant)]
        if search is None:
            found, more = listed(view, Device, owners, Part(after, limit, whole))
            total = sum(view.count(Device, each) for each in owners) if more else len(found)
        else:
            found = sorted(_with_id(view, owners, search), key=lambda each: each.id)
            more, total = False, len(found)
    if as_json:
        print_json([device_row(each) for each in found])
    else:
        print_rows([device_row(each) for each in found], COLUMNS, nothing="no devices")
    if more:
        say_how_to_go_on("fleetline device list", {"tenant": tenant, "limit": limit}, found[-1], total)


def _with_id(view: "RegistryView", owners: Sequence[str], wanted: str) -> "Iterator[Device]":
    claiming = {each for owner in owners for kind in SEARCHED for each in view.claimants(owner, kind, wanted)}
    return (device for device in map(view.device, claiming) if device is not None)


@click.command("show")
@click.argument("wanted", metavar="DEVICE")
@of_tenant_option
@common_options
def show(wanted: str, tenant: str | None, data: Path | None, as_json: bool) -> None:
    """Show all there is of DEVICE (id or name): its ids, its gateway, what stands behind it, what speaks for it.

    Its version is what `--version` of update and delete compares.
    """
    from fleetline.managing.finding import find_device

    with open_registry(data) as (_, store):
        view = store.view
        device = find_device(view, tenant, wanted)
        row = _detail(view, device)
    if as_json:
        print_json(row)
        return
    behind = row["children"]
    more = f" and {len(behind) - _SHOWN_BEHIND:,} more" if len(behind) > _SHOWN_BEHIND else ""
    fields = {
        "id": row["id"],
        "name": row["name"],
        "tenant": f"{row['tenant']} ({row['tenant_id']})",
        **row["attributes"],
        "gateway": "yes" if row["gateway"] else "no",
        "parent": f"{row['parent']} ({row['parent_id']})" if row["parent_id"] else "none",
        "behind it": (", ".join(f"{each['name']} ({each['id']})" for each in behind[:_SHOWN_BEHIND]) + more)
        or "nothing",
        "token": "; ".join(_said(each) for each in row["credentials"] if each["source"] == "device") or "none",
        "other credentials": "; ".join(_said(each) for each in row["credentials"] if each["source"] != "device")
        or "none",
        "version": row["version"],
    }
    print_fields(fields)


def _detail(view: "RegistryView", device: "Device") -> dict[str, Any]:
    parent, tenant = view.device(device.parent_id), view.tenant(device.tenant_id)
    children = [child for each in view.children(device.id) if (child := view.device(each)) is not None]
    return {
        **device_row(device),
        "tenant": "" if tenant is None else tenant.name,
        "parent": None if parent is None else parent.name,
        "children": [{"id": each.id, "name": each.name} for each in children],
        "credentials": [credential_row(each) for each in view.credentials_of(device.id)],
    }


def _said(credential: dict[str, Any]) -> str:
    what = "" if credential["source"] == "device" else f"{credential['source']} "
    name = f" {credential['name']!r}" if credential["name"] else ""
    former = f", the former opens until {credential['former_until']}" if credential["former_until"] else ""
    return f"{what}{credential['id']}{name}, made {credential['created_at'] or 'at an unknown time'}{former}"


@click.command("update")
@click.argument("wanted", metavar="DEVICE")
@of_tenant_option
@click.option("--name", help="Its new name.")
@id_options
@attribute_options
@click.option("--gateway/--no-gateway", default=None, help="Whether it relays what other devices send.")
@click.option("--parent", metavar="ID|NAME", help="The gateway it stands behind.")
@click.option("--no-parent", is_flag=True, help="It stands behind none.")
@version_option
@common_options
def update(  # noqa: PLR0913, PLR0917  one parameter per option
    wanted: str,
    tenant: str | None,
    name: str | None,
    given: tuple[str, ...],
    removed: tuple[str, ...],
    gateway: bool | None,
    parent: str | None,
    no_parent: bool,
    version: int | None,
    data: Path | None,
    as_json: bool,
    **ids: str | None,
) -> None:
    """Change DEVICE (id or name): only what is given. An empty text removes an id.

    Records that wait for an id it gets now go to telemetry by themselves, within seconds.

    \b
    fleetline device update "Van 3" --name "Van 4" --imei 352625333222111
    fleetline device update "Van 3" --set colour=red --unset owner
    fleetline device update Sensor --parent "Gateway hall 2" --version 3
    """  # fmt: skip  # noqa: D301  click reads the backspace itself
    from msgspec import UNSET

    from fleetline.managing.finding import find_device
    from registry.rules.devices import change_device

    attributes = given_attributes(ids, given, removed)
    if parent is not None and no_parent:
        raise click.UsageError("--parent and --no-parent exclude each other")
    if not attributes and name is None and gateway is None and parent is None and not no_parent:
        raise click.UsageError("nothing to change: see fleetline device update --help")

    def plan(draft: "Draft") -> "Device":
        return change_device(
            draft,
            device,
            version=version,
            name=UNSET if name is None else name,
            attributes=attributes or UNSET,
            gateway=UNSET if gateway is None else gateway,
            parent="" if no_parent else UNSET if parent is None else parent,
        )

    with open_registry(data) as (_, store):
        device = find_device(store.view, tenant, wanted)
        made = store.change(plan)
    if as_json:
        print_json(device_row(made))
        return
    click.echo(f"device {made.name} ({made.id}) is at version {made.version}")


@click.command("delete")
@click.argument("wanted", metavar="DEVICE")
@of_tenant_option
@yes_option
@version_option
@common_options
def delete(wanted: str, tenant: str | None, yes: bool, version: int | None, data: Path | None, as_json: bool) -> None:
    """Delete DEVICE (id or name) with its tokens, after asking. What it sent stays; what it sends from now on waits as unmapped.

    A gateway that has devices behind it is not deleted: move or delete them first.
    """
    from fleetline.managing.finding import find_device
    from registry.draft import Draft
    from registry.rules.devices import remove_device

    with open_registry(data) as (_, store):
        view = store.view
        device = find_device(view, tenant, wanted)
        remove_device(Draft(view), device, version)  # what is refused is refused before anybody is asked
        credentials = len(view.credentials_of(device.id))
        confirm(f"Delete {_of_tenant(device, view.tenant(device.tenant_id))}{_with(credentials)}?", yes=yes)
        store.change(lambda draft: remove_device(draft, device, version))
    if as_json:
        print_json({"id": device.id, "deleted": True, "credentials": credentials})
        return
    click.echo(f"deleted {device.name} ({device.id}){_with(credentials)}")


def _of_tenant(device: "Device", tenant: "Tenant | None") -> str:
    return f"the device {device.name} ({device.id}) of {device.tenant_id if tenant is None else tenant.name}"


def _with(credentials: int) -> str:
    gone = together([counted(credentials, "credential")] if credentials else [])
    return f" and {gone} that speak for it" if gone else ""
