"""The worker on a real broker against a real receiver: what arrives, what is tried again, what is given up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from registry.sealing import seal
from sinks.delivery.limits import Limits

pytestmark = pytest.mark.stack
QUICK = Limits(deadline=1.0, connect=0.5, lookup_grace=0.6, drain=2.0)


def answering(*statuses: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer with one status after the other, the last one for ever."""
    left = list(statuses)

    async def answer(_: web.Request) -> web.Response:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


async def test_an_event_arrives_once_with_its_device_and_position(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    psk = "PSK tr/ck=er:1"
    task = task_for(road.book.add(f"{receiver.url}/hook", sealed_psk=seal(road.settings, psk)))
    road.put(task)
    async with road.worker():
        await until(lambda: receiver.hits)
        await until(lambda: len(road.attempts()) == 1)
    (hit,) = receiver.hits
    assert hit.headers["Authorization"] == psk  # BT-b11
    assert hit.headers["Content-Type"] == "application/json"
    assert hit.headers["webhook-id"] == task["id"]
    assert abs(int(hit.headers["webhook-timestamp"]) - time.time()) < 30
    assert hit.headers["User-Agent"].startswith("fleetline/")
    assert hit.headers["Accept-Encoding"] == "identity"
    assert hit.body["device"] == task["device"]  # BT-b19
    assert hit.body["position"] == {
        "latitude": 52.5,
        "longitude": 13.4,
        "altitude_m": 34.0,
        "speed_kmh": 12.0,
        "course_deg": 90.0,
        "accuracy_m": None,
        "fix_at": "2026-01-02T03:04:05.000000Z",
        "valid": True,
    }
    assert hit.body["event"]["id"] == task["event"]["id"]
    assert hit.body["event"]["attributes"] == {"ignition": True}
    assert not {"latitude", "tenant_id"} & hit.body["event"].keys()
    (attempt,) = road.attempts()
    assert attempt["txn_id"] == hit.headers["X-Fleetline-Txn"]  # BT-b14
    assert (attempt["outcome"], attempt["status"], attempt["attempt"]) == ("delivered", 200, 1)
    assert attempt["url"] == f"{receiver.url}/hook"
    assert psk not in str(attempt)
    positions = road.committed()
    assert sum(max(offset, 0) for offset, _ in positions.values()) == 1
    async with road.worker():
        await asyncio.sleep(1.0)
    assert len(receiver.hits) == 1


async def test_a_server_that_fails_twice_gets_the_same_webhook_again(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hook"] = answering(500, 500, 200)
    task = task_for(road.book.add(f"{receiver.url}/hook"))
    road.put(task)
    async with road.worker():
        await until(lambda: len(receiver.hits) == 3)
        await until(lambda: len(road.attempts()) == 3)
    attempts = road.attempts()
    assert [each["attempt"] for each in attempts] == [1, 2, 3]
    assert [each["outcome"] for each in attempts] == ["retry", "retry", "delivered"]
    assert [each["status"] for each in attempts] == [500, 500, 200]
    assert len({each["id"] for each in attempts}) == 3
    assert {hit.headers["webhook-id"] for hit in receiver.hits} == {task["id"]}
    assert len({hit.headers["X-Fleetline-Txn"] for hit in receiver.hits}) == 1


async def test_an_answer_that_dribbles_ends_at_the_deadline(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    async def dribble(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(b".")
            await asyncio.sleep(0.1)
        return answer

    receiver.answers["/hook"] = dribble
    road.put(task_for(road.book.add(f"{receiver.url}/hook")))
    async with road.worker(QUICK):
        await until(lambda: road.attempts())
    first = road.attempts()[0]
    assert first["outcome"] == "retry"
    assert "not complete within 1 s" in first["error"]
    assert 900 < first["latency_ms"] < 2000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_never_followed(
    status: int, road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hook"] = answering(status, Location="/elsewhere")
    road.put(task_for(road.book.add(f"{receiver.url}/hook")))
    async with road.worker():
        await until(lambda: road.attempts())
    assert road.attempts()[0]["status"] == status
    assert road.attempts()[0]["outcome"] == "retry"
    assert not receiver.at("/elsewhere")


async def test_gone_is_the_end_of_the_task(road: Any, receiver: Any, until: Any, task_for: Any) -> None:
    receiver.answers["/hook"] = answering(410)
    task = task_for(road.book.add(f"{receiver.url}/hook"))
    road.put(task)
    async with road.worker():
        await until(lambda: road.dead())
        await asyncio.sleep(1.5)
    (letter,) = road.dead()
    assert letter["reason"] == "gone"
    assert letter["task"]["id"] == task["id"]
    assert [each["status"] for each in letter["attempts"]] == [410]
    assert [each["outcome"] for each in road.attempts()] == ["dead"]
    assert len(receiver.hits) == 1


async def test_a_refusal_is_repeated_a_few_times_only(road: Any, receiver: Any, until: Any, task_for: Any) -> None:
    receiver.answers["/hook"] = answering(404)
    road.put(task_for(road.book.add(f"{receiver.url}/hook"), attempt=5, charged=5))
    async with road.worker():
        await until(lambda: road.dead())
    assert road.dead()[0]["reason"] == "refused"
    assert road.attempts()[0]["attempt"] == 6


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_by_the_whole_destination(
    status: int, road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hook"] = answering(status, 200, Retry_After="2")
    destination = road.book.add(f"{receiver.url}/hook")
    first, second = task_for(destination), task_for(destination)
    road.put(first)
    async with road.worker():
        await until(lambda: receiver.hits)
        road.put(second)
        await until(lambda: len(receiver.hits) == 3)
    assert receiver.hits[1].at - receiver.hits[0].at >= 1.9
    assert receiver.hits[2].at - receiver.hits[0].at >= 1.9
    assert {hit.headers["webhook-id"] for hit in receiver.hits[1:]} == {first["id"], second["id"]}


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/x",
        "http://[fd00::1]:8080/x",
        "http://0xA.1/x",
    ],
)
async def test_a_private_address_is_given_up_with_a_clear_word(url: str, road: Any, until: Any, task_for: Any) -> None:
    road.put(task_for(road.book.add(url)))
    async with road.worker():
        await until(lambda: road.dead())
    (attempt,) = road.attempts()
    assert (attempt["outcome"], attempt["status"]) == ("dead", None)
    assert "not a public address" in attempt["error"]
    assert road.dead()[0]["reason"] == "blocked"


async def test_loopback_is_blocked_unless_opened(road: Any, receiver: Any, until: Any, task_for: Any) -> None:
    road.settings = road.settings.model_copy(update={"delivery_allow_networks": ()})
    port = receiver.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
        road.put(task_for(road.book.add(f"http://{host}:{port}/x")))
    async with road.worker():
        await until(lambda: len(road.dead()) == 6)
    assert not receiver.hits
    assert {each["outcome"] for each in road.attempts()} == {"dead"}


async def test_a_task_of_a_removed_destination_is_given_up_with_the_reason(
    road: Any, until: Any, task_for: Any
) -> None:
    road.put(task_for("nobody"))
    async with road.worker(QUICK):
        await until(lambda: road.dead())
    assert "does not exist" in road.dead()[0]["detail"]
    assert "does not exist" in road.attempts()[0]["error"]


async def test_a_destination_that_shows_up_a_moment_later_is_served(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    destination = road.book.add(f"{receiver.url}/hook")
    entry = road.book.entries.pop(destination)
    road.put(task_for(destination))
    async with road.worker():
        await asyncio.sleep(1.0)
        road.book.entries[destination] = entry
        await until(lambda: receiver.hits)
    assert not road.dead()


async def test_a_destination_of_another_tenant_gets_nothing(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    road.put(task_for(road.book.add(f"{receiver.url}/hook"), tenant_id="tenant-2"))
    async with road.worker():
        await until(lambda: road.dead())
    assert not receiver.hits


async def test_what_is_no_task_is_kept_and_stops_nothing(road: Any, receiver: Any, until: Any, task_for: Any) -> None:
    destination = road.book.add(f"{receiver.url}/hook")
    road.put({"destination_id": destination, "neither": "fish nor fowl"}, task_for(destination))
    async with road.worker():
        await until(lambda: receiver.hits)
        await until(lambda: road.dead())
    assert road.dead()[0]["reason"] == "unreadable"


async def test_a_big_or_compressed_answer_is_neither_read_nor_inflated(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await answer.prepare(request)
        for _ in range(1600):
            await answer.write(b"x" * 65_536)
            sent += 65_536
        return answer

    receiver.answers["/hook"] = flood
    road.put(task_for(road.book.add(f"{receiver.url}/hook")))
    async with road.worker():
        await until(lambda: road.attempts())
    (attempt,) = road.attempts()
    assert attempt["outcome"] == "delivered"
    assert len(attempt["response_excerpt"]) == 1024
    assert sent < 50_000_000
