"""flespi's HTTP stream: one request in flight for the whole stream, the same batch again until exactly 200 (FL-a03, FL-a04)."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment

_LIMIT_MESSAGES = 1000
_CHANNEL = 1111


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a message; one in eight has no position, as of a device without a view of the sky."""
    message: dict[str, Any] = {
        "ident": device.imei,
        "timestamp": moment.time_us / 1e6,
        "server.timestamp": (moment.time_us + chance.randrange(50_000, 900_000)) / 1e6,
        "channel.id": _CHANNEL,
        "protocol.id": 14,
        "device.id": 70_000 + device.number,
        "device.name": device.name,
        "device.type.id": 123,
        "message.sequence": moment.n,
        "engine.ignition.status": moment.moving,
        "external.powersource.voltage": moment.battery_v,
        "vehicle.mileage": moment.odometer_m / 1000,
    }
    if moment.n % 8 != 7:
        message |= {
            "position.latitude": moment.latitude,
            "position.longitude": moment.longitude,
            "position.altitude": moment.altitude_m,
            "position.speed": moment.speed_kmh,
            "position.direction": moment.course_deg,
            "position.satellites": chance.randrange(7, 19),
            "position.valid": True,
        }
    return message


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post the accumulated messages of every ident."""
    headers = json_headers(authorization=f"Bearer {device.secret}")
    return Outgoing(path="/in/flespi", headers=headers, body=orjson.dumps(items))


PROFILE = Profile(
    source="flespi",
    behaviour=Behaviour(
        success=frozenset((200,)),
        timeout_s=30.0,  # not documented (FL-c03)
        on_error=Reaction.SAME,
        on_silence=Reaction.SAME,
        batch=_LIMIT_MESSAGES,
        one_stream=True,
        pause_s=1.0,
    ),
    write=write,
    request=request,
    credential="source",
    known_by=("imei",),
    says="the same batch again until exactly 200; nothing else is sent meanwhile",
)
