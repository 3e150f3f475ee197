"""`fleetline tenant`: create, list, show, rename and delete tenants, give one its webhook secret, change its settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetline.admin import (
    chosen_tenant,
    common_options,
    moment,
    open_registry,
    print_fields,
    print_json,
    print_rows,
    tenant_row,
)
from fleetline.managing.options import (
    DAY_S,
    confirm,
    counted,
    overlap_option,
    together,
    version_option,
    yes_option,
)

if TYPE_CHECKING:
    from registry.model import Owned, Tenant
    from registry.view import RegistryView


@click.group("tenant")
def command() -> None:
    """Create, list, show, rename, delete tenants; their webhook secrets and settings. Changes take effect within a second."""


@command.command("create")
@click.argument("name")
@click.option("--id", "wanted_id", help="An id of your own [default: a new one].")
@common_options
def create(name: str, wanted_id: str | None, data: Path | None, as_json: bool) -> None:
    """Create a tenant: a customer whose devices, senders and destinations are kept apart from all others'."""
    with open_registry(data) as (_, store):
        made = store.create_tenant(name, wanted_id)
    if as_json:
        print_json(tenant_row(made))
        return
    click.echo(f"tenant {made.name}: {made.id}")
    click.echo(f"next: fleetline device create --tenant {made.id} NAME", err=True)


@command.command("list")
@common_options
def list_all(data: Path | None, as_json: bool) -> None:
    """List all tenants."""
    from registry.model import Device

    with open_registry(data) as (_, store):
        view = store.view
        rows = [{**tenant_row(tenant), "devices": view.count(Device, tenant.id)} for tenant in view.tenants()]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, {"id": "id", "name": "name", "devices": "devices"}, nothing="no tenants")


