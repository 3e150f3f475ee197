"""ClickHouse's engine behind ClickHouse's HTTP port, for a machine without a ClickHouse server.

The engine is chdb: the real one, with its real tables, deduplication windows and error codes. Loader, analysts' clients and
tests therefore use the production path, clickhouse-connect over HTTP. One process owns one data folder.
"""

import argparse
import logging
import queue
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ingress.errors import RejectedRequest
from ingress.inflate import inflate

log = logging.getLogger(__name__)

CONNECTIONS = 4
_LARGEST_BODY = 2**31
_TRANSPORT = frozenset(
    "query database default_format session_id session_timeout session_check compress decompress wait_end_of_query"
    " client_protocol_version send_progress_in_http_headers http_headers_progress_interval_ms enable_http_compression"
    " query_id buffer_size role user password stacktrace quota_key close_session".split()
)
"""URL parameters that speak to the HTTP server, not to the query."""
_INSERT_DATA = re.compile(rb"\s*(INSERT\s+INTO\s+.+?)\s+FORMAT\s+(\w+)[ \t;]*(?:\r?\n|$)", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Engine:
    """A pool of handles on one chdb folder; each serves one query at a time."""

    def __init__(self, folder: Path) -> None:
        import chdb

        folder.mkdir(parents=True, exist_ok=True)
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._all: list[Any] = [chdb.connect(str(folder)) for _ in range(CONNECTIONS)]  # type: ignore[no-untyped-call]
        for handle in self._all:
            self._idle.put(handle)

    def run(self, text: str, body: bytes, parameters: Mapping[str, str]) -> bytes:
        """Run one statement and return its result's bytes. Raises RuntimeError with ClickHouse's message."""
        settings = {
            name: value
            for name, value in parameters.items()
            if name not in _TRANSPORT and not name.startswith("param_")
        }
        values = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
        statement = text.encode() + b"\n" + body if text else body
        insert = _INSERT_DATA.match(statement)
        with self._handle(parameters.get("database", "") or "default") as handle:
            if insert:
                return self._insert(handle, insert, statement[insert.end() :], settings)
            return self._query(handle, statement.decode().strip().rstrip(";"), values, settings, parameters)

    def _insert(self, handle: Any, insert: re.Match[bytes], data: bytes, settings: Mapping[str, str]) -> bytes:
        clause = ", ".join(f"{name}={_quoted(value)}" for name, value in settings.items())
        head = insert[1].decode() + (f" SETTINGS {clause}" if clause else "")
        with handle.send_insert(head, insert[2].decode()) as inserter:
            if data:
                inserter.append(data)
            inserter.finish()
        return b""

    def _query(
        self, handle: Any, text: str, values: dict[str, str], settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> bytes:
        found = _FORMAT.search(text)
        wanted = found[1] if found else parameters.get("default_format", "TabSeparated")
        if found:
            text = text[: found.start()]
        for name, value in settings.items():
            handle.query(f"SET {name} = {_quoted(value)}")
        try:
            result = handle.query(text, wanted, params=values) if values else handle.query(text, wanted)
        finally:
            for name in settings:
                handle.query(f"SET {name} = DEFAULT")
        return bytes(result.bytes() or b"") if result is not None else b""

    @contextmanager
    def _handle(self, database: str) -> Iterator[Any]:
        handle = self._idle.get()
        try:
            if not _NAME.fullmatch(database):
                raise RuntimeError(f"Code: 81. DB::Exception: {database!r} is no database name")
            handle.query(f"USE {database}")
            yield handle
        finally:
            self._idle.put(handle)

    def close(self) -> None:
        """Close the folder."""
        for handle in self._all:
            handle.close()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def build_app(engine: Engine) -> Starlette:
    """Build the server's application."""

    async def statement(request: Request) -> Response:
        parameters = dict(request.query_params)
        try:
            body = inflate(await request.body(), request.headers.get("content-encoding", ""), _LARGEST_BODY)
            result = await run_in_threadpool(engine.run, parameters.get("query", ""), body, parameters)
        except (RuntimeError, RejectedRequest, UnicodeDecodeError) as error:
            code = _CODE.search(str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1] if code else "1"}
            return PlainTextResponse(f"{error}\n", 500, headers)
        return Response(result, headers={"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": "{}"})

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(routes=[Route("/ping", ping), Route("/", statement, methods=["GET", "POST"])])


def main() -> None:
    """Serve a folder until told to stop."""
    import os
    import time

    import uvicorn

    os.environ["TZ"] = "UTC"  # chdb's server time zone is the process's
    time.tzset()

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    arguments = parser.parse_args()
    engine = Engine(arguments.data)
    try:
        uvicorn.run(
            build_app(engine), host=arguments.host, port=arguments.port, loop="uvloop", http="httptools", ws="none",
            access_log=False, log_level="warning", timeout_graceful_shutdown=5,
        )  # fmt: skip
    finally:
        engine.close()


if __name__ == "__main__":
    main()
