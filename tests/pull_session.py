"""A `PullSession` that keeps everything in a list: the same contract without a broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from schemas.times import now_us
from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, canonicalize
from sources.pulling import PULLED

TENANT = "tenant-a"


class MemorySession:
    """What one connector after another stored, and what came by webhook."""

    def __init__(self) -> None:
        self.records: list[Request] = []
        self.state = b""
        self.saved = 0
        self.counts: dict[str, int] = {}
        self.levels: dict[str, float] = {}
        self.beats = 0
        self.durable = asyncio.Event()
        """Clear it and nothing becomes durable."""
        self.durable.set()
        self._read = 0

    def restarted(self) -> "MemorySession":
        """Return the session of the next process: the topics stay, what was in memory goes."""
        other = MemorySession()
        other.records, other.state = self.records, self.state
        return other

    async def load(self) -> bytes:
        return self.state

    async def save(self, state: bytes) -> None:
        self.state = state
        self.saved += 1

    async def deliver(self, path: str, body: bytes) -> None:
        await self.durable.wait()
        self.records.append(self._request(body, path, PULLED))

    def webhook(self, body: Any) -> None:
        """Receive one over HTTP."""
        self.records.append(self._request(orjson.dumps(body), "/in/biketrax", "http"))

    def _request(self, body: bytes, path: str, transport: str) -> Request:
        return Request(
            body=body, path=path, transport=transport, received_us=now_us(), tenant_id=TENANT, credential_id="c"
        )

    async def received(self, since_us: int) -> AsyncIterator[Sequence[Request]]:
        end = len(self.records)
        yield [each for each in self.records[self._read : end] if each.received_us >= since_us]
        self._read = end

    def beat(self) -> None:
        self.beats += 1

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    def level(self, what: str, value: float) -> None:
        self.levels[what] = value

    # --- what is there -----------------------------------------------------------------------------------------------

    def pulled(self, part: str) -> list[int]:
        """List the server's numbers of the events or positions that were fetched, as often as they were."""
        return [
            item[part].get("id", 0)
            for item in map(_parsed, (each.body for each in self.records if each.transport == PULLED))
            if isinstance(item.get(part), dict) and (part == "event" or "event" not in item)
        ]

    def canonical_ids(self, kind: str) -> set[bytes]:
        """Return the ids of the canonical records of a type."""
        source = load_source("biketrax")
        made = [each for request in self.records for each in canonicalize(source, request)]
        assert all(isinstance(each, Canonical) for each in made), made
        return {each.record["id"] for each in made if isinstance(each, Canonical) and each.record["type"] == kind}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
