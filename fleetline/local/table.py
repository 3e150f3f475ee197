"""The table that `fleetline up` shows."""

from rich.table import Table

from fleetline.local.stack import Stack


def health_table(stack: Stack) -> Table:
    """Show what runs, where, and how it is."""
    table = Table(title="Fleetline", title_justify="left")
    for name in ("what", "address", "state", "process"):
        table.add_column(name, justify="right" if name == "process" else "left")
    for what, address, state, pid in stack.health():
        colour = "green" if state in {"ready", "given"} else "red"
        table.add_row(what, address, f"[{colour}]{state}[/]", str(pid or ""))
    return table
