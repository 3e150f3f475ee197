"""The simulator's own account of one sender: what it made, what it sent, and what it was acknowledged."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fleetline.simulator.expected import Expected
from fleetline.simulator.wire import Answer


@dataclass(slots=True)
class Account:
    """Readings are counted as they are made, records by their id as they are sent and acknowledged."""

    name: str
    """The sender's."""
    source: str
    made: int = 0
    """Readings made."""
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """Statuses, and kinds of silence."""
    transmissions: Counter[bytes] = field(default_factory=Counter)
    """How often each record's whole body went out."""
    cut: int = 0
    """Requests broken off in the middle of the body."""
    acknowledged: set[bytes] = field(default_factory=set)
    events: set[bytes] = field(default_factory=set)
    """Acknowledged records of which an event is made."""
    dropped: int = 0
    """Readings the sender gave up, as it really would."""
    held: int = 0
    """Readings still in the sender's buffer at the end."""
    repeats: int = 0
    """Acknowledged batches sent once more on purpose."""
    latencies_s: list[float] = field(default_factory=list)

    def sending(self, records: Iterable[Expected]) -> None:
        """Note a request before its last byte is out: from now on its records may be stored."""
        self.transmissions.update([record.id for record in records])

    def answered(self, answer: Answer) -> None:
        """Note what the sender learnt of a request."""
        self.requests += 1
        self.answers[answer.said] += 1

    def acknowledge(self, records: Iterable[Expected], answer: Answer) -> None:
        """Note a success as this sender understands it."""
        self.latencies_s.append(answer.took_s)
        for record in records:
            self.acknowledged.add(record.id)
            if record.is_event:
                self.events.add(record.id)

    def latency_ms(self, share: float) -> float | None:
        """Return the latency that `share` of the acknowledged requests did not exceed."""
        if not self.latencies_s:
            return None
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
