"""`fleetline credential`: let a sender in, list who may, give a new secret, shut one out."""

from pathlib import Path

import click

from fleetline.admin import (
    chosen_tenant,
    chosen_tenants,
    common_options,
    credential_row,
    moment,
    open_registry,
    print_fields,
    print_json,
    print_rows,
    tenant_option,
)
from fleetline.managing.options import DAY_S, of_tenant_option, overlap_option, version_option
from fleetline.managing.pages import Part, page_options

_COLUMNS = {
    "id": "id",
    "tenant_id": "tenant",
    "name": "name",
    "source": "source",
    "device_id": "device",
    "created_at": "made",
    "former_until": "former opens until",
}


@click.group("credential")
def command() -> None:
    """Let a sender in, list who may send, shut one out. Changes take effect within a second."""


@command.command("create")
@click.option("--source", required=True, help="The sender's kind, e.g. flespi.")
@tenant_option
@click.option("--device", metavar="ID|NAME", help="Speak for this device alone [default: all of the tenant's].")
@click.option("--name", default="", help="What it is for; to tell it from others.")
@common_options
def create(source: str, tenant: str | None, device: str | None, name: str, data: Path | None, as_json: bool) -> None:
    """Create a credential and print its secret: once, it cannot be shown again."""
    from sources.catalog import source_names

    if source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    with open_registry(data) as (settings, store):
        from fleetline.connectivity.examples import examples
        from fleetline.connectivity.recipient import recipient_for
        from registry.rules import access, devices
        from sources.catalog import load_source

        declared = load_source(source)
        owner = chosen_tenant(store.view, tenant)
        made, secret = store.change(
            lambda draft: access.create_credential(
                draft,
                draft.current(owner, None),
                source,
                None if device is None else devices.find_device(draft, owner, device),
                name,
            )
        )
        curl = examples(settings, declared, recipient_for(store.view, made), secret)[0].command
    if as_json:
        print_json({**credential_row(made), "secret": secret, "curl": curl})
        return
    click.echo(f"credential {made.id} of {owner.name} for {declared.title}")
    click.echo(f"secret, shown this once: {secret}")
    click.echo(f"\nSend a sample with it:\n{curl}")


@command.command("list")
@of_tenant_option
@page_options
@common_options
def list_all(tenant: str | None, limit: int, after: str, whole: bool, data: Path | None, as_json: bool) -> None:
    """List the credentials of one tenant, or of all, a part at a time. Secrets are not kept and cannot be shown."""
    from fleetline.managing.pages import listed, say_how_to_go_on
    from registry.model import Credential

    with open_registry(data) as (_, store):
        owners = [each.id for each in chosen_tenants(store.view, tenant)]
        found, more = listed(store.view, Credential, owners, Part(after, limit, whole))
        total = sum(store.view.count(Credential, each) for each in owners)
    rows = [credential_row(each) for each in found]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, _COLUMNS, nothing="no credentials")
    if more:
        say_how_to_go_on("fleetline credential list", {"tenant": tenant, "limit": limit}, found[-1], total)


@command.command("show")
@click.argument("credential_id", metavar="ID")
@common_options
def show(credential_id: str, data: Path | None, as_json: bool) -> None:
    """Show a credential: whom it speaks for, when it was made, whether a former secret still opens."""
    from fleetline.managing.finding import find_owned
    from registry.model import Credential

    with open_registry(data) as (_, store):
        row = credential_row(find_owned(store.view, Credential, credential_id))
    if as_json:
        print_json(row)
        return
    print_fields(row)


@command.command("rotate")
@click.argument("credential_id", metavar="ID")
@overlap_option
@version_option
@common_options
def rotate(credential_id: str, overlap_s: float | None, version: int | None, data: Path | None, as_json: bool) -> None:
    """Give a credential a new secret and print it: once, it cannot be shown again.

    The former one goes on opening for --overlap, so that a sender can be reconfigured in peace; one before it ends at once.
    """
    from fleetline.managing.finding import find_owned
    from registry.model import Credential
    from registry.rules.access import rotate_credential

    kept_s = DAY_S if overlap_s is None else overlap_s
    with open_registry(data) as (_, store):
        found = find_owned(store.view, Credential, credential_id)
        made, secret = store.change(lambda draft: rotate_credential(draft, found, overlap_s=kept_s, version=version))
    if as_json:
        print_json({**credential_row(made), "secret": secret})
        return
    click.echo(f"new secret of {made.id}, shown this once: {secret}")
    until = moment(made.former_until_us)
    click.echo(f"the former one opens until {until}" if until else "the former one opens nothing any more")


@command.command("revoke")
@click.argument("credential_id", metavar="ID")
@version_option
@common_options
def revoke(credential_id: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Revoke a credential: neither its secret nor a former one opens anything any more."""
    from fleetline.managing.finding import find_owned
    from registry.model import Credential
    from registry.rules.access import revoke_credential

    with open_registry(data) as (_, store):
        found = find_owned(store.view, Credential, credential_id)
        store.change(lambda draft: revoke_credential(draft, found, version))
    if as_json:
        print_json({"id": found.id, "revoked": True})
        return
    click.echo(f"revoked {found.id}")
