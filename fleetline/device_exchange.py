"""`fleetline device import` and `export`: devices from and to CSV and NDJSON files."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from fleetline.admin import chosen_tenant, common_options, open_registry, print_json, tenant_option
from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from registry.exchange.reading import Format

_PIECE = 256 * 1024
_SUFFIXES: dict[str, "Format"] = {
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".ndjson", ".jsonl"), "ndjson"),
}
_format_option = click.option(
    "--format", "form", type=click.Choice(["csv", "ndjson"]), help="[default: told from FILE]"
)


def attach(group: click.Group) -> None:
    """Add both commands to `fleetline device`."""
    group.add_command(import_file)
    group.add_command(export_file)


@click.command("import")
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_format_option
@tenant_option
@click.option("--dry-run", is_flag=True, help="Say what would become of each row, and store nothing.")
@click.option(
    "--on-existing",
    type=click.Choice(["refuse", "update", "skip"]),
    default="refuse",
    show_default=True,
    help="What to do with a row of a device there is already.",
)
@click.option(
    "--tokens",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Give each new device a token and write them to this new file; they cannot be shown again.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what became of each row: CSV if the name ends with .csv, else NDJSON.",
)
@common_options
def import_file(file: str, *, form: "Format | None", tenant: str | None, data: Path | None, **given: Any) -> None:
    """Create and update devices from a file, or standard input.

    The first line of a CSV names its columns: id, name, external_id, dev_eui, imei, serial, iccid, custom1, custom2, custom3,
    gateway, parent; any other is an attribute. Each row stands for itself: those that are refused are listed, with exit
    status 1, and stop no other. docs/import.md tells more.
    """
    from fleetline.import_report import ImportReport
    from registry.exchange.importing import ImportOptions, import_devices

    if given["dry_run"] and given["tokens"]:
        raise click.UsageError("--dry-run makes no tokens; leave --tokens out")
    options = ImportOptions(
        form=form or _SUFFIXES.get(Path(file).suffix.lower()),
        dry_run=given["dry_run"],
        on_existing=given["on_existing"],
        tokens=given["tokens"] is not None,
    )
    with (
        click.open_file(file, "rb") as opened,
        open_registry(data) as (_, store),
        ImportReport(tokens=given["tokens"], rows=given["report"]) as report,
    ):
        owner = chosen_tenant(store.view, tenant)
        total = 0 if file == "-" else Path(file).stat().st_size
        report.follow(import_devices(store, owner, _pieces(opened), options, total))
    report.tell(as_json=given["as_json"])
    if not report.is_clean:
        sys.exit(1)


def _pieces(opened: Any) -> Iterator[bytes]:
    """Read what is there: rows from a slow pipe are not held back until a piece is full."""
    read = getattr(opened, "read1", opened.read)
    try:
        yield from iter(partial(read, _PIECE), b"")
    except OSError as error:
        raise FleetlineError(f"the file cannot be read to its end: {error}") from error


@click.command("export")
@_format_option
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: standard output]")
@click.option("--bom", is_flag=True, help="Begin a CSV with a byte order mark, for spreadsheets that need one.")
@tenant_option
@common_options
def export_file(
    form: "Format | None", output: Path | None, *, bom: bool, tenant: str | None, data: Path | None, as_json: bool
) -> None:
    """Write a tenant's devices as a file that can be imported: gateways first, each by id; CSV unless said otherwise."""
    from registry.exchange.exporting import export_devices
    from registry.model import Device

    if as_json and output is None:
        raise click.UsageError(
            "--json tells about the file written with --output; for devices as JSON: --format ndjson"
        )
    with open_registry(data) as (_, store):
        owner = chosen_tenant(store.view, tenant)
        chosen = form or _SUFFIXES.get(output.suffix.lower() if output else "") or "csv"
        pieces = export_devices(store.view, owner.id, chosen, bom=bom)
        if output is None:
            _write(click.get_binary_stream("stdout"), pieces)
            return
        _write_whole(output, pieces)
        count = store.view.count(Device, owner.id)
    if as_json:
        print_json({"devices": count, "file": str(output), "format": chosen})
        return
    click.echo(f"{count} devices of {owner.name} are in {output}", err=True)


def _write(opened: BinaryIO, pieces: Iterable[bytes]) -> None:
    opened.writelines(pieces)
    opened.flush()


def _write_whole(output: Path, pieces: Iterable[bytes]) -> None:
    """Write beside the file and rename: half an export never stands under its name."""
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as opened:
            _write(opened, pieces)
        part.replace(output)
    except OSError as error:
        raise FleetlineError(f"{output} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
