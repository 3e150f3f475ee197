"""An AutoPi device: batches of 100, deleted on any 2xx; HTTP errors go to retry queues of their own (AP-a13, AP-a14, AP-a26)."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from fleetline.simulator.profile import ANY_2XX, Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment

_GZIP_EVERY = 3
"""Every third device has compression configured (AP-a18)."""


def _position(moment: Moment, chance: random.Random) -> dict[str, Any]:
    return {
        "@t": "track.pos",
        "utc": _time(moment.time_us)[11:19],
        "loc": {"lat": moment.latitude, "lon": moment.longitude},
        "alt": moment.altitude_m,
        "sog": moment.speed_kmh,
        "cog": moment.course_deg,
        "nsat": chance.randrange(6, 14),
    }


def _no_fix(moment: Moment, _: random.Random) -> dict[str, Any]:
    return {"@t": "track.pos", "utc": _time(moment.time_us)[11:19], "nsat": 0, "sog": 0, "cog": 0}


def _battery(moment: Moment, _: random.Random) -> dict[str, Any]:
    return {"@t": "obd.bat", "voltage": moment.battery_v, "level": 100, "state": "charging"}


def _speed(moment: Moment, _: random.Random) -> dict[str, Any]:
    return {"@t": "obd.speed", "value": round(moment.speed_kmh), "unit": "kph"}


def _rpm(moment: Moment, chance: random.Random) -> dict[str, Any]:
    return {"@t": "obd.rpm", "value": round(800 + 25 * moment.speed_kmh + chance.uniform(0, 50), 2), "unit": "rpm"}


def _acceleration(_: Moment, chance: random.Random) -> dict[str, Any]:
    return {"@t": "acc.xyz", **{axis: round(chance.uniform(-0.3, 0.3), 3) for axis in "xy"}, "z": 0.98}


def _engine(moment: Moment, _: random.Random) -> dict[str, Any]:
    return {"@t": "event.vehicle.engine", "@tag": f"vehicle/engine/{'running' if moment.moving else 'stopped'}"}


def _usage(moment: Moment, _: random.Random) -> dict[str, Any]:
    return {"@t": "ec2x.data_usage", "sent": 2695 * (moment.n + 1), "recv": 4742 * (moment.n + 1)}


_EVERYDAY: tuple[Callable[[Moment, random.Random], dict[str, Any]], ...] = (
    _position, _position, _speed, _position, _rpm, _position, _battery, _position, _acceleration, _position, _engine, _no_fix,
    _usage,
)  # fmt: skip


def _time(time_us: int) -> str:
    """Print as the device's code does: without a zone, and without a fraction when it is zero (AP-a23)."""
    seconds, micros = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros, tzinfo=None).isoformat()


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write an item of one of the kinds a driving vehicle reports; mostly positions."""
    kind = _EVERYDAY[(moment.n + device.number) % len(_EVERYDAY)]
    return {**kind(moment, chance), "@ts": _time(moment.time_us)}


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Upload a batch, oldest first; the guide's scheme and the code's, device by device (AP-c01)."""
    scheme = "Bearer" if device.number % 2 else "token"
    headers = json_headers(authorization=f"{scheme} {device.secret}", unit_id=device.external_id)
    gzip = device.number % _GZIP_EVERY == 0
    return Outgoing(path="/in/autopi", headers=headers, body=orjson.dumps(items), gzip=gzip)


PROFILE = Profile(
    source="autopi",
    behaviour=Behaviour(
        success=ANY_2XX,
        timeout_s=10.0,
        on_error=Reaction.OWN_QUEUE,
        on_silence=Reaction.REBATCH,
        batch=100,
        gather_s=10.0,
        pause_s=10.0,
        tries=10,
        queue_limit=10,
    ),
    write=write,
    request=request,
    credential="device",
    known_by=("external_id",),
    says="HTTP error: a retry queue of its own, 10 tries, then the fail queue; no answer: again, topped up with newer items",
)
