"""`fleetline doctor`: what is missing on this machine, and how to get it."""

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(as_json: bool) -> None:
    """Check what the local stack needs. Exit status 1 when something needed is missing.

    With KAFKA_BOOTSTRAP_SERVERS it also checks that those brokers let us in, and says why when they do not.
    """
    from fleetline.local.checks import run_checks

    checks = run_checks()
    if as_json:
        import orjson

        click.echo(orjson.dumps([check.as_dict() for check in checks]).decode())
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(title="Fleetline doctor", title_justify="left")
        for name in ("", "check", "found", "what to do"):
            table.add_column(name, overflow="fold")
        for check in checks:
            mark = "[green]✓[/]" if check.ok else ("[red]✗[/]" if check.needed else "[yellow]![/]")
            table.add_row(mark, check.name, check.found, "" if check.ok else check.remedy)
        Console().print(table)
    click.get_current_context().exit(1 if any(check.needed and not check.ok for check in checks) else 0)