@command.command("show")
@click.argument("tenant", required=False)
@common_options
def show(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """Show TENANT (id or name): how much it has, and whether its webhook secret was made."""
    with open_registry(data) as (_, store):
        row = _detail(store.view, chosen_tenant(store.view, tenant))
    if as_json:
        print_json(row)
        return
    secret = row.pop("webhook_secret")
    said = "none yet: fleetline tenant secret"
    if secret is not None:
        former = f", the former opens until {secret['former_until']}" if secret["former_until"] else ""
        said = f"made {secret['created_at'] or 'at an unknown time'}{former}"
    auto = ", ".join(row.pop("auto_register")) or "off"
    print_fields(
        {
            **{key.replace("_", " "): value for key, value in row.items()},
            "auto-registration": auto,
            "webhook secret": said,
        }
    )


def _detail(view: "RegistryView", tenant: "Tenant") -> dict[str, Any]:
    from registry.model import ApiKey, Credential, Destination, Device, Geofence
    from registry.rules.tenants import integration_secret

    secret = integration_secret(view, tenant)
    kinds: dict[str, type[Owned]] = {
        "devices": Device, "credentials": Credential, "destinations": Destination, "geofences": Geofence, "api_keys": ApiKey
    }  # fmt: skip
    return {
        **tenant_row(tenant),
        **{name: view.count(kind, tenant.id) for name, kind in kinds.items()},
        "auto_register": list(view.settings_of(tenant.id).auto_register),
        "webhook_secret": None
        if secret is None
        else {
            "credential_id": secret.id,
            "created_at": moment(secret.created_us),
            "former_until": moment(secret.former_until_us),
        },
    }


@command.command("rename")
@click.argument("tenant")
@click.argument("name")
@version_option
@common_options
def rename(tenant: str, name: str, version: int | None, data: Path | None, as_json: bool) -> None:
    """Give TENANT (id or name) another NAME. Its id stays, and with it everything that names it."""
    from registry.rules.tenants import change_tenant

    with open_registry(data) as (_, store):
        owner = chosen_tenant(store.view, tenant)
        made = store.change(lambda draft: change_tenant(draft, owner, name, version))
    if as_json:
        print_json(tenant_row(made))
        return
    click.echo(f"tenant {made.name}: {made.id}")


@command.command("delete")
@click.argument("tenant")
@yes_option
@version_option
@common_options
def delete(tenant: str, yes: bool, version: int | None, data: Path | None, as_json: bool) -> None:
    """Delete TENANT (id or name) with its credentials, API keys and settings, after asking. What it sent stays.

    One that still has devices, destinations or geofences is not deleted: delete them first.
    """
    from registry.draft import Draft
    from registry.model import ApiKey, Credential
    from registry.rules.tenants import remove_tenant

    with open_registry(data) as (_, store):
        view = store.view
        owner = chosen_tenant(view, tenant)
        remove_tenant(Draft(view), owner, version)  # what is refused is refused before anybody is asked
        gone = {"credentials": view.count(Credential, owner.id), "api_keys": view.count(ApiKey, owner.id)}
        parts = [counted(gone["credentials"], "credential"), counted(gone["api_keys"], "API key")]
        has_any = together([part for part in parts if not part.startswith("0 ")])
        confirm(f"Delete the tenant {owner.name} ({owner.id}){f' with {has_any}' if has_any else ''}?", yes=yes)
        store.change(lambda draft: remove_tenant(draft, owner, version))
    if as_json:
        print_json({"id": owner.id, "deleted": True, **gone})
        return
    click.echo(f"deleted {owner.name} ({owner.id}){f' with {has_any}' if has_any else ''}")


@command.command("secret")
@click.argument("tenant", required=False)
@overlap_option
@version_option
@click.option(
    "--revoke", is_flag=True, help="Take the secret back: neither it nor a former one opens anything any more."
)
@common_options
def secret(
    tenant: str | None, overlap_s: float | None, version: int | None, revoke: bool, data: Path | None, as_json: bool
) -> None:
    """Give TENANT (id or name) a webhook secret, or a new one: the former opens for --overlap more.

    The secret is printed once and cannot be shown again. It goes into `X-Webhook-Secret: …` or `Authorization: Bearer …`.
    """
    if revoke:
        if overlap_s is not None:
            raise click.UsageError("--overlap and --revoke exclude each other")
        _revoke_secret(tenant, version, data, as_json=as_json)
        return
    with open_registry(data) as (settings, store):
        from fleetline.connectivity.webhooks import webhook_urls
        from registry.rules.access import rotate_integration_secret

        owner = chosen_tenant(store.view, tenant)
        urls = webhook_urls(settings, owner.id)
        kept_s = DAY_S if overlap_s is None else overlap_s
        credential, made = store.change(
            lambda draft: rotate_integration_secret(
                draft, draft.current(owner, None), overlap_s=kept_s, version=version
            )
        )
    until = moment(credential.former_until_us)
    if as_json:
        print_json({"tenant_id": owner.id, "secret": made, "former_until": until, "urls": urls})
        return
    click.echo(f"secret of {owner.name}, shown this once: {made}")
    if credential.version > 1:
        click.echo(f"the former one opens until {until}" if until else "the former one opens nothing any more")
    print_rows(urls, {"title": "sender", "url": "URL", "header": "header"}, nothing="no source takes a tenant's secret")


def _revoke_secret(tenant: str | None, version: int | None, data: Path | None, *, as_json: bool) -> None:
    from registry.errors import NotFound
    from registry.rules.access import revoke_credential
    from registry.rules.tenants import integration_secret

    with open_registry(data) as (_, store):
        owner = chosen_tenant(store.view, tenant)
        found = integration_secret(store.view, owner)
        if found is None:
            raise NotFound(f"{owner.name!r} has no webhook secret; make one with `fleetline tenant secret`")
        store.change(lambda draft: revoke_credential(draft, found, version))
    if as_json:
        print_json({"tenant_id": owner.id, "revoked": True})
        return
    click.echo(f"revoked the webhook secret of {owner.name}")


@command.command("settings")
@click.argument("tenant", required=False)
@click.option(
    "--auto-register",
    "sources",
    metavar="SOURCE,…",
    help="Make a device for each unknown one of these senders instead of letting its records wait, e.g. flespi,ttn.",
)
@click.option("--no-auto-register", "off", is_flag=True, help="Make none: records of unknown devices wait for theirs.")
@version_option
@common_options
def settings(
    tenant: str | None, sources: str | None, off: bool, version: int | None, data: Path | None, as_json: bool
) -> None:
    """Show what TENANT (id or name) has set, or set it.

    Devices that wait already are made too. At most FLEETLINE_AUTO_REGISTER_LIMIT a day; devices behind a gateway never.
    """
    if off and sources is not None:
        raise click.UsageError("--auto-register and --no-auto-register exclude each other")
    wanted = [] if off else None if sources is None else [each.strip() for each in sources.split(",") if each.strip()]
    if wanted == [] and not off:
        raise click.UsageError("--auto-register names no sender; --no-auto-register switches it off")
    with open_registry(data) as (_, store):
        from registry.rules.tenants import change_settings

        owner = chosen_tenant(store.view, tenant)
        if wanted is None:
            kept = store.view.settings_of(owner.id)
        else:
            kept = store.change(lambda draft: change_settings(draft, draft.current(owner, None), wanted, version))
    if as_json:
        print_json({"tenant_id": owner.id, "auto_register": kept.auto_register, "version": kept.version})
        return
    click.echo(
        f"{owner.name}: auto-registration {'of ' + ', '.join(kept.auto_register) if kept.auto_register else 'off'}"
    )
