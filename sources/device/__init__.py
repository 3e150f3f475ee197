"""The device API: JSON or CBOR, one reading or a batch, straight from devices and gateways."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, header, path_param
from sources.device.normalize import (
    ATTRIBUTES_PATH,
    GATEWAY_PATH,
    LARGEST_BATCH,
    check,
    ordering_key,
    read,
    seal,
    split,
)
from sources.device_api import IDEMPOTENCY_KEY

TOKEN = "deviceToken"  # noqa: S105  the name of a path part

SOURCE = Source(
    name="device",
    title="Device API (Autoconnecto, ThingsBoard)",
    on_failure=OnFailure.DROPS,  # what a client of one's own does is unknown: assume the worst
    split=split,
    read=read,
    check=check,
    seal=seal,
    version="2",
    credentials=(path_param(TOKEN), header("x-device-token"), authorization("bearer")),
    ordering_key=ordering_key,
    paths=(f"/api/v1/{{{TOKEN}}}/telemetry", f"/api/v1/{{{TOKEN}}}/telemetry/batch"),
    mqtt_topics=(
        f"devices/{{{TOKEN}}}/telemetry",
        f"v1/devices/{{{TOKEN}}}/telemetry",
        "v1/devices/me/telemetry",
        GATEWAY_PATH,
        ATTRIBUTES_PATH,
    ),
    secret_path_parts=(TOKEN,),
    websocket=True,
    largest_batch=LARGEST_BATCH,
    captured_headers=(IDEMPOTENCY_KEY,),
    links=(
        "https://autoconnecto.in/docs/device-connectivity",
        "https://thingsboard.io/docs/reference/http-api/",
        "https://thingsboard.io/docs/reference/gateway-mqtt-api/",
    ),
)
