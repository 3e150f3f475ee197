"""`fleetline tenant`: create and list tenants, give one its webhook secret."""

from pathlib import Path

import click

from fleetline.admin import chosen_tenant, common_options, open_registry, print_json, print_rows, tenant_row


@click.group("tenant")
def command() -> None:
    """Create and list tenants, and give one a new webhook secret. Changes take effect within a second."""


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
