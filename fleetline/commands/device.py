"""`fleetline device`: create, list, show, change, delete and connect devices, and give one its token."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetline.admin import chosen_tenant, common_options, device_row, open_registry, print_json, tenant_option
from fleetline.device_exchange import attach
from fleetline.managing import devices as managing
from fleetline.managing.options import of_tenant_option
from fleetline.managing.tokens import token

if TYPE_CHECKING:
    from fleetline.connectivity.examples import Connection
    from registry.draft import Draft
    from registry.model import Device


@click.group("device")
def command() -> None:
    """Create, list, show, change, delete and connect devices, and give one its token. Changes take effect within a second."""


for each in (managing.list_devices, managing.show, managing.update, managing.delete, token):
    command.add_command(each)


attach(command)


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
    click.echo(f"next: fleetline device connect {shlex.quote(made.id)} --rotate", err=True)


@command.command("connect")
@click.argument("wanted", metavar="DEVICE")
@of_tenant_option
@click.option("--source", default="device", show_default=True, help="The sender's kind, e.g. autopi.")
@click.option("--rotate", is_flag=True, help="Make its first token, or a new one; the former opens for a day more.")
@click.option("--ca", metavar="FILE", default="", help="Certificate of your own CA, for the commands that are printed.")
@common_options
def connect(
    wanted: str, tenant: str | None, source: str, rotate: bool, ca: str, data: Path | None, as_json: bool
) -> None:
    """Print how to connect DEVICE (id or name): commands to paste, what to enter at its sender, webhook URLs.

    A token is shown once, right after --rotate; otherwise the commands take it from the shell variable FLEETLINE_TOKEN.
    """
    from sources.catalog import source_names

    if source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    with open_registry(data) as (settings, store):
        from fleetline.connectivity.examples import connection
        from fleetline.connectivity.recipient import recipient_of
        from fleetline.connectivity.tokens import has_secret, rotate_token
        from fleetline.managing.finding import find_device
        from sources.catalog import load_source

        declared = load_source(source)
        device = find_device(store.view, tenant, wanted)
        secret = rotate_token(store, declared, device) if rotate else None
        found = connection(
            settings,
            declared,
            recipient_of(store.view, device),
            secret,
            has_secret=has_secret(store.view, declared, device),
            ca_file=ca,
        )
    if as_json:
        from msgspec import to_builtins

        print_json({"device": device_row(device), **to_builtins(found)})
        return
    click.echo(f"{device.name} ({device.id}) with {found.title}\n")
    _print_connection(found)


def _print_connection(found: "Connection") -> None:
    click.echo(found.message)
    if found.secret is not None:
        click.echo(f"\n{found.secret_kind}: {found.secret}")
    for field in found.setup:
        click.echo(f"{field.where}: {field.value}")
    for example in found.examples:
        click.echo(f"\n# {example.title}{f' ({example.note})' if example.note else ''}\n{example.command}")
    click.echo("\n# Webhooks of the tenant: LoRaWAN networks and other platforms, opened by `fleetline tenant secret`")
    for webhook in found.webhooks:
        click.echo(f"{webhook.title}: {webhook.url}   {webhook.header.replace('{secret}', '<secret>')}")
