"""The generic webhook: any system that can post JSON with a tenant's secret."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, header
from sources.device_api import IDEMPOTENCY_KEY
from sources.generic.normalize import check, ordering_key, read, split
from sources.sealed_token import seal_json

SOURCE = Source(
    name="generic",
    title="Generic webhook",
    on_failure=OnFailure.DROPS,
    split=split,
    read=read,
    check=check,
    seal=seal_json,
    version="2",
    credentials=(header("x-webhook-secret"), authorization("bearer")),
    ordering_key=ordering_key,
    paths=("/api/v1/integrations/generic/telemetry",),
    captured_headers=(IDEMPOTENCY_KEY,),
    tenant_query="tenantId",
    tenant_secret=True,
    setup=(("POST to", "{url}"), ("Header X-Webhook-Secret", "{secret}")),
    links=("https://autoconnecto.in/docs/device-connectivity",),
)
