"""The acknowledgements a connection owes, in the order its publishes came."""

from ingress.mqtt.packets import PUBREC, Reason, acknowledgement

WAITING = -1
CLOSES = 0x100
"""Added to a reason: the publish can never be acknowledged, the connection must end."""


class Pending:
    """One acknowledgement that is owed. `reason` says how it was settled."""

    __slots__ = ("kind", "packet_id", "reason")

    def __init__(self, kind: int, packet_id: int, reason: int = WAITING) -> None:
        self.kind = kind
        self.packet_id = packet_id
        self.reason = reason


class Owed:
    """PUBACK and PUBREC in order of receipt (MQTT-4.6.0-2, -3), and the QoS 2 publishes that wait for their PUBREL."""

    __slots__ = ("_queue", "_unreleased")

    def __init__(self) -> None:
        self._queue: list[Pending] = []
        self._unreleased: set[int] | None = None

    def add(self, kind: int, packet_id: int, reason: int = WAITING) -> Pending:
        """Owe one more."""
        pending = Pending(kind, packet_id, reason)
        self._queue.append(pending)
        return pending

    def is_stored(self, packet_id: int) -> bool:
        """Tell whether a QoS 2 publish with this identifier is stored and not released yet."""
        return self._unreleased is not None and packet_id in self._unreleased

    def is_being_stored(self, packet_id: int) -> bool:
        """Tell whether a QoS 2 publish with this identifier is on its way."""
        return any(each.packet_id == packet_id and each.kind == PUBREC for each in self._queue)

    def release(self, packet_id: int) -> bool:
        """Forget a QoS 2 publish; False when there was none."""
        if self._unreleased is None or packet_id not in self._unreleased:
            return False
        self._unreleased.discard(packet_id)
        return True

    @property
    def unreleased(self) -> int:
        """How many QoS 2 publishes wait for their PUBREL."""
        return 0 if self._unreleased is None else len(self._unreleased)

    def clear(self) -> None:
        """Owe nothing any more."""
        self._queue.clear()

    def due(self) -> tuple[bytes, Reason | None]:
        """Take what may be sent now; with a reason, the connection must end after it."""
        answers: list[bytes] = []
        queue = self._queue
        while queue and queue[0].reason != WAITING:
            first = queue.pop(0)
            if first.reason >= CLOSES:
                queue.clear()
                return b"".join(answers), Reason(first.reason - CLOSES)
            if first.kind == PUBREC and first.reason < Reason.UNSPECIFIED:
                if self._unreleased is None:
                    self._unreleased = set()
                self._unreleased.add(first.packet_id)
            answers.append(acknowledgement(first.kind, first.packet_id, first.reason))
        return answers[0] if len(answers) == 1 else b"".join(answers), None
