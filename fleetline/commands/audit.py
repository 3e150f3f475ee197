"""`fleetline audit`: who changed what in the registry, when, and what it was before."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fleetline.admin import common_options, print_json, print_rows
from fleetline.durations import Since
from registry.model import Entry

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from fleetline.audit_trail import AuditFilter

KINDS = tuple(kind.KIND for kind in get_args(Entry))
_COLUMNS = {"at": "when", "actor": "who", "what": "what", "diff": "before → after"}
_POLL_S = 1.0


@click.command("audit")
@click.option("--tenant", default="", metavar="ID|NAME", help="Of one tenant; one that was deleted, too.")
@click.option("--kind", type=click.Choice(KINDS), help="Of one kind of object.")
@click.option(
    "--object", "object_", default="", metavar="ID|NAME", help="Of one object, by its id or a name it has or had."
)
@click.option(
    "--actor", default="", metavar="TEXT", help="Made by whose name begins so: `cli:`, `cli:ada@desk`, `api-key:…`."
)
@click.option(
    "--since",
    "since_us",
    type=Since(),
    default=0,
    metavar="TIME|AGO",
    help="From 2026-03-01T08:00:00Z on, or the last 24h.",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The latest so many.")
@click.option("--follow", is_flag=True, help="Go on with what is changed from now on. With --json one object per line.")
@common_options
def command(
    tenant: str,
    kind: str | None,
    object_: str,
    actor: str,
    since_us: int,
    limit: int,
    follow: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show the changes of the registry, the latest last: who, when, what, and each field before → after.

    Every change is here, by whatever way it was made: this command line, the admin API, auto-registration. It is written with the
    change or not at all, kept for ever, and in ClickHouse about a second later, where `fleetline sql` can ask for more of it
    (table `audit`). Of secrets it says only that there is one, and when it was replaced.

    \b
    fleetline audit --since 24h
    fleetline audit --object "Van 3"
    fleetline audit --tenant Acme --kind credential --actor cli:
    fleetline audit --follow
    """  # fmt: skip  # noqa: D301  click reads the backspace itself
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from fleetline.audit_trail import AuditFilter
    from fleetline.errors import FleetlineError
    from fleetline.local_settings import load_settings
    from sinks.clickhouse.connection import connect

    wanted = AuditFilter(tenant=tenant, kind=kind or "", object=object_, actor=actor, since_us=since_us)
    settings = load_settings(data)
    try:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), connect(settings) as client:
            if follow:
                _follow(client, wanted, limit, as_json=as_json)
            else:
                _show_last(client, wanted, limit, as_json=as_json)
    except ClickHouseError as error:
        raise FleetlineError(_complaint(str(error), settings.clickhouse_url)) from None


def _complaint(message: str, url: str) -> str:
    from fleetline.errors import clickhouse_complaint

    if "UNKNOWN_TABLE" in message:
        return "ClickHouse has no audit trail yet: `fleetline up` or `fleetline serve clickhouse` brings it there"
    return clickhouse_complaint(message, url)


def _show_last(client: "Client", wanted: "AuditFilter", limit: int, *, as_json: bool) -> None:
    from fleetline.audit_trail import last_changes

    changes = last_changes(client, wanted, limit)
    if as_json:
        print_json(changes)
        return
    rows = [{**each, "what": _what(each), "diff": _diff(each)} for each in changes]
    print_rows(rows, _COLUMNS, nothing="no changes")
    if len(changes) == limit:
        click.echo(f"the latest {limit}; see more with --limit, or fewer with --since", err=True)


def _follow(client: "Client", wanted: "AuditFilter", limit: int, *, as_json: bool) -> None:
    import msgspec

    from fleetline.audit_trail import last_changes, last_position, later_changes

    seen = last_position(client)
    _print_each([each for each in last_changes(client, wanted, limit) if each["position"] <= seen], as_json=as_json)
    while True:
        later = later_changes(client, msgspec.structs.replace(wanted, beyond=seen))
        _print_each(later, as_json=as_json)
        seen = max([seen, *(each["position"] for each in later)])
        time.sleep(_POLL_S)


def _print_each(changes: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    for each in changes:
        if as_json:
            print_json(each)
            continue
        click.echo(f"{each['at']} {each['actor']}: {_what(each)}")
        for line in _diff(each).splitlines():
            click.echo(f"    {line}")


def _what(change: dict[str, Any]) -> str:
    from fleetline.audit_trail import name_of

    name = name_of(change)
    which = f"{name} ({change['object_id']})" if name else change["object_id"]
    return f"{change['action']} {change['kind']} {which}"


def _diff(change: dict[str, Any]) -> str:
    from fleetline.audit_trail import diff_lines

    return "\n".join(diff_lines(change))
