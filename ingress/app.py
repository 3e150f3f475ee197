"""The application: routes derived from the sources' declarations, probes and metrics."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fleetline.errors import FleetlineError
from fleetline.settings import Settings
from ingress.endpoint import Door
from ingress.intake import Intake
from ingress.metrics import IngressMetrics
from ingress.producer import Producer
from ingress.published import CATALOG, catalog_routes
from ingress.rejected import RejectedStore
from ingress.spool import Spool
from registry.view import RegistryView
from sources.contract import Source
from sources.routes import routes

PROBES = ("/healthz", "/readyz", "/metrics")
TAKEN = (*PROBES, CATALOG)
"""Paths that no source can have."""


class Registry(Protocol):
    """What the ingress needs of the registry: the follower, or a filled view in tests."""

    @property
    def view(self) -> RegistryView:
        """The registry in memory."""

    @property
    def caught_up(self) -> bool:
        """Whether the view is complete."""


class IngressApp:
    """ASGI: fixed paths go straight to their door, everything else through Starlette's router.

    The router and its middleware cost as much as the whole rest of a request, and most senders post to a fixed path.
    """

    def __init__(self, starlette: Starlette, doors: Mapping[str, Door]) -> None:
        self._starlette = starlette
        self._doors = doors
        self.doors = {path.encode(): door for path, door in doors.items()}
        """Doors by path as it stands in a request line, for `ingress.connection`."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            door = self._doors.get(scope["path"])
            if door is not None:
                await door(scope, receive, send)
                return
        await self._starlette(scope, receive, send)


def build_app(
    settings: Settings,
    sources: Mapping[str, Source],
    registry: Registry,
    producer: Producer,
    spool: Spool | None = None,
    rejected: RejectedStore | None = None,
) -> IngressApp:
    """Build the application. `registry` must be running; all the others start and stop with the application."""
    intake = Intake(settings, sources, registry.view, producer, spool, lambda: registry.caught_up)
    metrics = IngressMetrics(intake)
    if rejected is not None:
        metrics.registry.register(rejected)
    doors: dict[str, Door] = {}
    templated: list[Route] = []
    for template, source in _plan(settings, sources).items():
        https_only = source.name in settings.https_only
        acceptance, counts = intake.of(source.name), metrics.of(source.name)
        door = Door(acceptance, template, counts, https_only=https_only, rejected=rejected)
        for path in _with_and_without_slash(template):
            if "{" in path:
                templated.append(Route(path, endpoint=door))
            else:
                doors[path] = door
    ours = [*_probes(registry, intake, metrics), *catalog_routes(settings, sources)]
    starlette = Starlette(routes=[*ours, *templated], lifespan=_lifespan(intake, rejected))
    starlette.router.redirect_slashes = False  # a redirect makes AutoPi delete its data (sources.md 0.1 rule 4)
    return IngressApp(starlette, doors)


def _plan(settings: Settings, sources: Mapping[str, Source]) -> dict[str, Source]:
    """Return every route and its source. Raises FleetlineError when two of them claim one, or there is no such source."""
    plan: dict[str, Source] = {}
    declared = [(template, source.name) for source in sources.values() for template in routes(source)]
    mapped = [(path.rstrip("/") or "/", name) for path, name in settings.path_map.items()]
    for template, name in [*declared, *mapped]:
        if name not in sources:
            raise FleetlineError(f"path_map sends {template} to {name!r}; there are: {', '.join(sources)}")
        if template in TAKEN or not template.startswith("/") or plan.setdefault(template, sources[name]).name != name:
            raise FleetlineError(f"{template} cannot be a path of {name}: it is taken, or does not begin with a slash")
    return plan


def _with_and_without_slash(path: str) -> Iterable[str]:
    bare = path.rstrip("/")
    return dict.fromkeys((bare or "/", f"{bare}/"))


def _lifespan(intake: Intake, rejected: RejectedStore | None) -> Any:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await intake.start()
        if rejected is not None:
            rejected.start()
        yield
        await intake.stop()
        if rejected is not None:
            await asyncio.to_thread(rejected.close)

    return lifespan


def _probes(registry: Registry, intake: Intake, counts: IngressMetrics) -> list[Route]:
    async def healthz(_: HttpRequest) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: HttpRequest) -> Response:
        if not registry.caught_up:
            return PlainTextResponse("the registry has not been read yet\n", 503)
        if await intake.producer.is_reachable():
            return PlainTextResponse("ready\n")
        if intake.spool is not None and intake.spool.is_usable:
            return PlainTextResponse("the broker is away; senders that never send again are spooled\n")
        return PlainTextResponse("the broker is away\n", 503)

    async def metrics(_: HttpRequest) -> Response:
        return Response(generate_latest(counts.registry), media_type=CONTENT_TYPE_LATEST)

    return [Route(path, probe) for path, probe in zip(PROBES, (healthz, readyz, metrics), strict=True)]
