"""The faults a simulation can have, and which request meets which."""

import random
from enum import Enum

from fleetline.errors import FleetlineError


class Fault(Enum):
    """What can go wrong; the value is what a person types."""

    LOST_ACK = "lost-ack"
    DUPLICATE = "duplicate"
    BROKER_RESTART = "broker-restart"
    SLOW = "slow"
    REORDER = "reorder"
    DISCONNECT = "disconnect"


MEANING = {
    Fault.LOST_ACK: "the whole body is sent and the answer never arrives; the sender then does what it really does",
    Fault.DUPLICATE: "an acknowledged batch is sent once more, some time later",
    Fault.BROKER_RESTART: "the local Kafka is killed and started again (only with a stack of our own)",
    Fault.SLOW: "the body trickles in over about a second",
    Fault.REORDER: "a reading is held back and sent after newer ones",
    Fault.DISCONNECT: "the connection breaks in the middle of the body: nothing of it may be stored",
}


class Fate(Enum):
    """What happens to one request on the wire."""

    NORMAL = "normal"
    DEAF = "answer not heard"
    GONE = "gone before the answer"
    SLOW = "slow"
    CUT = "cut in the body"


def parse_faults(text: str) -> frozenset[Fault]:
    """Read a comma list. Raises FleetlineError that names the known ones."""
    known = {fault.value: fault for fault in Fault}
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for each in wanted:
        if each not in known:
            raise FleetlineError(f"no fault {each!r}; there are: {', '.join(known)}")
    return frozenset(known[each] for each in wanted)


class Faults:
    """Draws faults, each with the same share, from a seeded generator."""

    def __init__(self, chosen: frozenset[Fault], share: float, chance: random.Random) -> None:
        self.chosen = chosen
        self._share = share
        self._chance = chance

    def fate(self) -> Fate:
        """Draw what happens to a request."""
        if self._strikes(Fault.DISCONNECT):
            return Fate.CUT
        if self._strikes(Fault.LOST_ACK):  # half of them before the server could answer, half after
            return self._chance.choice((Fate.GONE, Fate.DEAF))
        return Fate.SLOW if self._strikes(Fault.SLOW) else Fate.NORMAL

    def repeats_in_s(self) -> float | None:
        """Draw whether an acknowledged batch is sent again, and when."""
        return self._chance.uniform(0.3, 3.0) if self._strikes(Fault.DUPLICATE) else None

    def held_back_s(self) -> float | None:
        """Draw whether a reading is held back, and for how long."""
        return self._chance.uniform(0.5, 2.0) if self._strikes(Fault.REORDER) else None

    def _strikes(self, fault: Fault) -> bool:
        return fault in self.chosen and self._chance.random() < self._share
