"""`fleetline normalize`: what a source makes of a request, with no broker and no server."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sources.contract import Request, Source

QUARANTINED = 3
_MAX_BODY_BYTES = 64 * 1024 * 1024


def _pairs(values: tuple[str, ...], separator: str, what: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, found, rest = value.partition(separator)
        if not found or not name.strip():
            raise click.UsageError(f"{what} {value!r} is not of the form name{separator}value")
        pairs[name.strip()] = rest.strip()
    return pairs


@click.command("normalize")
@click.argument("source")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--content-type", default="", help="Content type of the body; JSON is read whatever it says.")
@click.option("--header", "headers", multiple=True, metavar="'K: V'", help="A request header; repeat for more.")
@click.option("--query", default="", metavar="'a=b&c=d'", help="The query string.")
@click.option("--path-param", "path_params", multiple=True, metavar="K=V", help="A named part of the path.")
@click.option("--received-at", default="", metavar="TIME", help="Time of reception, RFC 3339 [default: now].")
@click.option("--tenant", default="", metavar="ID", help="Tenant id; it is part of every record's id.")
@click.option("--device", default="", metavar="ID", help="Device id of a credential that belongs to one device.")
@click.option(
    "--batch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read every file of a folder in one process; each line then names its `file`.",
)
def command(
    source: str,
    file: IO[bytes] | None,
    content_type: str,
    headers: tuple[str, ...],
    query: str,
    path_params: tuple[str, ...],
    received_at: str,
    tenant: str,
    device: str,
    batch: Path | None,
) -> None:
    """Read one request body (FILE, or - for standard input) as SOURCE would.

    Prints one JSON object per canonical record on standard output and one {"reason","detail","index"} per piece that
    would be quarantined on standard error.

    \b
    fleetline normalize flespi messages.json
    curl -s … | fleetline normalize autopi - --header 'unit-id: 4c7f…'
    fleetline normalize chirpstack up.json --query event=up
    fleetline normalize ttn --batch payloads/

    A file of --batch is a body, or a request: a JSON object with `body` (or `body_text`, `body_base64`) beside any of
    `headers`, `query`, `path_params`, `content_type`, `received_at`; bundled samples are read too.

    Exit status: 0; 3 when something was quarantined or refused; 2 on wrong usage.
    """  # noqa: D301  click reads the backspace itself
    from urllib.parse import parse_qsl

    from schemas.times import now_us, parse_iso_us
    from sources.catalog import load_source, source_names
    from sources.contract import Request

    if source not in source_names():
        raise click.UsageError(f"no source {source!r}; there are: {', '.join(source_names())}")
    if (file is None) == (batch is None):
        raise click.UsageError("name one FILE (or - for standard input), or a folder with --batch")
    try:
        received_us = parse_iso_us(received_at) if received_at else now_us()
    except ValueError as error:
        raise click.UsageError(f"--received-at: {error}") from None
    declared = load_source(source)
    given = {name.lower(): value for name, value in _pairs(headers, ":", "--header").items()}
    base = Request(
        content_type=content_type or given.get("content-type", ""),
        headers=given,
        query=dict(parse_qsl(query, keep_blank_values=True)),
        path_params=_pairs(path_params, "=", "--path-param"),
        received_us=received_us,
        tenant_id=tenant,
        device_id=device,
    )
    clean = True
    if batch is None:
        assert file is not None
        clean = _print_outcome(declared, base, file.read(), {})
    else:
        for path in sorted(each for each in batch.rglob("*") if each.is_file()):
            label = {"file": str(path.relative_to(batch))}
            request, body = _as_request(declared, base, path.read_bytes())
            clean = _print_outcome(declared, request, body, label) and clean
    click.get_current_context().exit(0 if clean else QUARANTINED)


def _print_outcome(source: "Source", base: "Request", wire_body: bytes, label: dict[str, str]) -> bool:
    import orjson

    clean = True
    for is_record, line in _outcome(source, base, wire_body):
        stream = sys.stdout.buffer if is_record else sys.stderr.buffer
        stream.write(orjson.dumps({**label, **line}, option=orjson.OPT_APPEND_NEWLINE))
        stream.flush()
        clean = clean and is_record
    return clean


def _outcome(source: "Source", base: "Request", wire_body: bytes) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Yield (is a record, what to print), passing the body through the same steps as the edge and the agent."""
    import msgspec

    from schemas.view import telemetry_view
    from sources.engine import Canonical, canonicalize
    from sources.errors import Refused

    try:
        request = msgspec.structs.replace(base, body=_inflated(base, wire_body))
        source.check(request)
    except Refused as refused:
        yield False, {"reason": f"refused_{refused.status}", "detail": refused.detail, "index": None}
        return
    kept = {name: value for name, value in request.headers.items() if name in source.captured_headers}
    for made in canonicalize(source, msgspec.structs.replace(request, headers=kept)):
        if isinstance(made, Canonical):
            yield True, telemetry_view(made.record)
        else:
            yield False, {"reason": made.reason, "detail": made.detail, "index": made.index}


def _inflated(base: "Request", wire_body: bytes) -> bytes:
    """Undo a content encoding as the edge would. Raises Refused with the edge's status."""
    if not wire_body or wire_body[:1] in b"{[":
        return wire_body
    from ingress.errors import RejectedRequest
    from ingress.inflate import inflate
    from sources.errors import Refused

    try:
        return inflate(wire_body, base.header("content-encoding"), _MAX_BODY_BYTES)
    except RejectedRequest as rejected:
        raise Refused(rejected.status, rejected.detail) from None


def _as_request(source: "Source", base: "Request", content: bytes) -> "tuple[Request, bytes]":
    """Read a file of a batch: a request in JSON if it looks like one, else a bare body."""
    import base64
    from urllib.parse import parse_qsl

    import msgspec
    import orjson

    from schemas.times import parse_iso_us
    from sources.samples import route_parts

    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return base, content
    if not isinstance(parsed, dict):
        return base, content
    nested = parsed.get("request")
    described = {**parsed, **nested} if isinstance(nested, dict) else parsed
    companions = ("headers", "query", "path_params", "content_type", "received_at", "method", "path")
    bodies = {"body", "body_text", "body_base64"} & described.keys()
    bodiless = isinstance(nested, dict) and "path" in nested  # a sample of a sender that puts everything in the URL
    if not (bodies or bodiless) or not any(key in described for key in companions):
        return base, content
    headers = {str(name).lower(): str(value) for name, value in (described.get("headers") or {}).items()}
    query = described.get("query") or {}
    path = str(described.get("path") or "")
    parts = {name: part for name, part in route_parts(source, path).items() if name not in source.secret_path_parts}
    request = msgspec.structs.replace(
        base,
        headers={**base.headers, **headers},
        query={**base.query, **(dict(parse_qsl(query, keep_blank_values=True)) if isinstance(query, str) else query)},
        path_params={**base.path_params, **parts, **(described.get("path_params") or {})},
        content_type=described.get("content_type") or headers.get("content-type") or base.content_type,
        method=described.get("method") or base.method,
        received_us=parse_iso_us(described["received_at"]) if described.get("received_at") else base.received_us,
    )
    if described.get("body_base64") is not None:
        return request, base64.b64decode(described["body_base64"])
    if described.get("body_text") is not None:
        return request, str(described["body_text"]).encode()
    body = described.get("body")
    if body is None:  # as in a sample: no body at all
        body = ""
    return request, body.encode() if isinstance(body, str) else orjson.dumps(body)
