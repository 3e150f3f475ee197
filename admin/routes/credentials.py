"""Credentials of senders: made and rotated with the secret shown once, revoked at once."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Response

from admin.paging import After, Limit, page_of
from admin.routing import PREFIX, AtTenant, Routes, find
from admin.shapes.common import Page, Text, Version
from admin.shapes.credentials import (
    CredentialMade,
    CredentialShown,
    NewCredential,
    Rotation,
    credential_made,
    credential_shown,
)
from registry.draft import Draft
from registry.model import Credential, Device, Tenant
from registry.rules import access as rules

routes = Routes("credentials")
CREDENTIALS = "/tenants/{tenant_id}/credentials"
CREDENTIAL = f"{CREDENTIALS}/{{credential_id}}"


@routes.get(CREDENTIALS, scope="credentials:read")
async def list_credentials(
    call: AtTenant,
    device: Annotated[Text | None, Query(description="The id of a device: what speaks for it alone.")] = None,
    after: After = "",
    limit: Limit = 100,
) -> Page[CredentialShown]:
    """List credentials by id."""
    if device is None:
        found = await call.page(Credential, after, limit + 1)
    else:
        bound = call.view.credentials_of(call.find(Device, device).id)
        found = [each for each in bound if each.tenant_id == call.tenant.id and each.id > after]
    return page_of(found, limit, credential_shown)


@routes.add("POST", CREDENTIALS, scope="credentials:write", status_code=201)
async def create_credential(call: AtTenant, body: NewCredential, response: Response) -> CredentialMade:
    """Create a credential; its secret is in this answer and never again."""

    def plan(draft: Draft, tenant: Tenant) -> tuple[Credential, str]:
        bound = None if body.device_id is None else find(draft, Device, tenant.id, body.device_id)
        return rules.create_credential(draft, tenant, body.source, bound, body.name)

    made, secret = await call.change_tenants(plan)
    response.headers["location"] = f"{PREFIX}/tenants/{quote(made.tenant_id)}/credentials/{quote(made.id)}"
    return credential_made(made, secret)


@routes.get(CREDENTIAL, scope="credentials:read")
async def get_credential(call: AtTenant, credential_id: str) -> CredentialShown:
    """Show a credential, without its secret."""
    return credential_shown(call.find(Credential, credential_id))


@routes.add("POST", f"{CREDENTIAL}/rotate", scope="credentials:write")
async def rotate_credential(call: AtTenant, credential_id: str, body: Rotation | None = None) -> CredentialMade:
    """Give a credential a new secret, shown in this answer alone; the former one opens for a while more (AC-b09)."""
    wanted = body or Rotation()
    made, secret = await call.change_one(
        Credential,
        credential_id,
        lambda draft, standing: rules.rotate_credential(
            draft, standing, overlap_s=wanted.overlap_s, version=wanted.version
        ),
    )
    return credential_made(made, secret)


@routes.add("DELETE", CREDENTIAL, scope="credentials:write", status_code=204)
async def revoke_credential(
    call: AtTenant, credential_id: str, version: Annotated[Version | None, Query()] = None
) -> None:
    """Revoke a credential: neither its secret nor the former one opens anything any more."""
    await call.change_one(
        Credential, credential_id, lambda draft, standing: rules.revoke_credential(draft, standing, version)
    )
