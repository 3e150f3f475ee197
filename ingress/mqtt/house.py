"""What a session stands between: its transport, and the server it belongs to."""

from collections.abc import Coroutine
from enum import IntEnum, IntFlag
from typing import Any, Protocol

from ingress.mqtt.gate import Gate
from ingress.mqtt.metrics import MqttCounts
from ingress.mqtt.packets import Reason


class Link(Protocol):
    """What a session needs of its transport: asyncio's and uvloop's have it."""

    def write(self, data: bytes) -> None:
        """Send."""

    def pause_reading(self) -> None:
        """Take no more from the socket."""

    def resume_reading(self) -> None:
        """Go on."""

    def close(self) -> None:
        """End when everything is sent."""

    def abort(self) -> None:
        """End now."""


class Seated(Protocol):
    """A session, as the house sees it."""

    def go_on(self) -> None:
        """Handle what is there, as far as the limits allow."""

    def close(self, reason: Reason) -> None:
        """End the connection from our side."""


class House(Protocol):
    """What all sessions of one server share."""

    gate: Gate
    counts: MqttCounts
    largest_packet: int

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Run a coroutine to its end, whatever becomes of the connection."""

    def seat(self, session: Seated, key: tuple[str, str]) -> None:
        """Note that a client is here; another connection of the same client must leave."""

    def has_room(self) -> bool:
        """Tell whether more may wait for Kafka. If not, `wait_for_room` calls `go_on` later."""

    def wait_for_room(self, session: Seated) -> None:
        """See `has_room`."""

    def carry(self, difference: int) -> None:
        """Count bytes that wait for Kafka."""

    def hold(self, difference: int) -> bool:
        """Count bytes of packets that are not complete; False when it is too much."""


class Phase(IntEnum):
    """Where a connection stands."""

    NEW = 0
    OPEN = 1
    CLOSING = 2
    """Nothing more is taken from the client."""
    GONE = 3
    """The socket is closed; complete packets that came before are still stored."""


class Hold(IntFlag):
    """Why nothing is taken from the client for now."""

    NONE = 0
    RATE = 1
    """It is over its rate."""
    UNWRITABLE = 2
    """It does not take its acknowledgements."""
    GIVEN_UP = 4
    """A publish could not be made durable: nothing is acknowledged any more, and the connection ends."""
    STOPPING = 8
    """The server is about to stop."""
