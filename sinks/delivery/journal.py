"""The records the worker writes: attempts, retries and dead letters."""

import base64
from typing import Any

import msgspec

from schemas.times import now_us
from schemas.topics import Topics
from sinks.delivery.outbox import Record
from sinks.delivery.policy import Result, Verdict, tier_for
from sinks.delivery.task import Attempt, Task, write


class Journal:
    """Makes records for the outbox; the key is the destination id."""

    def __init__(self, topics: Topics) -> None:
        self._attempts = topics.delivery_attempts
        self._dead = topics.deliveries_dead
        self._tier = topics.deliveries_retry

    def attempt(self, task: Task, result: Result, verdict: Verdict, url: str) -> Record:
        """Tell of an attempt, whose number is `task.attempt`."""
        told = Attempt(
            id=task.attempt_id(task.attempt),
            task_id=task.id,
            destination_id=task.destination_id,
            tenant_id=task.tenant_id,
            event_id=_text(task.event.get("id")),
            event_type=_text(task.event.get("type")),
            url=url,
            attempt=task.attempt,
            outcome=verdict.outcome,
            status=result.status,
            error=result.error,
            latency_ms=round(result.latency_s * 1000, 3),
            started_us=result.started_us,
            response_excerpt=result.excerpt,
            txn_id=task.txn_id(),
        )
        return self._attempts, task.destination_id, write(told)

    def retry(self, task: Task, delay: float, parked: int = 0) -> Record:
        """Put a task into the tier that fits a delay in seconds."""
        return self._tier(tier_for(delay, parked)), task.destination_id, write(task)

    def dead(self, task: Task, reason: str, detail: str | None) -> Record:
        """Give a task up; every attempt's outcome is in `attempts`."""
        letter: dict[str, Any] = {
            "reason": reason,
            "detail": detail,
            "dead_us": now_us(),
            "attempts": task.history,
            "task": msgspec.structs.replace(task, history=[]),
        }
        return self._dead, task.destination_id, write(letter)

    def unreadable(self, key: bytes | None, value: bytes | None) -> Record:
        """Keep a record that is no task, byte for byte."""
        letter = {
            "reason": "unreadable",
            "detail": "not a delivery task",
            "dead_us": now_us(),
            "attempts": [],
            "task": None,
            "original_base64": base64.b64encode(value or b"").decode(),
        }
        return self._dead, (key or b"").decode("utf-8", "replace"), write(letter)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
