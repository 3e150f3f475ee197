"""Sends the plan, waits until every record has arrived, and closes the account."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from clickhouse_connect.driver.client import Client

from fleetline.demo.plan import Plan, Posting
from fleetline.demo.receiver import Receiver

ARRIVAL_TIMEOUT_S = 60.0
_POLL_S = 0.25

Progress = Callable[[int, int], None]
"""Told (done, of how many)."""


@dataclass(slots=True)
class Account:
    """What was promised and what was found, line by line: (what, promised, found)."""

    lines: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        """Tell whether everything promised was found, and nothing else."""
        return all(promised == found for _, promised, found in self.lines)


async def post_all(plan: Plan, ingress_url: str, progress: Progress) -> list[tuple[Posting, int]]:
    """Send every posting, one after the other, and return its status."""
    results: list[tuple[Posting, int]] = []
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        for posting in plan.postings:
            url = f"{ingress_url}{posting.path}" + (f"?{posting.query}" if posting.query else "")
            async with session.request(
                posting.sample.request.method,
                url,
                data=posting.sample.request.body_bytes(),
                headers=posting.headers,
                allow_redirects=False,
            ) as response:
                results.append((posting, response.status))
            progress(len(results), len(plan.postings))
    return results


async def wait_accepted(plan: Plan, ingress_url: str) -> None:
    """Wait until the ingress knows the new credentials (they travel over the registry topic, within a second)."""
    deadline = time.monotonic() + 10
    probe = plan.postings[0]
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            async with session.post(f"{ingress_url}{probe.path}", data=b"", headers=probe.headers) as response:
                if response.status != 401:
                    return
            await asyncio.sleep(0.1)
    raise TimeoutError("the ingress did not learn the new credentials within 10 s; look at its log")


def counts(client: Client, tenant_id: str) -> dict[str, int]:
    """Count the tenant's rows in each table."""
    queries = {
        "telemetry": "SELECT count() FROM telemetry WHERE tenant_id = {tenant:String}",
        "unmapped": "SELECT count() FROM unmapped WHERE tenant_id = {tenant:String}",
        "quarantine": "SELECT count() FROM quarantine WHERE tenant_id = {tenant:String}",
        "sender events": "SELECT count() FROM events WHERE tenant_id = {tenant:String} AND origin = 'sender'",
        "detected events": "SELECT count() FROM events WHERE tenant_id = {tenant:String} AND origin = 'detected'",
        "delivered": "SELECT count() FROM deliveries WHERE tenant_id = {tenant:String} AND outcome = 'delivered'",
    }
    return {
        name: int(client.query(query, parameters={"tenant": tenant_id}).result_rows[0][0])
        for name, query in queries.items()
    }


async def settle(plan: Plan, client: Client, receiver: Receiver, progress: Progress) -> dict[str, int]:
    """Wait until what was promised has arrived, or the time is up; return the last counts."""
    deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
    promised = plan.records + plan.quarantined
    while True:
        found = await asyncio.to_thread(counts, client, plan.tenant.id)
        progress(min(promised, found["telemetry"] + found["quarantine"]), promised)
        if close_account(plan, found, receiver).closes or time.monotonic() > deadline:
            return found
        await asyncio.sleep(_POLL_S)


def close_account(plan: Plan, found: dict[str, int], receiver: Receiver) -> Account:
    """Hold what the samples promise against what ClickHouse and the receiver hold."""
    events = plan.sender_events + found["detected events"]
    return Account(
        [
            ("canonical records in ClickHouse", plan.records, found["telemetry"]),
            ("records of unknown devices", 0, found["unmapped"]),
            ("pieces in quarantine", plan.quarantined, found["quarantine"]),
            ("events made by senders", plan.sender_events, found["sender events"]),
            ("webhooks received, each once", events, len(receiver.webhooks)),
            ("webhooks refused or repeated", 0, receiver.refused + receiver.repeats),
            ("deliveries in the log", events, found["delivered"]),
        ]
    )


def canonical_rows(client: Client, tenant_id: str) -> list[dict[str, Any]]:
    """Read the tenant's records back, oldest first."""
    result = client.query(
        "SELECT source, source_device, type, observed_at, time_source, latitude, longitude, speed_kmh, numbers, booleans"
        " FROM telemetry WHERE tenant_id = {tenant:String} ORDER BY source, observed_at, raw_index",
        parameters={"tenant": tenant_id},
    )
    return list(result.named_results())


def quarantined_rows(client: Client, tenant_id: str) -> list[dict[str, Any]]:
    """Read the tenant's quarantined pieces back."""
    result = client.query(
        "SELECT source, reason, detail, item_index, body FROM quarantine WHERE tenant_id = {tenant:String} ORDER BY source",
        parameters={"tenant": tenant_id},
    )
    return list(result.named_results())
