"""BikeTrax: one webhook per event, 200 or 201, and what fails is gone without a word (BT-a06, BT-a08)."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from fleetline.simulator.traccar_parts import device_part, position_part, stamp
from schemas.ids import new_id

_EVENTS_PER_DEVICE = 10_000_000
_EVERYDAY = ("deviceMoving", "alarm", "geofenceExit", "deviceOnline", "geofenceEnter", "deviceStopped", "deviceOffline")
_WITHOUT_POSITION = ("deviceOnline", "deviceOffline")


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write an event; the kinds take turns."""
    kind = _EVERYDAY[moment.n % len(_EVERYDAY)]
    number = device.number * _EVENTS_PER_DEVICE + moment.n + 1
    placed = kind not in _WITHOUT_POSITION
    event = {
        "id": number,
        "attributes": {"alarm": chance.choice(("vibration", "tow", "lowBattery"))} if kind == "alarm" else {},
        "deviceId": device.number,
        "type": kind,
        "serverTime": stamp(moment.time_us),
        "positionId": number if placed else 0,
    }
    if kind.startswith("geofence"):
        event["geofenceId"] = 4
    body = {"event": event, "device": device_part(device, moment)}
    return {**body, "position": position_part(device, moment, number)} if placed else body


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post one event; the PSK is the whole Authorization value (BT-a09)."""
    headers = json_headers(authorization=device.secret, x_powtxn=new_id())
    return Outgoing(path="/in/biketrax", headers=headers, body=orjson.dumps(items[0]))


PROFILE = Profile(
    source="biketrax",
    behaviour=Behaviour(
        success=frozenset((200, 201)),
        timeout_s=5.0,  # not documented; the shared client of Traccar reads for 5 s
        on_error=Reaction.DROP,
        on_silence=Reaction.DROP,
        one_stream=True,
        in_flight=32,
    ),
    write=write,
    request=request,
    credential="source",
    known_by=("imei",),
    says="drops it, and tells nobody",
)
