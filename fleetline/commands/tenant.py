"""`fleetline tenant`: create and list tenants, give one its webhook secret, show and change its settings."""

from pathlib import Path

import click

from fleetline.admin import chosen_tenant, common_options, open_registry, print_json, print_rows, tenant_row


@click.group("tenant")
def command() -> None:
    """Create and list tenants, give one a new webhook secret, change its settings. Changes take effect within a second."""


@command.command("create")
@click.argument("name")
@common_options
def create(name: str, data: Path | None, as_json: bool) -> None:
    """Create a tenant: a customer whose devices, senders and destinations are kept apart from all others'."""
    with open_registry(data) as (_, store):
        made = store.create_tenant(name)
    if as_json:
        print_json(tenant_row(made))
        return
    click.echo(f"tenant {made.name}: {made.id}")
    click.echo(f"next: fleetline device create --tenant {made.id} NAME", err=True)


@command.command("list")
@common_options
def list_all(data: Path | None, as_json: bool) -> None:
    """List all tenants."""
    with open_registry(data) as (_, store):
        view = store.view
        rows = [{**tenant_row(tenant), "devices": len(view.devices(tenant.id))} for tenant in view.tenants()]
    if as_json:
        print_json(rows)
        return
    print_rows(rows, {"id": "id", "name": "name", "devices": "devices"}, nothing="no tenants")


@command.command("secret")
@click.argument("tenant", required=False)
@common_options
def secret(tenant: str | None, data: Path | None, as_json: bool) -> None:
    """Give TENANT (id or name) a new webhook secret; the former one opens nothing any more.

    The secret is printed once and cannot be shown again. It goes into `X-Webhook-Secret: …` or `Authorization: Bearer …`.
    """
    with open_registry(data) as (settings, store):
        from fleetline.connectivity.webhooks import webhook_urls

        owner = chosen_tenant(store.view, tenant)
        urls = webhook_urls(settings, owner.id)
        made = store.rotate_tenant_secret(owner)
    if as_json:
        print_json({"tenant_id": owner.id, "secret": made, "urls": urls})
        return
    click.echo(f"secret of {owner.name}, shown this once: {made}")
    print_rows(urls, {"title": "sender", "url": "URL", "header": "header"}, nothing="no source takes a tenant's secret")


@command.command("settings")
@click.argument("tenant", required=False)
@click.option(
    "--auto-register",
    "sources",
    metavar="SOURCE,…",
    help="Make a device for each unknown one of these senders instead of letting its records wait, e.g. flespi,ttn.",
)
@click.option("--no-auto-register", "off", is_flag=True, help="Make none: records of unknown devices wait for theirs.")
@common_options
def settings(tenant: str | None, sources: str | None, off: bool, data: Path | None, as_json: bool) -> None:
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
            kept = store.change(lambda draft: change_settings(draft, owner, wanted))
    if as_json:
        print_json({"tenant_id": owner.id, "auto_register": kept.auto_register})
        return
    click.echo(
        f"{owner.name}: auto-registration {'of ' + ', '.join(kept.auto_register) if kept.auto_register else 'off'}"
    )
