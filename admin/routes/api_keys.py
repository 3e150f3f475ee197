"""Keys of this API: a tenant's, and operators', which see every tenant. No key can make a mightier one."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Response

from admin.access import Caller
from admin.paging import After, Limit, page_of
from admin.problems import Problem
from admin.routing import PREFIX, AtTenant, Called, Routes, find
from admin.shapes.api_keys import ApiKeyMade, ApiKeyShown, NewApiKey, api_key_made, api_key_shown
from admin.shapes.common import Page, Version
from registry.draft import Draft
from registry.model import ApiKey
from registry.rules import access as rules

routes = Routes("api keys")
OPERATORS, OPERATORS_KEY = "/api-keys", "/api-keys/{key_id}"
KEYS = "/tenants/{tenant_id}/api-keys"
KEY = f"{KEYS}/{{key_id}}"
_OPERATOR = ""


@routes.get(KEYS, scope="api_keys:read")
async def list_api_keys(call: AtTenant, after: After = "", limit: Limit = 100) -> Page[ApiKeyShown]:
    """List a tenant's keys by id."""
    return page_of(await call.page(ApiKey, after, limit + 1), limit, api_key_shown)


@routes.add("POST", KEYS, scope="api_keys:write", status_code=201)
async def create_api_key(call: AtTenant, body: NewApiKey, response: Response) -> ApiKeyMade:
    """Create a key for a tenant; its secret is in this answer and never again."""
    _refuse_mightier(call.caller, body)
    expires_us = body.expires_us()
    made, secret = await call.change_tenants(
        lambda draft, tenant: rules.create_api_key(draft, tenant, body.name, body.scopes, expires_us)
    )
    response.headers["location"] = f"{PREFIX}/tenants/{quote(made.tenant_id)}/api-keys/{made.id}"
    return api_key_made(made, secret)


@routes.get(KEY, scope="api_keys:read")
async def get_api_key(call: AtTenant, key_id: str) -> ApiKeyShown:
    """Show a tenant's key, without its secret."""
    return api_key_shown(call.find(ApiKey, key_id))


@routes.add("DELETE", KEY, scope="api_keys:write", status_code=204)
async def revoke_api_key(call: AtTenant, key_id: str, version: Annotated[Version | None, Query()] = None) -> None:
    """Revoke a tenant's key."""
    await call.change_one(ApiKey, key_id, lambda draft, standing: rules.revoke_api_key(draft, standing, version))


@routes.get(OPERATORS, scope="api_keys:read", operator=True)
async def list_operators_keys(call: Called, after: After = "", limit: Limit = 100) -> Page[ApiKeyShown]:
    """List operators' keys by id."""
    view = call.view
    found = await call.read(lambda: view.page(ApiKey, _OPERATOR, after, limit + 1))
    return page_of(found, limit, api_key_shown)


@routes.add("POST", OPERATORS, scope="api_keys:write", operator=True, status_code=201)
async def create_operators_key(call: Called, body: NewApiKey, response: Response) -> ApiKeyMade:
    """Create a key for every tenant; its secret is in this answer and never again."""
    _refuse_mightier(call.caller, body)
    expires_us, nobody = body.expires_us(), None
    made, secret = await call.change(
        lambda draft: rules.create_api_key(draft, nobody, body.name, body.scopes, expires_us)
    )
    response.headers["location"] = f"{PREFIX}{OPERATORS}/{made.id}"
    return api_key_made(made, secret)


@routes.get(OPERATORS_KEY, scope="api_keys:read", operator=True)
async def get_operators_key(call: Called, key_id: str) -> ApiKeyShown:
    """Show an operator's key, without its secret."""
    return api_key_shown(find(call.view, ApiKey, _OPERATOR, key_id))


@routes.add("DELETE", OPERATORS_KEY, scope="api_keys:write", operator=True, status_code=204)
async def revoke_operators_key(call: Called, key_id: str, version: Annotated[Version | None, Query()] = None) -> None:
    """Revoke an operator's key."""

    def plan(draft: Draft) -> None:
        rules.revoke_api_key(draft, find(draft, ApiKey, _OPERATOR, key_id), version)

    await call.change(plan)


def _refuse_mightier(caller: Caller, wanted: NewApiKey) -> None:
    """Refuse a key that could do what the caller cannot, or for longer."""
    lacking = [scope for scope in wanted.scopes if scope in rules.SCOPES and not rules.grants(caller.scopes, scope)]
    if lacking:
        raise Problem(403, "scope", f"a key can only give what it has itself; this one lacks {', '.join(lacking)}")
    expires_us = wanted.expires_us()
    if caller.expires_us and not 0 < expires_us <= caller.expires_us:
        raise Problem(403, "scope", "a key that expires can only make keys that expire with it, or before")
