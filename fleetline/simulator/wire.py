"""What every transport of the simulator has in common: what a sender learns, and how a message is exchanged."""

import ssl
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from fleetline.simulator.faults import Fate
from fleetline.simulator.profile import Outgoing

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "mqtt": 1883, "mqtts": 8883}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender learnt: a status, or 0 and why there is none.

    Transports without statuses take those of HTTP: 200 acknowledged, 4xx refused, 503 not now. `name` is what the
    protocol calls it, if anything else.
    """

    status: int = 0
    silence: str = ""
    took_s: float = 0.0
    name: str = ""

    @property
    def said(self) -> str:
        """What it is called in an account."""
        return self.name or str(self.status or self.silence)


class Wire(Protocol):
    """One door. Never raises for what the network does: that is an Answer."""

    async def exchange(self, outgoing: Outgoing, timeout_s: float, fate: Fate = Fate.NORMAL) -> Answer:
        """Send a message and return what the sender learns, `timeout_s` being its patience."""

    async def probe(self, outgoing: Outgoing) -> Answer:
        """Show the door the message's credential without leaving a record: 401 means that it is not known."""

    def close(self) -> None:
        """Close all connections."""


class Address(msgspec.Struct, frozen=True):
    """Where a server listens, out of its URL."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: str
    path: str


def address_of(url: str) -> Address:
    """Read a URL; its scheme decides the port it does not name, and TLS."""
    parts = urlsplit(url)
    secure = parts.scheme in {"https", "wss", "mqtts"}
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or _PORTS.get(parts.scheme, 80),
        tls=ssl.create_default_context() if secure else None,
        authority=parts.netloc.rpartition("@")[2],
        path=parts.path.rstrip("/"),
    )
