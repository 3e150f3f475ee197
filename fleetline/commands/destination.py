"""`fleetline destination`: say where a tenant's events go."""

from pathlib import Path

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    destination_row,
    open_registry,
    print_json,
    print_rows,
    tenant_option,
)

_COLUMNS = {
    "id": "id",
    "tenant_id": "tenant",
    "kind": "kind",
    "url": "URL",
    "types": "types",
    "psk": "PSK",
    "enabled": "on",
}


@click.group("destination")
def command() -> None:
    """Say where a tenant's events go. Changes take effect within a second."""


@command.command("create")
@click.option("--kind", default="webhook", show_default=True, help="webhook: one POST per event.")
@click.option("--url", required=True, help="http:// or https://, without a password.")
@click.option("--types", default="", metavar="A,B", help="Event types to send [default: all].")
@click.option("--psk", default="", help="Sent as the Authorization header; stored encrypted.")
@tenant_option
@common_options
def create(kind: str, url: str, types: str, psk: str, tenant: str | None, data: Path | None, as_json: bool) -> None:
    """Create a destination for a tenant's events."""
    wanted = [each.strip() for each in types.split(",") if each.strip()]
    with open_registry(data) as (_, store):
        made = store.create_destination(chosen_tenant(store.view, tenant), kind, url, wanted, psk)
    if as_json:
        print_json(destination_row(made))
        return
    click.echo(f"destination {made.id}: {', '.join(made.types) or 'all events'} to {made.url}")


@command.command("list")
@tenant_option
@common_options
def list_all(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """List the destinations of one tenant, or of all."""
    with open_registry(data) as (_, store):
        view = store.view
        owners = chosen_tenants(view, tenant)
        rows = [destination_row(each) for owner in owners for each in view.all_destinations(owner.id)]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, _COLUMNS, nothing="no destinations")


@command.command("delete")
@click.argument("destination_id", metavar="ID")
@common_options
def delete(destination_id: str, data: Path | None, as_json: bool) -> None:
    """Delete a destination: nothing new is sent to it."""
    from fleetline.errors import FleetlineError

    with open_registry(data) as (_, store):
        found = store.view.destination(destination_id)
        if found is None:
            raise FleetlineError(f"no destination {destination_id!r}; `fleetline destination list` shows them")
        store.delete(found)
    if as_json:
        print_json({"id": found.id, "deleted": True})
        return
    click.echo(f"deleted {found.id}")
