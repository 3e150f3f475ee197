"""Errors a person meets on the command line: one line that says what happened and what to do."""

import click


class FleetlineError(click.ClickException):
    """Printed as one line; exit status 1."""


class PortTaken(FleetlineError):
    """Another process listens where we want to."""

    def __init__(self, what: str, port: int, setting: str) -> None:
        super().__init__(
            f"port {port} for {what} is taken by another process; stop that one, or choose another port with {setting}"
        )


class ExtraMissing(FleetlineError):
    """An optional part is not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not installed; the local stack needs: pip install 'fleetline[local]'")


def clickhouse_complaint(message: str, url: str) -> str:
    """Keep, of what ClickHouse's client said, the sentence that says what is wrong."""
    if "DB::Exception:" in message:
        return message.partition("DB::Exception:")[2].partition("(for url")[0].strip()
    return f"no ClickHouse at {url.rpartition('@')[2]}; start the stack with `fleetline up`, or set CLICKHOUSE_URL"
