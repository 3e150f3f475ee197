"""`fleetline demo`: see the whole road work on this machine."""

from pathlib import Path

import click


@click.command("demo")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="State folder [default: .fleetline].")
@click.option("--keep", is_flag=True, help="Leave the stack running afterwards, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as one JSON object.")
def command(data: Path | None, keep: bool, as_json: bool) -> None:
    """Bring the stack up, send every bundled sample of every source, and account for every record.

    Real requests go in over HTTP with their real headers, through a real Kafka and Faust, and come out as rows in a
    real ClickHouse and as webhooks on a local receiver. Exit status 0 only if the account closes exactly.
    """
    import asyncio

    from fleetline.demo.session import run_demo

    closes = asyncio.run(run_demo(data, keep=keep, as_json=as_json))
    click.get_current_context().exit(0 if closes else 1)
