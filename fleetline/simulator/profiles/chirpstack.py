"""ChirpStack v4: one event per request, given up after 5 s and never repeated (AC-a37)."""

import base64
import random
import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from schemas.times import format_us

_STATUS_EVERY, _JOIN_EVERY = 10, 25
_GATEWAYS = ("6a7e111a10000000", "6a7e111a10000001")


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write an event: mostly decoded uplinks, now and then a status or a join."""
    kind = "join" if moment.n % _JOIN_EVERY == 0 else "status" if moment.n % _STATUS_EVERY == 9 else "up"
    time = f"{format_us(moment.time_us)[:-1]}{chance.randrange(1000):03}+00:00"
    event: dict[str, Any] = {
        "deduplicationId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "time": time,
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "applicationId": "ca739e26-7b67-4f14-b69e-d568c22a5a75",
            "applicationName": "Chirpstack application",
            "deviceName": device.name,
            "devEui": device.dev_eui,
            "tags": {"site": "north"},
        },
    }
    if kind == "join":
        event |= {"devAddr": f"{device.number:08x}", "regionConfigId": "eu868"}
    elif kind == "status":
        event |= {"margin": 10, "externalPowerSource": False, "batteryLevelUnavailable": False, "batteryLevel": 75.3}
    else:
        event |= _uplink(moment, chance, time)
    return {"kind": kind, "event": event}


def _uplink(moment: Moment, chance: random.Random, time: str) -> dict[str, Any]:
    heard = _GATEWAYS[: chance.randrange(1, 3)]
    return {
        "devAddr": "20000001",
        "adr": True,
        "dr": 5,
        "fCnt": moment.n,
        "fPort": 85,
        "confirmed": False,
        "data": base64.b64encode(chance.randbytes(9)).decode(),
        "rxInfo": [
            {
                "gatewayId": gateway,
                "nsTime": time,
                "rssi": -chance.randrange(35, 115),
                "snr": round(chance.uniform(-12, 11), 1),
                "location": {"latitude": 47.0, "longitude": 10.0},
            }
            for gateway in heard
        ],
        "txInfo": {"frequency": 868500000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7}}},
        "object": {
            "temperature": round(chance.uniform(-10, 35), 1),
            "batteryVoltage": 3.61,
            "gps": {"latitude": moment.latitude, "longitude": moment.longitude},
        },
    }


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post one event; the query names its kind."""
    item = items[0]
    return Outgoing(
        path="/api/v1/integrations/chirpstack/telemetry",
        query=f"tenantId={device.tenant_id}&event={item['kind']}",
        headers=json_headers(x_webhook_secret=device.secret),
        body=orjson.dumps(item["event"]),
    )


PROFILE = Profile(
    source="chirpstack",
    behaviour=Behaviour(
        success=frozenset(range(200, 400)),  # it only looks for 4xx and 5xx
        timeout_s=5.0,
        on_error=Reaction.DROP,
        on_silence=Reaction.DROP,
        one_stream=True,
        in_flight=64,
    ),
    write=write,
    request=request,
    credential="tenant",
    known_by=("dev_eui",),
    says="logs a warning and drops it",
)
