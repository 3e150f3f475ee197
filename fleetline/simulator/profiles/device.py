"""A device of the customer's own on the device API: single readings and batches, JSON and CBOR, kept until 200."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment

_CBOR_EVERY = 4
"""Every fourth device speaks CBOR (AC-a02)."""


def write(_: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a reading with its time in milliseconds: without one a repeated reading could not be told from a new one."""
    telemetry: dict[str, Any] = {
        "temperature": round(chance.uniform(18, 24), 2),
        "humidity": chance.randrange(40, 60),
        "ignition": moment.moving,
        "sequence": moment.n,
    }
    if moment.n % 3:
        telemetry |= {"latitude": moment.latitude, "longitude": moment.longitude, "speed_kmh": moment.speed_kmh}
    return {"ts": moment.time_us // 1000, "telemetry": telemetry}


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post one reading, or several to the batch endpoint; the token stands in the path."""
    path = f"/api/v1/{device.secret}/telemetry"
    body: dict[str, Any] = items[0] if len(items) == 1 else {"items": list(items)}
    if len(items) > 1:
        path += "/batch"
    if device.number % _CBOR_EVERY == 0:
        import cbor2

        return Outgoing(path=path, headers={"content-type": "application/cbor"}, body=cbor2.dumps(body))
    return Outgoing(path=path, headers=json_headers(), body=orjson.dumps(body))


PROFILE = Profile(
    source="device",
    behaviour=Behaviour(
        success=frozenset((200,)),
        timeout_s=10.0,  # the client's choice
        on_error=Reaction.SAME,
        on_silence=Reaction.SAME,
        batch=100,
        gather_s=5.0,
        pause_s=5.0,
    ),
    write=write,
    request=request,
    credential="device",
    known_by=(),
    says="the client's choice; this one keeps its buffer and sends the same batch again until 200",
)
