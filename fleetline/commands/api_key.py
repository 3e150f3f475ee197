"""`fleetline api-key`: who may use the admin API, for which tenant and for what."""

from pathlib import Path

import click

from fleetline.admin import (
    api_key_row,
    chosen_tenant,
    chosen_tenants,
    common_options,
    open_registry,
    print_fields,
    print_json,
    print_rows,
    tenant_option,
)
from fleetline.durations import Duration
from fleetline.managing.options import of_tenant_option, version_option

_COLUMNS = {
    "id": "id",
    "name": "name",
    "tenant_id": "tenant",
    "scopes": "scopes",
    "expires_at": "expires",
    "created_at": "made",
}
_OPERATOR = {"tenant_id": "every (operator)"}


@click.group("api-key")
def command() -> None:
    """Say who may use the admin API, for which tenant and for what. Changes take effect within a second."""


@command.command("create")
@click.option("--name", required=True, help="Who or what it is for.")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do; may be repeated.")
@tenant_option
@click.option("--operator", is_flag=True, help="For every tenant, and to make tenants, instead of for one.")
@click.option(
    "--expires", "expires_s", type=Duration(), metavar="TIME", help="After this it opens nothing: 90d [default: never]."
)
@common_options
def create(
    name: str,
    scopes: tuple[str, ...],
    tenant: str | None,
    operator: bool,
    expires_s: float | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Create a key of the admin API and print it: once, it cannot be shown again. It goes into `Authorization: Bearer …`.

    A scope is RESOURCE:read or RESOURCE:write (to write is to read as well), or * for everything. Resources: tenants, devices,
    credentials, destinations, geofences, settings, api_keys, audit.

    \b
    fleetline api-key create --name dashboard --scope devices:read --scope geofences:read --tenant Acme
    fleetline api-key create --name terraform --scope "*" --operator --expires 90d
    """  # fmt: skip  # noqa: D301  click reads the backspace itself
    from registry.rules.access import create_api_key
    from schemas.times import now_us

    if operator and tenant is not None:
        raise click.UsageError("--operator and --tenant exclude each other")
    if expires_s == 0:
        raise click.UsageError(
            "--expires 0 is a key that never opens anything; leave it out for one that never expires"
        )
    expires_us = 0 if expires_s is None else now_us() + int(expires_s * 1e6)
    with open_registry(data) as (_, store):
        owner = None if operator else chosen_tenant(store.view, tenant)
        made, secret = store.change(
            lambda draft: create_api_key(
                draft, None if owner is None else draft.current(owner, None), name, scopes, expires_us
            )
        )
    row = api_key_row(made)
    if as_json:
        print_json({**row, "secret": secret})
        return
    click.echo(
        f"API key {made.name} ({made.id}) for {'every tenant' if owner is None else owner.name}: {', '.join(made.scopes)}"
    )
    click.echo(f"shown this once: {secret}")
    click.echo(f"it expires {row['expires_at']}" if made.expires_us else "it never expires")


@command.command("list")
@of_tenant_option
@click.option("--operator", is_flag=True, help="Only those for every tenant.")
@common_options
def list_all(tenant: str | None, operator: bool, data: Path | None, as_json: bool) -> None:
    """List the keys of the admin API: of one tenant, or all. The keys themselves are not kept and cannot be shown."""
    from registry.model import ApiKey

    if operator and tenant is not None:
        raise click.UsageError("--operator and --tenant exclude each other")
    with open_registry(data) as (_, store):
        view = store.view
        owners = [] if operator else [each.id for each in chosen_tenants(view, tenant)]
        if tenant is None:
            owners.insert(0, "")
        rows = [api_key_row(each) for owner in owners for each in view.owned(ApiKey, owner)]
    if as_json:
        print_json(rows)
        return
    print_rows([row if row["tenant_id"] else {**row, **_OPERATOR} for row in rows], _COLUMNS, nothing="no API keys")


@command.command("show")
@click.argument("key_id", metavar="ID")
@common_options
def show(key_id: str, data: Path | None, as_json: bool) -> None:
    """Show a key of the admin API: whose it is, what it may do, until when."""
    from fleetline.managing.finding import find_owned
    from registry.model import ApiKey

    with open_registry(data) as (_, store):
        row = api_key_row(find_owned(store.view, ApiKey, key_id))
    if as_json:
        print_json(row)
        return
    print_fields(row if row["tenant_id"] else {**row, **_OPERATOR})


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@version_option
@common_options
def revoke(key_id: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Revoke a key of the admin API: it opens nothing any more."""
    from fleetline.managing.finding import find_owned
    from registry.model import ApiKey
    from registry.rules.access import revoke_api_key

    with open_registry(data) as (_, store):
        found = find_owned(store.view, ApiKey, key_id)
        store.change(lambda draft: revoke_api_key(draft, found, version))
    if as_json:
        print_json({"id": found.id, "revoked": True})
        return
    click.echo(f"revoked {found.name} ({found.id})")
