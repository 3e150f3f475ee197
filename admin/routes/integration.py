"""A tenant's webhook URLs and the secret that opens them (AC-b07, AC-b08)."""

from typing import Annotated, Any

from fastapi import Query

from admin.routing import AtTenant, Routes, TenantCall
from admin.shapes.common import Version, moment
from admin.shapes.connecting import IntegrationMade, IntegrationShown, SecretState
from admin.shapes.credentials import Rotation, former_until
from fleetline.connectivity.webhooks import webhook_urls
from registry.draft import Draft
from registry.errors import NotFound
from registry.model import Credential, Tenant
from registry.rules import access
from registry.rules.tenants import integration_secret

routes = Routes("integration")
INTEGRATION = "/tenants/{tenant_id}/integration"
SECRET = f"{INTEGRATION}/secret"


@routes.get(INTEGRATION, scope="credentials:read")
async def get_integration(call: AtTenant) -> IntegrationShown:
    """Show the webhook URLs with the tenant's id in them, and whether there is a secret."""
    return IntegrationShown(**_shown(call, integration_secret(call.view, call.tenant)))


@routes.add("POST", SECRET, scope="credentials:write")
async def make_integration_secret(call: AtTenant, body: Rotation | None = None) -> IntegrationMade:
    """Make the webhook secret, or a new one: shown in this answer alone; the former one opens for a while more."""
    wanted = body or Rotation()
    made, secret = await call.change_tenants(
        lambda draft, tenant: access.rotate_integration_secret(
            draft, tenant, overlap_s=wanted.overlap_s, version=wanted.version
        )
    )
    return IntegrationMade(**_shown(call, made, new=True), new_secret=secret)


@routes.add("DELETE", SECRET, scope="credentials:write", status_code=204)
async def revoke_integration_secret(call: AtTenant, version: Annotated[Version | None, Query()] = None) -> None:
    """Revoke the webhook secret: webhooks are refused until there is a new one."""

    def plan(draft: Draft, tenant: Tenant) -> None:
        standing = integration_secret(draft, tenant)
        if standing is None:
            raise NotFound("there is no webhook secret")
        access.revoke_credential(draft, standing, version)

    await call.change_tenants(plan)


def _shown(call: TenantCall, secret: Credential | None, *, new: bool = False) -> dict[str, Any]:
    if new:
        message = "The secret is shown this once: copy it now."
    elif secret is None:
        message = "There is no secret yet, so every webhook is refused. Make one: POST …/integration/secret"
    else:
        message = "The secret is kept as a hash and cannot be shown again; POST …/integration/secret makes a new one."
    return {
        "secret": SecretState(
            exists=secret is not None,
            created_at=secret and moment(secret.created_us),
            former_until=secret and former_until(secret),
            version=secret and secret.version,
        ),
        "message": message,
        "webhooks": webhook_urls(call.settings, call.tenant.id),
    }
