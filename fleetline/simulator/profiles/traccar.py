"""A Traccar server that forwards: positions by POST or, the default there, by GET; events by POST; no retry by default."""

import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from fleetline.simulator.profile import ANY_2XX, Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from fleetline.simulator.traccar_parts import device_part, position_part, stamp

_BY_URL_EVERY = 3
"""Every third device's server forwards by URL."""
_EVENT_EVERY = 12
_EVENTS_PER_DEVICE = 10_000_000


def write(device: SimDevice, moment: Moment, _: random.Random) -> dict[str, Any]:
    """Write a position; now and then an event with its position."""
    item = {"position": position_part(device, moment), "device": device_part(device, moment)}
    if moment.n % _EVENT_EVERY == _EVENT_EVERY - 1:
        item["event"] = {
            "id": device.number * _EVENTS_PER_DEVICE + moment.n,
            "attributes": {},
            "deviceId": device.number,
            "type": "ignitionOn" if moment.moving else "ignitionOff",
            "eventTime": stamp(moment.time_us),
            "positionId": 0,
            "geofenceId": 0,
            "maintenanceId": 0,
        }
    return item


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Forward one position or event; events have no URL form."""
    item = items[0]
    if device.number % _BY_URL_EVERY or "event" in item:
        headers = json_headers(authorization=f"Bearer {device.secret}")
        return Outgoing(path="/in/traccar", headers=headers, body=orjson.dumps(item))
    position = item["position"]
    query = {
        "id": device.imei,
        "deviceId": device.number,
        "name": device.name,
        "fixTime": position["fixTime"],
        "lat": position["latitude"],
        "lon": position["longitude"],
        "speed": position["speed"],
        "course": position["course"],
        "altitude": position["altitude"],
        "accuracy": position["accuracy"],
        "valid": "true",
        "attributes": orjson.dumps(position["attributes"]).decode(),
        "token": device.secret,
    }
    return Outgoing(method="GET", path="/in/traccar", query=urlencode(query), headers={})


PROFILE = Profile(
    source="traccar",
    behaviour=Behaviour(
        success=ANY_2XX,
        timeout_s=5.0,
        on_error=Reaction.DROP,
        on_silence=Reaction.DROP,
        one_stream=True,
        in_flight=32,
    ),
    write=write,
    request=request,
    credential="source",
    known_by=("imei",),
    says="drops it (forward.retry.enable is off by default)",
)
