"""`fleetline sql`: ask ClickHouse."""

from pathlib import Path
from typing import Any

import click


@click.command("sql")
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="State folder of the local stack.")
def command(query: str, as_json: bool, data: Path | None) -> None:
    """Run one QUERY and show its result.

    Tables: telemetry, events, quarantine, unmapped, deliveries, audit. What a sender sent twice is there once.

    \b
    fleetline sql "select source, count() from telemetry group by source"
    fleetline sql "select observed_at, speed_kmh, numbers['battery.voltage'] from telemetry order by observed_at desc limit 10"
    fleetline sql "select reason, count() from quarantine group by reason" --json
    """  # noqa: D301  click reads the backspace itself
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from fleetline.errors import FleetlineError, clickhouse_complaint
    from fleetline.local_settings import load_settings
    from sinks.clickhouse.connection import connect

    settings = load_settings(data)
    try:
        with connect(settings) as client:
            result = client.query(query.strip().rstrip(";"))
    except ClickHouseError as error:
        raise FleetlineError(clickhouse_complaint(str(error), settings.clickhouse_url)) from None
    rows = [[_plain(cell) for cell in row] for row in result.result_rows]
    if as_json:
        import orjson

        objects = [dict(zip(result.column_names, row, strict=True)) for row in rows]
        click.echo(orjson.dumps(objects, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in result.column_names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console().print(table)
    click.echo(f"{len(rows)} rows")


def _plain(cell: Any) -> Any:
    """Show times as RFC 3339 UTC."""
    from datetime import UTC, datetime

    if isinstance(cell, datetime):
        aware = cell.replace(tzinfo=UTC) if cell.tzinfo is None else cell.astimezone(UTC)
        return aware.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return cell
