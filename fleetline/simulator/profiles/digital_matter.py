"""Digital Matter's connector: one device and its records per POST; they stay on the device until 200 (DM-a02)."""

import base64
import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from schemas.times import format_us

_CM_S_PER_KMH = 100 / 3.6
_REASONS = {0: 1, 19: 2}
"""Of twenty records the first starts a trip and the last ends it; the others say that time went by."""


def _utc(time_us: int) -> str:
    return format_us(time_us)[:19].replace("T", " ")


def write(_: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a record: position, inputs, analogues; every tenth is a heartbeat without a position (DM-a13)."""
    fields: list[dict[str, Any]] = [
        {"FType": 2, "DIn": int(moment.moving), "DOut": 0, "DevStat": 1},
        {
            "FType": 6,
            "AnalogueData": {"1": chance.randrange(3900, 4200), "2": round(moment.battery_v * 100), "3": 2150},
        },
    ]
    heartbeat = moment.n % 10 == 9
    if not heartbeat:
        gps = {
            "FType": 0,
            "GpsUTC": _utc(moment.time_us),
            "Lat": moment.latitude,
            "Long": moment.longitude,
            "Alt": round(moment.altitude_m),
            "Spd": round(moment.speed_kmh * _CM_S_PER_KMH),
            "SpdAcc": 2,
            "Head": round(moment.course_deg / 2),
            "PDOP": 17,
            "PosAcc": 10,
            "GpsStat": 3,
        }
        fields.insert(moment.n % 2, gps)  # fields come in any order
    reason = 11 if heartbeat else _REASONS.get(moment.n % 20, 3)
    return {"SeqNo": moment.n + 1, "Reason": reason, "DateUTC": _utc(moment.time_us), "Fields": fields}


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post the records of one device, its serial number in the path, Basic authentication, one custom header."""
    basic = base64.b64encode(f"fleetline:{device.secret}".encode()).decode()
    body = {
        "SerNo": int(device.serial),
        "IMEI": device.imei,
        "ICCID": f"89610180{device.imei[-12:]}",
        "ProdId": 97,
        "FW": "97.2.1.11",
        "Records": list(items),
    }
    headers = json_headers(authorization=f"Basic {basic}", x_custom1=f"PLANT-{device.number:04}")
    return Outgoing(path=f"/in/digital-matter/{device.serial}", headers=headers, body=orjson.dumps(body))


PROFILE = Profile(
    source="digital_matter",
    behaviour=Behaviour(
        success=frozenset((200,)),
        timeout_s=30.0,  # not documented
        on_error=Reaction.REBATCH,
        on_silence=Reaction.REBATCH,
        batch=50,
        gather_s=60.0,
        pause_s=60.0,
    ),
    write=write,
    request=request,
    credential="source",
    known_by=("serial",),
    says="the records stay on the device and come again, with newer ones, until 200",
)
