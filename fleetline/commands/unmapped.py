"""`fleetline unmapped`: unknown devices whose records wait, and what makes them known."""

from pathlib import Path

import click

from fleetline.admin import chosen_tenant, common_options, open_registry, print_json, print_rows, tenant_option

_COLUMNS = {
    "tenant": "tenant",
    "source": "source",
    "source_device": "its id there",
    "records": "records",
    "first_at": "first",
    "last_at": "last",
}


@click.command("unmapped")
@tenant_option
@click.option("--limit", default=50, show_default=True, help="Rows of the table; --json prints all.")
@common_options
def command(tenant: str | None, limit: int, data: Path | None, as_json: bool) -> None:
    """List the unknown devices whose records wait, those with the most first.

    Once a device with that id is created, its records go to telemetry by themselves, in their order, within seconds; they wait
    for as long as the topic `unmapped` retains them (FLEETLINE_RETENTION_HOURS). All of it is read, which takes a moment
    per million records; `fleetline sql "select * from unmapped"` shows the records.
    """
    from fleetline.unmapped import waiting_senders

    with open_registry(data) as (settings, store):
        view = store.view
        owner = "" if tenant is None else chosen_tenant(view, tenant).id
        rows = waiting_senders(settings, view, owner)
    if as_json:
        print_json(rows)
        return
    print_rows(rows[:limit], _COLUMNS, nothing="nothing waits: every device that sent something is known")
    for each in dict.fromkeys(row["next"] for row in rows[:limit]):  # below the table, where lines stay whole
        click.echo(each)
    if len(rows) > limit:
        click.echo(f"and {len(rows) - limit} more; see them with --limit or --json", err=True)
