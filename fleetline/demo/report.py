"""Shows a person what went in, what came out, and whether the account closes."""

from typing import Any

from rich.console import Console
from rich.table import Table

from fleetline.demo.plan import Posting
from fleetline.demo.receiver import Receiver
from fleetline.demo.run import Account

_ROWS_SHOWN = 40


def show_sent(console: Console, sent: list[tuple[Posting, int]]) -> None:
    """Show one line per posting."""
    table = Table(title="What went in: each source's own requests over HTTP", title_justify="left")
    for name in ("source", "sample", "request", "bytes", "status", "records", "quarantined"):
        table.add_column(name, justify="right" if name in {"bytes", "status", "records", "quarantined"} else "left")
    for posting, status in sent:
        right = status == posting.sample.status
        request = posting.sample.request
        table.add_row(
            posting.source,
            posting.name,
            f"{request.method} {request.path}",
            str(len(request.body_bytes())),
            f"[green]{status}[/]" if right else f"[red]{status}, expected {posting.sample.status}[/]",
            str(posting.records),
            str(posting.quarantined or ""),
        )
    console.print(table)


def show_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    """Show the canonical rows as ClickHouse has them."""
    table = Table(title="What came out: canonical records, read back from ClickHouse", title_justify="left")
    for name in ("source", "device at its sender", "type", "observed at (UTC)", "position", "km/h", "values"):
        table.add_column(name, overflow="fold")
    for row in rows[:_ROWS_SHOWN]:
        position = "" if row["latitude"] is None else f"{row['latitude']:.5f}, {row['longitude']:.5f}"
        speed = "" if row["speed_kmh"] is None else f"{row['speed_kmh']:.1f}"
        observed = row["observed_at"].strftime("%Y-%m-%d %H:%M:%S") + ("" if row["time_source"] == "device" else " *")
        table.add_row(row["source"], row["source_device"], row["type"], observed, position, speed, _values(row))
    console.print(table)
    if len(rows) > _ROWS_SHOWN:
        console.print(f"… and {len(rows) - _ROWS_SHOWN} more: fleetline demo --keep, then fleetline sql")
    console.print("[dim]* the device gave no time that can be believed: its platform's, or the time of reception[/]")


def _values(row: dict[str, Any]) -> str:
    values = {**row["numbers"], **row["booleans"]}
    shown = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in sorted(values.items())
    ]
    return ", ".join(shown[:3]) + (f", +{len(shown) - 3}" if len(shown) > 3 else "")


def show_webhooks(console: Console, receiver: Receiver) -> None:
    """Show the webhooks a customer's server got."""
    table = Table(title="Webhooks, as a customer's server received them", title_justify="left")
    for name in ("event", "made by", "device", "observed at (UTC)", "position"):
        table.add_column(name)
    for body in receiver.webhooks.values():
        event, position = body["event"], body.get("position")
        where = f"{position['latitude']:.5f}, {position['longitude']:.5f}" if position else ""
        table.add_row(event["type"], event["origin"], body["device"]["name"], event["observed_at"], where)
    console.print(table)


def show_quarantine(console: Console, rows: list[dict[str, Any]]) -> None:
    """Show what could not be read, why, and the bytes that were kept."""
    table = Table(title="Quarantine: acknowledged, kept, and never in anybody's way", title_justify="left")
    for name in ("source", "item", "reason", "detail", "bytes kept"):
        table.add_column(name, overflow="fold")
    for row in rows:
        index = "whole body" if row["item_index"] is None or row["item_index"] < 0 else str(row["item_index"])
        table.add_row(row["source"], index, row["reason"], row["detail"][:60], repr(row["body"][:40]))
    console.print(table)


def show_account(console: Console, account: Account) -> None:
    """Show the reconciliation."""
    table = Table(title="The account", title_justify="left")
    table.add_column("")
    table.add_column("promised", justify="right")
    table.add_column("found", justify="right")
    for what, promised, found in account.lines:
        mark = "[green]✓[/]" if promised == found else "[red]✗[/]"
        table.add_row(f"{mark} {what}", str(promised), str(found))
    console.print(table)
