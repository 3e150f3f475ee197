"""The Things Stack's webhooks: one message per request, of eleven kinds; given up after 5 s and, open source, never repeated."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, header
from sources.ttn.normalize import ordering_key, read, split

SOURCE = Source(
    name="ttn",
    title="The Things Stack webhooks (v3)",
    on_failure=OnFailure.DROPS,
    split=split,
    read=read,
    version="2",
    credentials=(header("x-webhook-secret"), authorization("bearer")),
    ordering_key=ordering_key,
    paths=("/api/v1/integrations/ttn/telemetry",),
    path_part="device",
    captured_headers=("x-tts-domain", "x-downlink-push", "x-downlink-replace"),  # never the API key (AC-a36)
    tenant_query="tenantId",
    tenant_secret=True,
    setup=(
        ("Integrations → Webhooks → Base URL", "{url}"),
        ("Integrations → Webhooks → Additional headers → X-Webhook-Secret", "{secret}"),
    ),
    links=(
        "https://www.thethingsindustries.com/docs/integrations/webhooks/",
        "https://www.thethingsindustries.com/docs/integrations/data-formats/",
    ),
)
