"""The catalogue of how to connect: the same for everybody, without a key (AC-b01)."""

import anyio.to_thread
import orjson
from fastapi import FastAPI, Response

from admin.routing import PREFIX
from fleetline.connectivity.catalog import catalog
from sources.catalog import load_sources

_CACHED_S = 300


def mount(app: FastAPI) -> None:
    """Add the catalogue to an application; it is made when it is first asked for."""
    made: list[bytes] = []

    def make() -> bytes:
        return orjson.dumps(catalog(app.state.settings, load_sources()))

    async def connectivity_catalog() -> Response:
        """Show transports, endpoints and examples of every source; the ingress answers the same at its own address."""
        if not made:
            made.append(await anyio.to_thread.run_sync(make))
        return Response(
            made[0], headers={"cache-control": f"public, max-age={_CACHED_S}"}, media_type="application/json"
        )

    app.add_api_route(
        f"{PREFIX}/connectivity/catalog",
        connectivity_catalog,
        tags=["connectivity"],
        responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
        response_class=Response,
        openapi_extra={"security": []},
    )
