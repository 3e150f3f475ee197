"""The catalogue of how to connect, as anybody may read it: no secret is in it, and nothing of any tenant (AC-b01)."""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleetline.settings import Settings
from sources.contract import Source

if TYPE_CHECKING:
    from collections.abc import Awaitable

CATALOG = "/api/v1/connectivity/catalog"
_CACHED_S = 300


def catalog_routes(settings: Settings, sources: Mapping[str, Source]) -> list[Route]:
    """Return the routes of the catalogue, with and without a slash at the end; it is made when it is first asked for."""
    answer = _answering(settings, sources)
    return [Route(path, answer, methods=["GET", "HEAD"]) for path in (CATALOG, f"{CATALOG}/")]


def _answering(settings: Settings, sources: Mapping[str, Source]) -> "Callable[[Request], Awaitable[Response]]":
    made: list[tuple[bytes, str]] = []

    def make() -> tuple[bytes, str]:
        from fleetline.connectivity.catalog import catalog

        body = orjson.dumps(catalog(settings, sources))
        return body, f'"{sha256(body).hexdigest()[:32]}"'

    async def answer(request: Request) -> Response:
        if not made:
            made.append(await asyncio.to_thread(make))  # the samples are read: senders must not wait for that
        body, tag = made[0]
        headers = {"etag": tag, "cache-control": f"public, max-age={_CACHED_S}", "access-control-allow-origin": "*"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return answer
