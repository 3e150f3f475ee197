"""Devices from and to files: what is sent is kept on disk first, so that a slow reader of the report holds nobody up."""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Literal, cast

import anyio.to_thread
import msgspec
from fastapi import Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from admin.access import require
from admin.live import Blocking
from admin.problems import Problem
from admin.routing import AtTenant, Routes, TenantCall
from fleetline.settings import MIB
from registry.exchange.applying import OnExisting
from registry.exchange.events import Progress
from registry.exchange.exporting import export_devices
from registry.exchange.importing import ImportOptions, import_devices
from registry.exchange.reading import Format
from registry.store import RegistryStore

routes = Routes("devices")
LARGEST_FILE = 256 * MIB
"""Of an import: a million devices with a few attributes each."""
MOST_IMPORTS = 2
"""At the same time in one process; each holds a file on disk and takes a thread."""
_IN_MEMORY = MIB
_PIECE = 256 * 1024
NDJSON = "application/x-ndjson"
MEDIA_TYPES: dict[str, Format] = {"text/csv": "csv", NDJSON: "ndjson", "application/ndjson": "ndjson"}
_TAKEN = {each: {"schema": {"type": "string"}} for each in MEDIA_TYPES}
_REPORT = {"description": "One JSON object a line: started, then rows and progress in turns, then finished or stopped"}


class Slots:
    """How many imports run."""

    def __init__(self) -> None:
        self.taken = 0


class _Report(StreamingResponse):
    """The answer to an import, which gives its slot and its file up however it ends."""

    def __init__(self, events: Iterator[bytes], file: IO[bytes], slots: Slots) -> None:
        super().__init__(events, media_type=NDJSON)
        self._file, self._slots = file, slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the report."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.taken -= 1
            self._file.close()


@routes.add(
    "POST",
    "/tenants/{tenant_id}/devices:import",
    scope="devices:write",
    max_body=LARGEST_FILE,
    response_class=StreamingResponse,
    responses={200: {**_REPORT, "content": {NDJSON: {"schema": {"type": "string"}}}}},
    openapi_extra={"requestBody": {"required": True, "content": _TAKEN}},
)
async def import_file(
    call: AtTenant,
    request: Request,
    *,
    dry_run: Annotated[bool, Query(description="Only tell what would be done.")] = False,
    on_existing: Annotated[OnExisting, Query(description="What becomes of a row whose device is there.")] = "refuse",
    tokens: Annotated[
        bool, Query(description="Make a token for each new device; needs credentials:write too.")
    ] = False,
) -> StreamingResponse:
    """Import devices from CSV or NDJSON: a report for each row, told once the row is durable; a bad row ends nothing.

    The answer begins once the whole file has arrived.
    """
    form = MEDIA_TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if form is None:
        raise Problem(422, "invalid", f"the content type must be one of {', '.join(MEDIA_TYPES)}")
    if tokens:
        require(call.caller, "credentials:write", operator=False)
    slots: Slots = request.app.state.imports
    if slots.taken >= MOST_IMPORTS:
        raise Problem(503, "busy", f"{MOST_IMPORTS} imports run already", {"retry-after": "10"})
    slots.taken += 1
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by the report
    try:
        size = await _keep(request, file)
    except BaseException:
        slots.taken -= 1
        file.close()
        raise
    options = ImportOptions(form=form, dry_run=dry_run, on_existing=on_existing, tokens=tokens, actor=call.caller.actor)
    return _Report(_events(call, file, size, options), file, slots)


async def _keep(request: Request, file: IO[bytes]) -> int:
    size, held = 0, bytearray()
    async for chunk in request.stream():
        held += chunk
        size += len(chunk)
        if len(held) >= _IN_MEMORY:
            await anyio.to_thread.run_sync(file.write, bytes(held))
            held.clear()
    file.write(held)
    file.seek(0)
    return size


def _events(call: TenantCall, file: IO[bytes], size: int, options: ImportOptions) -> Iterator[bytes]:
    """Import, in the worker threads that iterate over this."""
    store = cast("RegistryStore", Blocking(call.registry))
    encode = msgspec.json.Encoder().encode
    lines, held = [], 0
    for event in import_devices(store, call.tenant, iter(lambda: file.read(_PIECE), b""), options, size):
        lines.append(encode(event) + b"\n")
        held += len(lines[-1])
        if held >= _PIECE or isinstance(event, Progress):
            yield b"".join(lines)
            lines, held = [], 0
    yield b"".join(lines)


@routes.get(
    "/tenants/{tenant_id}/devices:export",
    scope="devices:read",
    response_class=StreamingResponse,
    responses={200: {"content": {each: {"schema": {"type": "string"}} for each in ("text/csv", NDJSON)}}},
)
async def export_file(
    call: AtTenant,
    format: Annotated[Literal["csv", "ndjson"], Query()] = "csv",  # noqa: A002  the name in the query
    *,
    bom: Annotated[bool, Query(description="Begin a CSV with a byte order mark, for spreadsheets.")] = False,
) -> StreamingResponse:
    """Export all devices as a file that can be imported again: gateways first, then the others, by id."""
    pieces = export_devices(call.view, call.tenant.id, format, bom=bom)
    first = await call.read(lambda: next(pieces, b""))

    def every() -> Iterator[bytes]:
        yield first
        yield from pieces

    disposition = {"content-disposition": f'attachment; filename="devices.{format}"'}
    kind = "text/csv; charset=utf-8" if format == "csv" else NDJSON
    return StreamingResponse(every(), headers=disposition, media_type=kind)
