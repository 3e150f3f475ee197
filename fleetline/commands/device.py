"""`fleetline device`: create and list devices."""

from pathlib import Path

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
    """Create and list devices. Changes take effect within a second."""


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
    click.echo(
        f"next: fleetline credential create --tenant {made.tenant_id} --source SOURCE --device {made.id}", err=True
    )


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
