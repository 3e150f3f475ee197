"""How an endpoint is declared: its scope stands in the declaration, is checked before the body is read, and is in the OpenAPI.

A route without a scope cannot be declared, so none is left open by mistake.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Depends, FastAPI, Path, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from admin.access import Caller, authenticate, no_tenant, require
from admin.bodies import bounded
from admin.live import LiveRegistry
from admin.problems import documented
from fleetline.settings import MIB, Settings
from registry.draft import Draft
from registry.errors import NotFound
from registry.model import Owned, Tenant
from registry.rules.access import SCOPES
from registry.view import RegistryView

PREFIX = "/api/v1"
SCOPE, OPERATOR, LARGEST_BODY = "x-scope", "x-operator", "x-max-body-bytes"
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]

T = TypeVar("T")
O = TypeVar("O", bound=Owned)  # noqa: E741  O for owned
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    function: Function
    scope: str
    operator: bool
    max_body: int
    options: dict[str, Any]


@dataclass(slots=True)
class Routes:
    """The endpoints of one kind of object."""

    tag: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def add(
        self, method: str, path: str, *, scope: str, operator: bool = False, max_body: int = MIB, **options: Any
    ) -> Callable[[Function], Function]:
        """Declare an endpoint below `PREFIX` whose body has `max_body` bytes at most; `options` are FastAPI's."""
        if scope not in SCOPES:
            raise ValueError(f"{method} {path}: no scope {scope}")

        def declared(function: Function) -> Function:
            self.endpoints.append(Endpoint(method, path, function, scope, operator, max_body, options))
            return function

        return declared

    def get(self, path: str, *, scope: str, operator: bool = False, **options: Any) -> Callable[[Function], Function]:
        """Declare a reading endpoint."""
        return self.add("GET", path, scope=scope, operator=operator, **options)

    def mount(self, app: FastAPI) -> None:
        """Add the endpoints to an application."""
        for each in self.endpoints:
            refusals = [401, 403, 404, 422, 503]
            extra: dict[str, Any] = {"security": SECURITY, SCOPE: each.scope}
            if each.operator:
                extra[OPERATOR] = True
            if each.method != "GET":
                refusals += [400, 408, 409, 413]
                extra[LARGEST_BODY] = each.max_body
            options = dict(each.options)
            app.router.add_api_route(
                PREFIX + each.path,
                each.function,
                methods=[each.method],
                tags=[self.tag],
                responses={**documented(*sorted(refusals)), **options.pop("responses", {})},
                openapi_extra={**extra, **options.pop("openapi_extra", {})},
                operation_id=each.function.__name__,
                route_class_override=Guarded,
                **options,
            )


class Guarded(APIRoute):
    """Lets a request to its handler once it is known who asks, that they may, and that the tenant exists for them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with the checks before it."""
        handle = super().get_route_handler()
        declared = self.openapi_extra or {}
        scope, operator, max_body = declared[SCOPE], OPERATOR in declared, declared.get(LARGEST_BODY, MIB)

        async def guarded(request: Request) -> Response:
            registry: LiveRegistry = request.app.state.registry
            view = registry.view
            caller = authenticate(request, request.app.state.settings, view)
            require(caller, scope, operator=operator)
            request.state.caller = caller
            tenant_id = request.path_params.get("tenant_id")
            if tenant_id is not None:
                tenant = view.tenant(tenant_id) if caller.sees(tenant_id) else None
                if tenant is None:
                    raise no_tenant(tenant_id)
                request.state.tenant = tenant
            response = await handle(bounded(request, max_body))
            response.headers["cache-control"] = "no-store"
            return response

        return guarded


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler works with."""

    settings: Settings
    registry: LiveRegistry
    caller: Caller

    @property
    def view(self) -> RegistryView:
        """The registry in memory."""
        return self.registry.view

    async def read(self, function: Callable[[], T]) -> T:
        """Do what may take a moment beside the event loop."""
        return await anyio.to_thread.run_sync(function)

    async def change(self, plan: Callable[[Draft], T]) -> T:
        """Make a change in the caller's name."""
        return await self.registry.change(plan, self.caller.actor)


@dataclass(frozen=True, slots=True)
class TenantCall(Call):
    """A call about one tenant, which exists and is the caller's to see."""

    tenant: Tenant

    async def page(self, kind: type[O], after: str, limit: int) -> list[O]:
        """Return the next `limit` of the tenant's objects by id; the first time in a process it takes a moment."""
        view = self.view
        return await self.read(lambda: view.page(kind, self.tenant.id, after, limit))

    def find(self, kind: type[O], wanted: str) -> O:
        """Return one of the tenant's objects. Raises NotFound for another tenant's as for none."""
        return find(self.view, kind, self.tenant.id, wanted)

    async def change_one(self, kind: type[O], wanted: str, plan: Callable[[Draft, O], T]) -> T:
        """Make a change to one of the tenant's objects as it stands at that moment."""
        return await self.change(lambda draft: plan(draft, find(draft, kind, self.tenant.id, wanted)))

    async def change_tenants(self, plan: Callable[[Draft, Tenant], T]) -> T:
        """Make a change at the tenant as it stands at that moment. Raises NotFound when it was removed meanwhile."""

        def planned(draft: Draft) -> T:
            standing = draft.tenant(self.tenant.id)
            if standing is None:
                raise NotFound(no_tenant(self.tenant.id).detail)
            return plan(draft, standing)

        return await self.change(planned)


def find(view: RegistryView | Draft, kind: type[O], tenant_id: str, wanted: str) -> O:
    """Return a tenant's object. Raises NotFound, in the same words whether there is none or it is another tenant's."""
    found = view.get(kind, wanted)
    if found is None or found.tenant_id != tenant_id:
        raise NotFound(f"there is no {kind.KIND.replace('_', ' ')} {wanted!r}")
    return found


async def _call(request: Request) -> Call:
    return Call(request.app.state.settings, request.app.state.registry, request.state.caller)


async def _tenant_call(request: Request, tenant_id: Annotated[str, Path(description="The tenant's id.")]) -> TenantCall:  # noqa: ARG001
    state = request.app.state
    return TenantCall(state.settings, state.registry, request.state.caller, request.state.tenant)


Called = Annotated[Call, Depends(_call)]
AtTenant = Annotated[TenantCall, Depends(_tenant_call)]
