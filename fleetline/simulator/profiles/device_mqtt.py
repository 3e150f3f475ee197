"""Devices of the customer's own on MQTT, and a gateway: QoS 1 and 2, each message kept until it is acknowledged."""

import random
from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice
from fleetline.simulator.profiles import device as over_http
from fleetline.simulator.road import Moment

TOPICS = ("v1/devices/me/telemetry", "devices/{deviceToken}/telemetry", "v1/devices/{deviceToken}/telemetry")
"""A device's own (AC-a09), used in turn."""
GATEWAY_TOPIC = "v1/gateway/telemetry"
_QOS_2_EVERY = 4


def write(device: SimDevice, moment: Moment, chance: random.Random) -> dict[str, Any]:
    """Write a reading as over HTTP; a gateway's is about one of the devices behind it."""
    reading = over_http.write(device, moment, chance)
    return {**reading, "child": chance.choice(device.children)} if device.children else reading


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Publish one reading, an array of them, or ThingsBoard's gateway form."""
    sequence = items[0]["telemetry"]["sequence"]
    body: Any = items[0] if len(items) == 1 else list(items)
    if device.children:
        body = {}
        for item in items:
            body.setdefault(item["child"], []).append({"ts": item["ts"], "values": item["telemetry"]})
    return Outgoing(
        path=GATEWAY_TOPIC if device.children else TOPICS[sequence % len(TOPICS)],
        method="PUBLISH",
        headers={"authorization": f"Bearer {device.secret}"},
        body=orjson.dumps(body),
        qos=1 if sequence % _QOS_2_EVERY else 2,
        sender=device.id,
    )


PROFILE = Profile(
    source="device",
    transport="mqtt",
    behaviour=Behaviour(
        success=frozenset((200,)),
        acknowledgement="PUBACK, PUBCOMP",
        timeout_s=20.0,
        on_error=Reaction.SAME,
        on_silence=Reaction.SAME,
        batch=10,  # what gathered while there was no connection
        in_flight=8,
        pause_s=1.0,
        longest_pause_s=120.0,
    ),
    write=write,
    request=request,
    credential="device",
    known_by=(),
    says="keeps each message, connects again, and publishes it again (DUP); QoS 2 goes on where it was",
    children=3,
)
