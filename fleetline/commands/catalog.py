"""`fleetline catalog`: what can be connected, where, and what opens it."""

from pathlib import Path
from typing import Any

import click

from fleetline.admin import common_options, print_json, print_rows


@click.command("catalog")
@click.argument("source", required=False)
@common_options
def command(source: str | None, data: Path | None, as_json: bool) -> None:
    """List every sender's addresses and what opens them; of SOURCE alone if it is given.

    --json prints what `GET /api/v1/connectivity/catalog` answers, with payloads and record types. It needs no running stack.
    """
    from fleetline.connectivity.catalog import catalog
    from fleetline.local_settings import load_settings
    from sources.catalog import load_sources, source_names

    if source is not None and source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    wanted = {name: each for name, each in load_sources().items() if source in {None, name}}
    found = catalog(load_settings(data), wanted)
    if as_json:
        print_json(found)
        return
    columns = {
        "name": "source",
        "title": "what it is",
        "address": "where",
        "opened_by": "opened by",
        "acknowledged": "without a 200",
    }
    print_rows(
        [row for each in found["sources"] for row in _rows(each, found["transports"])], columns, nothing="no sources"
    )


def _rows(source: dict[str, Any], transports: dict[str, Any]) -> list[dict[str, str]]:
    """Return a row for each way into a source; what is said of all of them stands in the first."""
    ways = [f"{' '.join(source['http']['methods'])} {each['url']}" for each in source["http"]["endpoints"]]
    if source["mqtt"]:
        ways += [f"{transports['mqtt']['url']} {each['topic']}" for each in source["mqtt"]["topics"]]
    if source["websocket"]:
        ways.append(source["websocket"]["url"])
    said = {
        "name": source["name"],
        "title": source["title"],
        "opened_by": source["opened_by"]["kind"],
        "acknowledged": source["without_acknowledgement"],
    }
    blank = dict.fromkeys(said, "")
    return [{**(blank if number else said), "address": way} for number, way in enumerate(ways)]
