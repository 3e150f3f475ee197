"""`fleetline rejected`: what was refused for a wrong credential and will not come again; send it again with the right one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetline.admin import common_options, print_json, print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingress.rejected import Rejected

_SHOWN = 60


@click.command("rejected")
@click.argument("source", required=False)
@click.option("--since", default="", metavar="TIME", help="Only what was refused from then on, RFC 3339.")
@click.option(
    "--containing", default="", metavar="TEXT", help="Only bodies and paths with this text: a device's id, say."
)
@click.option("--replay", is_flag=True, help="Post them again, oldest first, with the credential given here.")
@click.option(
    "--authorization",
    envvar="FLEETLINE_AUTHORIZATION",
    metavar="VALUE",
    help="The whole Authorization header. Set $FLEETLINE_AUTHORIZATION instead to keep it out of the shell's history.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header that holds the credential.")
@click.option("--part", "parts", multiple=True, metavar="NAME=VALUE", help="A credential in the path or the query.")
@click.option("--url", default="", help="The ingress [default: the one of the local stack, or PUBLIC_API_BASE_URL].")
@common_options
def command(
    source: str | None,
    since: str,
    containing: str,
    replay: bool,
    authorization: str | None,
    headers: tuple[str, ...],
    parts: tuple[str, ...],
    url: str,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show what was refused (401) of SOURCE, or of every source how much.

    Senders like BikeTrax, ChirpStack and The Things Stack send nothing twice: after a credential was changed on one side only,
    this is all there is of what they said. It is kept for 24 hours, without the secret, on the machine of the ingress.

    \b
    fleetline rejected                                   how much, by source
    fleetline rejected biketrax                          one line each
    fleetline rejected biketrax --json                   whole, one JSON object per line (body: base64)
    fleetline rejected biketrax --replay --authorization 'the PSK'
    fleetline rejected ttn --replay --authorization 'Bearer …' --since 2026-03-01T08:00:00Z
    fleetline rejected device --replay --part deviceToken=…

    Look before you send: whoever knows the address can have written what is kept here, and with your credential it counts as
    yours. --since and --containing choose. Records keep the time of their devices and count once, however often they are sent;
    what has no time and no id of its own gets the present, and counts each time.

    Exit status: 0; 1 when something was not accepted; 2 on wrong usage.
    """  # noqa: D301  click reads the backspace itself
    from fleetline.errors import FleetlineError
    from fleetline.local_settings import ingress_url, load_settings

    settings = load_settings(data)
    directory = settings.data_dir / "rejected"
    if directory.exists() and not os.access(directory, os.R_OK | os.X_OK):
        raise FleetlineError(f"{directory} belongs to the user the ingress runs as; ask as that user")
    if source is None:
        if replay:
            raise click.UsageError("--replay needs a SOURCE: each has its own credential")
        _summary(directory, as_json)
        return
    chosen = _chosen(directory, source, since, containing)
    if not replay:
        _show(chosen, source, as_json)
        return
    given = {**_pairs(headers, "--header"), **({"authorization": authorization} if authorization else {})}
    filling = _pairs(parts, "--part")
    if not given and not filling:
        raise click.UsageError("--replay needs the right credential: --authorization, --header or --part")
    clean = _replay(chosen, source, url or ingress_url(settings), given, filling, as_json)
    click.get_current_context().exit(0 if clean else 1)


def _pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, found, rest = value.partition("=")
        if not found or not name.strip():  # what was given may be the secret: it is not repeated
            raise click.UsageError(f"{option} is not of the form NAME=VALUE")
        pairs[name.strip()] = rest
    return pairs


def _chosen(directory: Path, source: str, since: str, containing: str) -> "Iterator[Rejected]":
    from ingress.rejected import read_rejected
    from schemas.times import format_us, parse_iso_us
    from sources.catalog import source_names

    if source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    try:
        first = format_us(parse_iso_us(since)) if since else ""
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    wanted = containing.encode()
    return (
        each
        for each in read_rejected(directory, source)
        if each.rejected_at >= first and (wanted in each.body or containing in each.path)
    )


def _summary(directory: Path, as_json: bool) -> None:
    from ingress.rejected import read_rejected

    rows: list[dict[str, Any]] = []
    for folder in sorted(each for each in directory.glob("*") if each.is_dir()):
        times = [each.rejected_at for each in read_rejected(directory, folder.name)]
        if times:
            rows.append({"source": folder.name, "requests": len(times), "first": min(times), "last": max(times)})
    if as_json:
        print_json(rows)
        return
    columns = {"source": "source", "requests": "requests", "first": "first", "last": "last"}
    print_rows(rows, columns, nothing=f"nothing was refused that would not come again (looked in {directory})")


def _show(chosen: "Iterator[Rejected]", source: str, as_json: bool) -> None:
    import msgspec

    if as_json:
        for each in chosen:
            click.echo(msgspec.json.encode(each).decode())
        return
    rows = [
        {"rejected_at": each.rejected_at, "request": f"{each.method} {each.path}", "body": _start(each.body)}
        for each in chosen
    ]
    columns = {"rejected_at": "refused at", "request": "request", "body": "body"}
    print_rows(rows, columns, nothing=f"nothing of {source} was refused")


def _start(body: bytes) -> str:
    """Show where a body begins, whatever a stranger wrote into it."""
    text = body[:_SHOWN].decode("utf-8", "replace")
    plain = "".join(char if char.isprintable() else "·" for char in text)
    return f"{plain}… ({len(body)} bytes)" if len(body) > _SHOWN else plain


def _replay(
    chosen: "Iterator[Rejected]", source: str, url: str, headers: dict[str, str], parts: dict[str, str], as_json: bool
) -> bool:
    from fleetline.resending import resend
    from sources.catalog import load_source

    accepted = refused = 0
    try:
        for each, status in resend(chosen, load_source(source), url, headers, parts):
            if status == 200:
                accepted += 1
                continue
            refused += 1
            click.echo(f"{each.rejected_at} {each.method} {each.path}: {status}", err=True)
    finally:
        if as_json:
            print_json({"accepted": accepted, "refused": refused})
        else:
            click.echo(f"{accepted} accepted, {refused} not")
    return not refused
