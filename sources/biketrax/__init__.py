"""BikeTrax (PowUnity) webhooks: one Traccar event per POST, never sent again when it fails."""

from sources.biketrax.normalize import TRANSACTION_HEADER, read
from sources.contract import OnFailure, Source
from sources.credentials import whole_authorization
from sources.traccar_model import device_key, model_items

SOURCE = Source(
    name="biketrax",
    title="BikeTrax (PowUnity) webhook",
    on_failure=OnFailure.DROPS,
    split=model_items,
    read=read,
    version="2",
    credentials=(whole_authorization,),
    ordering_key=device_key,
    captured_headers=(TRANSACTION_HEADER,),
    setup=(
        ("Settings → Account → Attributes → webhookUrl", "{url}"),
        ("Settings → Account → Attributes → webhookPsk", "{secret}"),
    ),
    pull="sources.biketrax.pull",
    links=(
        "https://powunity.atlassian.net/wiki/spaces/BTAPI/pages/163348682/BikeTrax+API",
        "https://www.traccar.org/traccar-api/",
    ),
)
