"""ChirpStack's HTTP integration: one event per request, named by `?event=`; given up after 5 s and never repeated."""

from sources.chirpstack.normalize import ordering_key, read, split
from sources.contract import OnFailure, Source
from sources.credentials import authorization, header

SOURCE = Source(
    name="chirpstack",
    title="ChirpStack HTTP integration (v3, v4)",
    on_failure=OnFailure.DROPS,
    split=split,
    read=read,
    version="2",
    credentials=(header("x-webhook-secret"), authorization("bearer")),
    ordering_key=ordering_key,
    paths=("/api/v1/integrations/chirpstack/telemetry",),
    tenant_query="tenantId",
    tenant_secret=True,
    setup=(
        ("Applications → Integrations → HTTP → Event endpoint URL(s)", "{url}"),
        ("Applications → Integrations → HTTP → Headers → X-Webhook-Secret", "{secret}"),
    ),
    links=(
        "https://www.chirpstack.io/docs/chirpstack/integrations/http.html",
        "https://www.chirpstack.io/docs/chirpstack/integrations/events.html",
    ),
)
