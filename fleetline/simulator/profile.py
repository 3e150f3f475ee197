"""What a sender profile declares: how it writes a reading, how it asks to be let in, and what it does with an answer."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from fleetline.simulator.road import Moment

Transport = Literal["http", "mqtt", "websocket"]


class Reaction(Enum):
    """What becomes of a batch that was not acknowledged."""

    SAME = "sends the same batch again, nothing else in between"
    REBATCH = "keeps the readings and sends them again together with newer ones"
    OWN_QUEUE = "moves the batch to a retry queue of its own"
    DROP = "drops it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a sender delivers (sources.md 0.1). Times are the sender's own, in seconds."""

    success: frozenset[int]
    """Statuses; a transport that has none gives 200 for its acknowledgement."""
    timeout_s: float
    on_error: Reaction
    """After an answer that is no success."""
    on_silence: Reaction
    """After a timeout or a broken connection."""
    batch: int = 1
    """Most readings in one request."""
    one_stream: bool = False
    """Whether one queue carries the whole fleet; otherwise every device has its own."""
    in_flight: int = 1
    """Requests at a time per queue."""
    gather_s: float = 0.0
    """How long it gathers readings before it sends a batch that is not full."""
    pause_s: float = 1.0
    """Between two attempts."""
    longest_pause_s: float = 0.0
    """With SAME: pauses double up to this; otherwise they stay the same."""
    tries: int = 1
    """With DROP: attempts in all. With OWN_QUEUE: attempts before the batch goes to the fail queue."""
    acknowledgement: str = ""
    """What a success is called where it is no status."""
    queue_limit: int = 0
    """With OWN_QUEUE: at so many retry queues no new data is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimDevice:
    """A simulated device: who it is to Fleetline and to its sender, and the secret its sender shows."""

    source: str
    number: int
    """From 1, within the run: what its ids are made of."""
    tenant_id: str
    id: str
    name: str
    imei: str
    serial: str
    dev_eui: str
    external_id: str
    secret: str = field(repr=False)
    credential_id: str
    credential_device_id: str
    """The device the credential belongs to; empty when it speaks for many."""
    transport: Transport = "http"
    children: tuple[str, ...] = ()
    """Names of the devices behind this one, which is a gateway then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as the sender makes it. Header names are lower-case; `gzip` compresses the body on the wire.

    For MQTT `path` is the topic, with `{deviceToken}` where the token stands. Where a device keeps its connection, `sender`
    tells whose it is.
    """

    path: str
    body: bytes = b""
    method: str = "POST"
    query: str = ""
    headers: Mapping[str, str] = field(repr=False)
    gzip: bool = False
    qos: int = 1
    sender: str = ""

    @property
    def token(self) -> str:
        """The bearer token, nothing when there is none."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


Write = Callable[[SimDevice, Moment, random.Random], Any]
"""Writes one reading in the sender's own form. Each call's reading is another one: its sequence number and time differ."""
Request = Callable[[SimDevice, Sequence[Any]], Outgoing]
"""Puts readings of one queue into a request; `device` is the first one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A sender. `credential`: one per device, one for the source, or the tenant's integration secret."""

    source: str
    transport: Transport = "http"
    behaviour: Behaviour
    write: Write
    request: Request
    credential: Literal["device", "source", "tenant"]
    known_by: tuple[Literal["external_id", "dev_eui", "imei", "serial"], ...]
    """By which of its ids the registry must know a device."""
    says: str
    """What it does with what was not acknowledged, in a few words for people."""
    children: int = 0
    """With any, a gateway is played besides, which has so many devices behind it."""

    @property
    def name(self) -> str:
        """What a person calls it: the source, and the transport where it is not HTTP."""
        return self.source if self.transport == "http" else f"{self.source}-{self.transport}"


def json_headers(**more: str) -> dict[str, str]:
    """Return the headers of a JSON body; `_` in a name stands for `-`."""
    return {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in more.items()}}


ANY_2XX = frozenset(range(200, 300))
