"""`fleetline destination`: say where a tenant's events go."""

from pathlib import Path
from typing import Any

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    destination_row,
    open_registry,
    print_fields,
    print_json,
    print_rows,
    tenant_option,
)
from fleetline.managing.options import of_tenant_option, version_option

_COLUMNS = {
    "id": "id",
    "tenant_id": "tenant",
    "name": "name",
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
@click.option("--name", default="", help="What it is for; to tell it from others.")
@tenant_option
@common_options
def create(
    kind: str, url: str, types: str, psk: str, name: str, tenant: str | None, data: Path | None, as_json: bool
) -> None:
    """Create a destination for a tenant's events."""
    from registry.rules import places
    from registry.sealing import seal

    with open_registry(data) as (settings, store):
        places.check_psk(psk)
        sealed = seal(settings, psk)
        owner = chosen_tenant(store.view, tenant)
        made = store.change(
            lambda draft: places.create_destination(
                draft, draft.current(owner, None), kind, url, _wanted(types), sealed, name
            )
        )
    if as_json:
        print_json(destination_row(made))
        return
    click.echo(f"destination {made.id}: {', '.join(made.types) or 'all events'} to {made.url}")


def _wanted(types: str) -> list[str]:
    return [each.strip() for each in types.split(",") if each.strip()]


@command.command("list")
@of_tenant_option
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


@command.command("show")
@click.argument("destination_id", metavar="ID")
@common_options
def show(destination_id: str, data: Path | None, as_json: bool) -> None:
    """Show a destination; of its PSK only whether there is one."""
    from fleetline.managing.finding import find_owned
    from registry.model import Destination

    with open_registry(data) as (_, store):
        row = destination_row(find_owned(store.view, Destination, destination_id))
    if as_json:
        print_json(row)
        return
    print_fields({**row, "types": row["types"] or "all"})


@command.command("update")
@click.argument("destination_id", metavar="ID")
@click.option("--name", help="What it is for; an empty one removes it.")
@click.option("--url", help="http:// or https://, without a password.")
@click.option("--types", metavar="A,B", help="Event types to send; an empty text: all.")
@click.option("--psk", help="Sent as the Authorization header; an empty one removes it.")
@version_option
@common_options
def update(
    destination_id: str,
    name: str | None,
    url: str | None,
    types: str | None,
    psk: str | None,
    version: int | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Change a destination: only what is given. What waits for it is sent to where it points by then."""  # fmt: skip
    changed: dict[str, Any] = {"name": name, "url": url, "types": None if types is None else _wanted(types), "psk": psk}
    given = {key: value for key, value in changed.items() if value is not None}
    if not given:
        raise click.UsageError("nothing to change: see fleetline destination update --help")
    _change(destination_id, given, version, data, as_json=as_json)


@command.command("enable")
@click.argument("destination_id", metavar="ID")
@version_option
@common_options
def enable(destination_id: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Send to a destination again."""
    _change(destination_id, {"enabled": True}, version, data, as_json=as_json)


@command.command("disable")
@click.argument("destination_id", metavar="ID")
@version_option
@common_options
def disable(destination_id: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Send nothing more to a destination, but keep it. What happens meanwhile is not sent later."""
    _change(destination_id, {"enabled": False}, version, data, as_json=as_json)


def _change(
    destination_id: str, given: dict[str, Any], version: int | None, data: Path | None, *, as_json: bool
) -> None:
    from fleetline.managing.finding import find_owned
    from registry.model import Destination
    from registry.rules import places
    from registry.sealing import seal

    with open_registry(data) as (settings, store):
        psk = given.pop("psk", None)
        if psk is not None:
            places.check_psk(psk)
            given["sealed_psk"] = seal(settings, psk)
        found = find_owned(store.view, Destination, destination_id)
        made = store.change(lambda draft: places.change_destination(draft, found, version=version, **given))
    if as_json:
        print_json(destination_row(made))
        return
    state = "" if made.enabled else ", switched off"
    click.echo(
        f"destination {made.id}: {', '.join(made.types) or 'all events'} to {made.url}{state}; version {made.version}"
    )


@command.command("delete")
@click.argument("destination_id", metavar="ID")
@version_option
@common_options
def delete(destination_id: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Delete a destination: nothing new is sent to it."""
    from fleetline.managing.finding import find_owned
    from registry.model import Destination
    from registry.rules.places import remove_destination

    with open_registry(data) as (_, store):
        found = find_owned(store.view, Destination, destination_id)
        store.change(lambda draft: remove_destination(draft, found, version))
    if as_json:
        print_json({"id": found.id, "deleted": True})
        return
    click.echo(f"deleted {found.id}")
