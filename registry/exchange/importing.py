"""Devices from a file into the registry: a transaction for every thousand rows, told row by row.

A row is told only once it is durable. When the broker goes away, or this process, everything up to the last row told is stored,
and of the rows after it one transaction's at most; a second run with `on_existing` skip or update makes nothing twice.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from registry.draft import Draft
from registry.errors import RegistryError, RegistryUnavailable
from registry.exchange.applying import OnExisting, apply_row
from registry.exchange.columns import DeviceRow, said_plainly
from registry.exchange.events import OUTCOMES, Event, Finished, Outcome, Progress, RowDone, Started, Stopped
from registry.exchange.reading import LONGEST_ROW, Format, Heading, Read, Unreadable, read_rows, told_apart
from registry.model import Tenant
from registry.rules.tenants import find_tenant

if TYPE_CHECKING:
    from registry.store import RegistryStore

CHUNK_ROWS = 1_000
"""Larger ones are no faster, and whoever else wants to change something waits for one."""
CHUNK_BYTES = 8 * 1024 * 1024
"""Of a transaction, whichever comes first: what one run of a plan holds in memory."""
Rows = list[DeviceRow | Unreadable]


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to import.

    `form` None: told by the first character. `tokens`: each new device gets a credential of its own, told with its row.
    `most_rows` 0: any number. `actor` is who the audit trail names; empty: whoever the store was opened for.
    """

    form: Format | None = None
    dry_run: bool = False
    on_existing: OnExisting = "refuse"
    tokens: bool = False
    actor: str = ""
    most_rows: int = 0
    longest_row: int = LONGEST_ROW
    chunk_rows: int = CHUNK_ROWS


_DEFAULTS = ImportOptions()


def import_devices(
    store: "RegistryStore",
    tenant: Tenant,
    source: Iterable[bytes],
    options: ImportOptions = _DEFAULTS,
    total_bytes: int = 0,
) -> Iterator[Event]:
    """Import devices into a tenant, in the order of `source`, pieces of a file of any size; `total_bytes` of it, if known.

    Runs as it is iterated and blocks meanwhile; closed early, it has stored what it has told, and at most the chunk it was in.
    Rows are refused one by one and never end it. It ends with Stopped when the registry cannot be reached, the tenant is gone
    or there are more rows than allowed; what `source` raises comes out. A dry run writes nothing and holds what it would
    make in memory.
    """
    return _Import(store, tenant, options, total_bytes).run(source)


class _Import:
    def __init__(self, store: "RegistryStore", tenant: Tenant, options: ImportOptions, total_bytes: int) -> None:
        self._store = store
        self._tenant = tenant
        self._options = options
        self._tally = _Tally(total_bytes)
        self._draft: Draft | None = None

    def run(self, source: Iterable[bytes]) -> Iterator[Event]:
        options = self._options
        form, pieces = (options.form, source) if options.form else told_apart(source)
        reading = read_rows(self._tally.counting(pieces), form, options.longest_row)
        first = next(reading, None)
        heading = first if isinstance(first, Heading) else Heading(columns=(), attributes=(), separator="")
        yield Started(format=form, dry_run=options.dry_run, columns=heading.columns, attributes=heading.attributes)
        rows = reading if first is None or isinstance(first, Heading) else chain((first,), reading)
        yield from self._write_all(_chunks(rows, options.chunk_rows))

    def _write_all(self, chunks: Iterable[Rows]) -> Iterator[Event]:
        tally, most = self._tally, self._options.most_rows
        for rows in chunks:
            kept = rows[: most - tally.rows] if most else rows
            try:
                done = self._write(kept)
            except RegistryError as error:
                yield self._stopped(kept, error)
                return
            tally.add(done)
            yield from done
            yield tally.progress()
            if len(kept) < len(rows):
                reason = f"more than {most} rows; those from line {rows[len(kept)].line} on are not imported"
                yield Stopped(progress=tally.progress(), reason=reason)
                return
        yield Finished(progress=tally.progress(), dry_run=self._options.dry_run)

    def _write(self, rows: Rows) -> list[RowDone]:
        """Decide about some rows, and make it durable. The plan may run again, so each run tells all of it anew."""
        options = self._options
        tokens = options.tokens and not options.dry_run

        def plan(draft: Draft) -> list[RowDone]:
            tenant = find_tenant(draft, self._tenant)
            return [apply_row(draft, tenant, row, options.on_existing, tokens=tokens) for row in rows]

        if not options.dry_run:
            return self._store.change(plan, options.actor)
        if self._draft is None:
            self._draft = Draft(self._store.refresh())
        return plan(self._draft)

    def _stopped(self, rows: Rows, error: RegistryError) -> Stopped:
        unknown = isinstance(error, RegistryUnavailable) and not self._options.dry_run
        return Stopped(
            progress=self._tally.progress(),
            reason=said_plainly(str(error)),
            unknown_from=rows[0].line if unknown else 0,
            unknown_to=rows[-1].line if unknown else 0,
        )


def _chunks(rows: Iterable[Read], most: int) -> Iterator[Rows]:
    chunk: Rows = []
    size = 0
    for row in rows:
        assert not isinstance(row, Heading)
        chunk.append(row)
        size += row.size
        if len(chunk) >= most or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Tally:
    """What has been done so far."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._bytes = 0
        self._line = 0
        self._began = time.monotonic()
        self._outcomes: Counter[Outcome] = Counter()

    @property
    def rows(self) -> int:
        return self._outcomes.total()

    def counting(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._bytes += len(piece)
            yield piece

    def add(self, done: list[RowDone]) -> None:
        self._outcomes.update(row.outcome for row in done)
        if done:
            self._line = done[-1].line

    def progress(self) -> Progress:
        seconds = time.monotonic() - self._began
        left = max(self._total_bytes - self._bytes, 0)
        return Progress(
            rows=self.rows,
            **{outcome: self._outcomes[outcome] for outcome in OUTCOMES},
            line=self._line,
            bytes=self._bytes,
            total_bytes=self._total_bytes,
            seconds=seconds,
            rows_per_s=self.rows / seconds if seconds else 0.0,
            eta_s=seconds * left / self._bytes if self._total_bytes and self._bytes else None,
        )
