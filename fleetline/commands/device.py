"""`fleetline device`: create and list devices, and print how to connect one."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    device_row,
    open_registry,
    print_json,
    print_rows,
    tenant_option,
)
from fleetline.device_exchange import attach

if TYPE_CHECKING:
    from fleetline.connectivity.examples import Connection

_COLUMNS = {
    "id": "id",
    "name": "name",
    "external_id": "external id",
    "dev_eui": "DevEUI",
    "imei": "IMEI",
    "serial": "serial",
    "gateway": "gateway",
    "parent_id": "parent",
}


@click.group("device")
def command() -> None:
    """Create and list devices, and print how to connect one. Changes take effect within a second."""


attach(command)


@command.command("create")
@click.argument("name_argument", metavar="[NAME]", required=False)
@click.option("--name", "name_option", help="The name, instead of the argument.")
@tenant_option
@click.option("--external-id", help="Id it has at its senders [default: its id here].")
@click.option("--dev-eui", help="LoRaWAN DevEUI: 16 hex digits, any case and separators.")
@click.option("--imei")
@click.option("--serial", help="Serial number.")
@click.option("--iccid", help="Of its SIM card.")
@click.option("--custom1")
@click.option("--custom2")
@click.option("--custom3")
@click.option("--gateway", is_flag=True, help="It relays what other devices send.")
@click.option("--parent", metavar="ID|NAME", help="The gateway it stands behind.")
@common_options
def create(
    name_argument: str | None,
    name_option: str | None,
    tenant: str | None,
    external_id: str | None,
    dev_eui: str | None,
    imei: str | None,
    serial: str | None,
    iccid: str | None,
    custom1: str | None,
    custom2: str | None,
    custom3: str | None,
    gateway: bool,
    parent: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Create a device. Every id given is one its messages are recognised by."""
    name = name_option if name_argument is None else name_argument
    if name is None or (name_option is not None and name_argument is not None):
        raise click.UsageError("give the name once: fleetline device create NAME")
    with open_registry(data) as (_, store):
        made = store.create_device(
            chosen_tenant(store.view, tenant),
            name,
            external_id=external_id,
            dev_eui=dev_eui,
            imei=imei,
            serial=serial,
            iccid=iccid,
            custom1=custom1,
            custom2=custom2,
            custom3=custom3,
            gateway=gateway,
            parent=parent,
        )
    if as_json:
        print_json(device_row(made))
        return
    click.echo(f"device {made.name}: {made.id}")
    click.echo(f"next: fleetline device connect {shlex.quote(made.id)} --rotate", err=True)


@command.command("list")
@tenant_option
@common_options
def list_all(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """List the devices of one tenant, or of all."""
    with open_registry(data) as (_, store):
        view = store.view
        rows = [device_row(device) for owner in chosen_tenants(view, tenant) for device in view.devices(owner.id)]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, _COLUMNS, nothing="no devices")


@command.command("connect")
@click.argument("wanted", metavar="DEVICE")
@tenant_option
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
        from registry.rules.devices import find_device
        from sources.catalog import load_source

        declared = load_source(source)
        device = store.view.device(wanted) if tenant is None else None
        if device is None:
            device = find_device(store.view, chosen_tenant(store.view, tenant), wanted)
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
