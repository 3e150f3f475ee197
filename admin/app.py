"""The application: the routes of every module, the probes, and the OpenAPI document derived from both."""

from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse

import fleetline
from admin.live import LiveRegistry
from admin.metrics import AdminMetrics, Counted
from admin.problems import ProblemBody, Wrong, handle_errors
from admin.routes import (
    api_keys,
    connectivity,
    credentials,
    destinations,
    devices,
    exchange,
    geofences,
    integration,
    tenants,
    tokens,
)
from admin.routing import Routes
from fleetline.settings import Settings

MODULES: tuple[Routes, ...] = (
    tenants.routes,
    integration.routes,
    devices.routes,
    exchange.routes,
    tokens.routes,
    credentials.routes,
    destinations.routes,
    geofences.routes,
    api_keys.routes,
)
_ABOUT = """Tenants, devices, credentials, destinations, geofences and keys of one Fleetline installation.

Every path below `/api/v1` but the connectivity catalogue needs an API key. Objects carry a `version`; a change that names the
version it was made from is refused with 409 once somebody else was faster. What another tenant has does not exist.
"""


def build_app(settings: Settings, live: LiveRegistry) -> Counted:
    """Build the application; `live` must be running."""
    app = FastAPI(
        title="Fleetline admin API",
        version=fleetline.__version__,
        description=_ABOUT,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.settings, app.state.registry, app.state.imports = settings, live, exchange.Slots()
    metrics = AdminMetrics(live)
    handle_errors(app)
    _add_probes(app, live, metrics)
    for routes in MODULES:
        routes.mount(app)
    connectivity.mount(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return Counted(app, metrics)


def _add_probes(app: FastAPI, live: LiveRegistry, metrics: AdminMetrics) -> None:
    async def healthz() -> Response:
        return PlainTextResponse("alive\n")

    async def readyz() -> Response:
        if not live.is_read:
            return PlainTextResponse("the registry has not been read yet\n", 503)
        return PlainTextResponse("Kafka is away: reading only\n" if live.trouble else "ready\n")

    async def counts() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    for path, probe in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", counts)):
        app.add_api_route(path, probe, include_in_schema=False)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document.setdefault("components", {})
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
        for shape in (ProblemBody, Wrong):
            described = shape.model_json_schema(ref_template="#/components/schemas/{model}")
            described.pop("$defs", None)
            components.setdefault("schemas", {})[shape.__name__] = described
        app.openapi_schema = document
    return app.openapi_schema
