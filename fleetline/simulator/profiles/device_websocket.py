"""A device of the customer's own on the device WebSocket: a few frames on the way, each kept until its ack."""

from collections.abc import Sequence
from typing import Any

import orjson

from fleetline.simulator.profile import Behaviour, Outgoing, Profile, Reaction, SimDevice
from fleetline.simulator.profiles.device import write


def request(device: SimDevice, items: Sequence[Any]) -> Outgoing:
    """Send one reading in a frame."""
    return Outgoing(
        path="/",
        method="SEND",
        headers={"authorization": f"Bearer {device.secret}"},
        body=orjson.dumps(items[0]),
        sender=device.id,
    )


PROFILE = Profile(
    source="device",
    transport="websocket",
    behaviour=Behaviour(
        success=frozenset((200,)),
        acknowledgement="ack",
        timeout_s=10.0,
        on_error=Reaction.SAME,
        on_silence=Reaction.SAME,
        in_flight=4,
        pause_s=1.0,
        longest_pause_s=60.0,
    ),
    write=write,
    request=request,
    credential="device",
    known_by=(),
    says="keeps each frame, connects again after an error 503 or the end, and sends it again",
)
