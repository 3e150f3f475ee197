"""What an import of devices tells a person: a bar while it runs, a summary, the rows that were refused, files for the rest."""

import csv
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import click
import msgspec

from fleetline.admin import print_json
from fleetline.errors import FleetlineError
from registry.exchange.cells import inert
from registry.exchange.events import OUTCOMES, Event, Progress, RowDone, Started, Stopped

_LISTED = 20
"""Refused rows on the screen; a file with the wrong columns has a thousand."""
_REPORTED = ("line", "outcome", "device_id", "name", "reason")
_WITH_TOKEN = ("device_id", "name", "token")


class ImportReport:
    """Follows the events of one import. Its files are complete up to the last row that is durable, whenever it ends."""

    def __init__(self, tokens: Path | None, rows: Path | None) -> None:
        self._closing = ExitStack()
        self._tokens_path, self._rows_path = tokens, rows
        self._tokens: _File | None = None
        self._rows: _File | None = None
        self._refused: list[RowDone] = []
        self._progress = Progress()
        self._dry_run = False
        self._stopped: Stopped | None = None

    def __enter__(self) -> Self:
        if self._tokens_path is not None:
            self._tokens = _File(_new_private(self._tokens_path), _WITH_TOKEN, as_csv=True)
            self._closing.callback(self._close_tokens, self._tokens_path, self._tokens)
        if self._rows_path is not None:
            opened = _opened(self._rows_path)
            self._rows = _File(opened, _REPORTED, as_csv=self._rows_path.suffix.lower() == ".csv")
            self._closing.callback(self._rows.close)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._closing.close()

    @staticmethod
    def _close_tokens(path: Path, tokens: "_File") -> None:
        tokens.close()
        if not tokens.rows:  # so that the next try may use the name
            path.unlink(missing_ok=True)

    @property
    def is_clean(self) -> bool:
        """Tell whether the whole file was read and no row refused."""
        return self._stopped is None and not self._progress.refused

    def follow(self, events: Iterator[Event]) -> None:
        """Take everything an import tells, to its end, or to Ctrl-C."""
        with _bar() as show:
            try:
                for event in events:
                    self._take(event, show)
            except OSError as error:
                done = f"everything up to line {self._progress.line} is stored, and a thousand rows more at most"
                raise FleetlineError(f"the report cannot be written ({error}); {done}") from error
            except KeyboardInterrupt:
                after = self._progress.line + 1
                self._stopped = Stopped(progress=self._progress, reason="interrupted", unknown_from=after)

    def _take(self, event: Event, show: Callable[[Progress], None]) -> None:
        if isinstance(event, RowDone):
            self._row(event)
        elif isinstance(event, Started):
            self._dry_run = event.dry_run
            if event.attributes:
                click.echo(f"columns taken for attributes: {', '.join(event.attributes)}", err=True)
        else:
            self._progress = event if isinstance(event, Progress) else event.progress
            self._flush()
            show(self._progress)
            if isinstance(event, Stopped):
                self._stopped = event

    def _row(self, row: RowDone) -> None:
        if row.outcome == "refused" and len(self._refused) < _LISTED:
            self._refused.append(row)
        if self._rows is not None:
            self._rows.write(row)
        if self._tokens is not None and row.token:
            self._tokens.write(row)

    def _flush(self) -> None:
        for each in (self._tokens, self._rows):
            if each is not None:
                each.flush()

    def tell(self, *, as_json: bool) -> None:
        """Print how it went: the summary on standard output, what went wrong on standard error."""
        if as_json:
            print_json(self._as_json())
            return
        progress = self._progress
        for row in self._refused:
            click.echo(f"line {row.line} refused: {row.reason}", err=True)
        if progress.refused > len(self._refused):
            more = progress.refused - len(self._refused)
            where = f"{self._rows_path} has all" if self._rows_path else "--report FILE writes down all"
            click.echo(f"and {more} more rows were refused; {where}", err=True)
        for line in self._how_it_stopped():
            click.echo(line, err=True)
        counts = ", ".join(f"{getattr(progress, outcome)} {outcome}" for outcome in OUTCOMES)
        would = "dry run, nothing is stored: " if self._dry_run else ""
        click.echo(f"{would}{progress.rows} rows: {counts}; {progress.seconds:.1f} s, {progress.rows_per_s:.0f} rows/s")
        if self._tokens_path is not None and progress.created:
            click.echo(f"tokens are in {self._tokens_path}; they cannot be shown again", err=True)

    def _as_json(self) -> dict[str, Any]:
        stopped = self._stopped
        return {
            **msgspec.to_builtins(self._progress),
            "dry_run": self._dry_run,
            "refused_rows": [{"line": row.line, "reason": row.reason} for row in self._refused],
            "stopped": None if stopped is None else " ".join(self._how_it_stopped()),
        }

    def _how_it_stopped(self) -> list[str]:
        stopped = self._stopped
        if stopped is None:
            return []
        line = stopped.progress.line
        if self._dry_run:
            return [f"stopped after line {line}: {stopped.reason}"]
        said = [f"stopped after line {line}: {stopped.reason}"]
        said.append(f"Everything up to line {line} is stored." if line else "Nothing is known to be stored.")
        if stopped.unknown_to:
            said.append(
                f"Lines {stopped.unknown_from} to {stopped.unknown_to} are stored all together, or none of them."
            )
        elif stopped.unknown_from:
            said.append(f"Of the lines from {stopped.unknown_from} on, a thousand at most are stored too.")
        said.append("Run it again with --on-existing skip, or update: nothing is made twice.")
        return said


class _File:
    """Rows in a file, as CSV or NDJSON, of some fields of a row."""

    def __init__(self, opened: TextIO, fields: tuple[str, ...], *, as_csv: bool) -> None:
        self._opened = opened
        self._fields = fields
        self.rows = 0
        self._csv = csv.writer(opened) if as_csv else None
        if self._csv is not None:
            self._csv.writerow(fields)

    def write(self, row: RowDone) -> None:
        self.rows += 1
        values = {field: getattr(row, field) for field in self._fields}
        if self._csv is not None:
            self._csv.writerow([inert(str(value)) for value in values.values()])
        else:
            self._opened.write(
                msgspec.json.encode({key: value for key, value in values.items() if value}).decode() + "\n"
            )

    def flush(self) -> None:
        """Make sure that what is written outlives this process and the machine: tokens are nowhere else."""
        self._opened.flush()
        os.fsync(self._opened.fileno())

    def close(self) -> None:
        self._opened.close()


def _new_private(path: Path) -> TextIO:
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FleetlineError(f"{path} is there already, and may hold tokens; name a new file") from None
    except OSError as error:
        raise FleetlineError(f"{path} cannot be written: {error}") from error
    return open(number, "w", encoding="utf-8", newline="")  # noqa: PTH123  by its number, which has the mode already


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise FleetlineError(f"{path} cannot be written: {error}") from error


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, and nothing into a pipe."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(progress: Progress) -> None:
            left = "" if progress.eta_s is None else f", {progress.eta_s:.0f} s left"
            told = f"{progress.rows} rows, {progress.refused} refused, {progress.rows_per_s:.0f} rows/s{left}"
            bar.update(task, description=told, total=progress.total_bytes or None, completed=progress.bytes)

        yield show
