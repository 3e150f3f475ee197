"""A delivery task as it stands in the topics, and what is sent of it."""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

import msgspec
import orjson

from schemas.ids import content_id, format_id

Outcome = Literal["delivered", "retry", "dead"]

_POSITION = (
    ("latitude", "latitude"),
    ("longitude", "longitude"),
    ("altitude_m", "altitude_m"),
    ("speed_kmh", "speed_kmh"),
    ("course_deg", "course_deg"),
    ("accuracy_m", "accuracy_m"),
    ("fix_at", "fix_at"),
    ("valid", "fix_valid"),
)
_NOT_SENT = frozenset((*(field for _, field in _POSITION), "tenant_id"))


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt as the record of `deliveries.attempts` tells it. Times in µs; `url` without user, password and query."""

    id: str
    task_id: str
    destination_id: str
    tenant_id: str
    event_id: str
    event_type: str
    url: str
    attempt: int
    outcome: Outcome
    status: int | None
    error: str | None
    latency_ms: float
    started_us: int
    response_excerpt: str
    txn_id: str


class Past(msgspec.Struct, kw_only=True):
    """What a task remembers of an attempt."""

    attempt: int
    status: int | None
    error: str | None
    latency_ms: float
    started_us: int


class Task(msgspec.Struct, kw_only=True):
    """One event for one destination. `id` is the idempotency key the receiver sees, the same on every attempt.

    `attempt` counts the attempts made, `charged` those that count against the budget, `parked` how often it was put
    off without one.
    """

    id: str
    destination_id: str
    tenant_id: str
    event: dict[str, Any]
    device: dict[str, Any] | None = None
    created_us: int = 0
    attempt: int = 0
    charged: int = 0
    parked: int = 0
    not_before_us: int = 0
    history: list[Past] = msgspec.field(default_factory=list)

    def body(self) -> bytes:
        """Return what is posted: `{"event", "device", "position"}`, the same bytes on every attempt."""
        event = self.event
        position = None
        if event.get("latitude") is not None and event.get("longitude") is not None:
            position = {name: event.get(field) for name, field in _POSITION}
        kept = {name: value for name, value in event.items() if name not in _NOT_SENT}
        return orjson.dumps({"event": kept, "device": self.device, "position": position})

    def txn_id(self) -> str:
        """Return the transaction id: a UUIDv7 of the task's time, with its id's digest for the random part (BT-b14).

        A function of the task alone: it is the same on every attempt, a crash in between included.
        """
        return _txn_id(self.id, self.created_us // 1000)

    def attempt_id(self, number: int) -> str:
        """Return the id of an attempt: told twice after a crash it is still one row."""
        return format_id(content_id(self.id.encode(), str(number).encode()))


@lru_cache(maxsize=4096)
def _txn_id(task_id: str, created_ms: int) -> str:
    noise = int.from_bytes(blake2b(task_id.encode(), digest_size=10).digest())
    stamp = created_ms & 0xFFFF_FFFF_FFFF
    number = (stamp << 80) | (0x7 << 76) | ((noise >> 68) << 64) | (0b10 << 62) | (noise & 0x3FFF_FFFF_FFFF_FFFF)
    return format_id(number.to_bytes(16))


_decoder = msgspec.json.Decoder(Task)
_encoder = msgspec.json.Encoder()


def read_task(value: bytes | None) -> Task:
    """Read a task. Raises ValueError (msgspec's errors are some) when it is none."""
    if not value:
        raise ValueError("empty record")
    return _decoder.decode(value)


def write(record: Task | Attempt | dict[str, Any]) -> bytes:
    """Write a record of one of the delivery topics."""
    return _encoder.encode(record)
