"""The Things Stack, open source: one message per request, given up after 5 s, tried once (AC-a37)."""

import base64
import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import ANY_2XX, Behaviour, Outgoing, Profile, Reaction, SimDevice, json_headers
from fleetline.simulator.road import Moment
from schemas.times import format_us

_JOIN_EVERY, _SOLVED_EVERY = 25, 10


def _random_id(chance: random.Random) -> str:
    return "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=26))


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a message: mostly decoded uplinks, now and then a join or a position solved by the network."""
    time = f"{format_us(moment.time_us)[:-1]}{chance.randrange(1000):03}Z"
    message: dict[str, Any] = {
        "end_device_ids": {
            "device_id": device.external_id,
            "application_ids": {"application_id": "fleet"},
            "dev_eui": device.dev_eui.upper(),
            "join_eui": "4200000000000000",
            "dev_addr": f"{device.number:08X}",
        },
        "correlation_ids": [f"gs:uplink:{_random_id(chance)}", f"as:up:{_random_id(chance)}"],
        "received_at": time,
    }
    if moment.n % _JOIN_EVERY == 0:
        message["join_accept"] = {"session_key_id": _session(device), "received_at": time}
    elif moment.n % _SOLVED_EVERY == 0:
        where = {"latitude": moment.latitude, "longitude": moment.longitude, "accuracy": 20}
        message["location_solved"] = {"service": "lora-cloud", "location": where}
    else:
        message["uplink_message"] = _uplink(device, moment, chance, time)
    return message


def _session(device: SimDevice) -> str:
    return base64.b64encode(device.number.to_bytes(16)).decode()


def _uplink(device: SimDevice, moment: Moment, chance: random.Random, time: str) -> dict[str, Any]:
    return {
        "session_key_id": _session(device),
        "f_port": 15,
        "f_cnt": moment.n,
        "frm_payload": base64.b64encode(chance.randbytes(9)).decode(),
        "decoded_payload": {"temperature": round(chance.uniform(-10, 35), 1), "batteryVoltage": 3.61},
        "rx_metadata": [
            {
                "gateway_ids": {"gateway_id": "eui-0242020000247803", "eui": "0242020000247803"},
                "rssi": -chance.randrange(35, 115),
                "snr": round(chance.uniform(-12, 11), 1),
                "location": {"latitude": 47.0, "longitude": 10.0, "source": "SOURCE_REGISTRY"},
            }
        ],
        "settings": {
            "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7, "coding_rate": "4/5"}},
            "frequency": "868500000",
            "time": time,
        },
        "received_at": time,
        "consumed_airtime": "0.056576s",
        "locations": {
            "frm-payload": {"latitude": moment.latitude, "longitude": moment.longitude, "source": "SOURCE_GPS"}
        },
    }


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Post one message."""
    headers = json_headers(x_webhook_secret=device.secret, x_tts_domain="eu1.cloud.thethings.network")
    return Outgoing(
        path="/api/v1/integrations/ttn/telemetry",
        query=f"tenantId={device.tenant_id}",
        headers=headers,
        body=orjson.dumps(items[0]),
    )


PROFILE = Profile(
    source="ttn",
    behaviour=Behaviour(
        success=ANY_2XX,
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
    says="drops it: one attempt (the Cloud edition makes seven)",
)
