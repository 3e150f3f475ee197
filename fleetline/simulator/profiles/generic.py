"""A system of the customer's own at the generic webhook: three attempts, then it gives up."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import ANY_2XX, Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from schemas.times import format_us


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a reading: nested with a number for a time, or flat with a text (AC-a25, AC-a26)."""
    telemetry = {
        "temperature": round(chance.uniform(-5, 30), 2),
        "sequence": moment.n,
        "gps": {"lat": moment.latitude, "lng": moment.longitude, "alt": moment.altitude_m},
    }
    if moment.n % 2:
        return {"externalDeviceId": device.external_id, **telemetry, "timestamp": format_us(moment.time_us)}
    return {"externalDeviceId": device.external_id, "telemetry": telemetry, "ts": moment.time_us // 1000}


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post one reading with the tenant's secret."""
    return Outgoing(
        path="/api/v1/integrations/generic/telemetry",
        query=f"tenantId={device.tenant_id}",
        headers=json_headers(x_webhook_secret=device.secret),
        body=orjson.dumps(items[0]),
    )


PROFILE = Profile(
    source="generic",
    behaviour=Behaviour(
        success=ANY_2XX,
        timeout_s=10.0,  # the client's choice
        on_error=Reaction.DROP,
        on_silence=Reaction.DROP,
        one_stream=True,
        in_flight=16,
        tries=3,
        pause_s=2.0,
    ),
    write=write,
    request=request,
    credential="tenant",
    known_by=("external_id",),
    says="the client's choice; this one tries three times, then drops it",
)
