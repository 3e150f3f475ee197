"""`fleetline device`: create, list, show, change and delete devices, and give one its token."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetline.admin import chosen_tenant, common_options, device_row, open_registry, print_json, tenant_option
from fleetline.managing import devices as managing
from fleetline.managing.tokens import token

if TYPE_CHECKING:
    from registry.draft import Draft
    from registry.model import Device


@click.group("device")
def command() -> None:
    """Create, list, show, change and delete devices, and give one its token. Changes take effect within a second."""


for each in (managing.list_devices, managing.show, managing.update, managing.delete, token):
    command.add_command(each)


@command.command("create")
@click.argument("name_argument", metavar="[NAME]", required=False)
@click.option("--name", "name_option", help="The name, instead of the argument.")
@click.option("--id", "wanted_id", help="An id of your own, unique in the whole installation [default: a new one].")
@tenant_option
@managing.id_options
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A further attribute; may be repeated.")
@click.option("--gateway", is_flag=True, help="It relays what other devices send.")
@click.option("--parent", metavar="ID|NAME", help="The gateway it stands behind.")
@common_options
def create(
    name_argument: str | None,
    name_option: str | None,
    wanted_id: str | None,
    tenant: str | None,
    given: tuple[str, ...],
    gateway: bool,
    parent: str | None,
    data: Path | None,
    as_json: bool,
    **ids: str | None,
) -> None:
    """Create a device. Every id given is one its messages are recognised by."""  # fmt: skip
    name = name_option if name_argument is None else name_argument
    if name is None or (name_option is not None and name_argument is not None):
        raise click.UsageError("give the name once: fleetline device create NAME")
    attributes = {key: value or "" for key, value in managing.given_attributes(ids, given).items()}
    with open_registry(data) as (_, store):
        from registry.rules.devices import create_device

        owner = chosen_tenant(store.view, tenant)

        def plan(draft: "Draft") -> "Device":
            standing = draft.current(owner, None)
            return create_device(draft, standing, name, attributes, gateway=gateway, parent=parent, wanted_id=wanted_id)

        made = store.change(plan)
    if as_json:
        print_json(device_row(made))
        return
    click.echo(f"device {made.name}: {made.id}")
    click.echo(
        f"next: fleetline credential create --tenant {made.tenant_id} --source SOURCE --device {made.id}", err=True
    )
