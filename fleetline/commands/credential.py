"""`fleetline credential`: let a sender in, list who may, shut one out."""

from pathlib import Path

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    credential_row,
    open_registry,
    print_json,
    print_rows,
    tenant_option,
)


@click.group("credential")
def command() -> None:
    """Let a sender in, list who may send, shut one out. Changes take effect within a second."""


@command.command("create")
@click.option("--source", required=True, help="The sender's kind, e.g. flespi.")
@tenant_option
@click.option("--device", metavar="ID|NAME", help="Speak for this device alone [default: all of the tenant's].")
@common_options
def create(source: str, tenant: str | None, device: str | None, data: Path | None, as_json: bool) -> None:
    """Create a credential and print its secret: once, it cannot be shown again."""
    from sources.catalog import source_names

    if source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    with open_registry(data) as (settings, store):
        from fleetline.connectivity.examples import examples
        from fleetline.connectivity.recipient import recipient_for
        from sources.catalog import load_source

        declared = load_source(source)
        owner = chosen_tenant(store.view, tenant)
        made, secret = store.create_credential(owner, source, device)
        curl = examples(settings, declared, recipient_for(store.view, made), secret)[0].command
    if as_json:
        print_json({**credential_row(made), "secret": secret, "curl": curl})
        return
    click.echo(f"credential {made.id} of {owner.name} for {declared.title}")
    click.echo(f"secret, shown this once: {secret}")
    click.echo(f"\nSend a sample with it:\n{curl}")


@command.command("list")
@tenant_option
@common_options
def list_all(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """List the credentials of one tenant, or of all. Secrets are not kept and cannot be shown."""
    with open_registry(data) as (_, store):
        view = store.view
        rows = [credential_row(each) for owner in chosen_tenants(view, tenant) for each in view.credentials(owner.id)]
    if as_json:
        print_json(rows)
        return
    columns = {"id": "id", "tenant_id": "tenant", "source": "source", "device_id": "device"}
    print_rows(rows, columns, nothing="no credentials")


@command.command("revoke")
@click.argument("credential_id", metavar="ID")
@common_options
def revoke(credential_id: str, data: Path | None, as_json: bool) -> None:
    """Revoke a credential: its secret opens nothing any more."""
    from fleetline.errors import FleetlineError

    with open_registry(data) as (_, store):
        found = store.view.credential(credential_id)
        if found is None:
            raise FleetlineError(f"no credential {credential_id!r}; `fleetline credential list` shows them")
        store.delete(found)
    if as_json:
        print_json({"id": found.id, "revoked": True})
        return
    click.echo(f"revoked {found.id}")
