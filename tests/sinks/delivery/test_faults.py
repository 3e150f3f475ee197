"""Destinations that hang, workers that die: nothing is lost, and nobody waits for somebody else."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, Popen
from typing import Any

import pytest
from aiohttp import web

from registry.store import RegistryStore
from sinks.delivery.limits import Limits

pytestmark = pytest.mark.stack


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.02)
    return web.Response()


async def test_a_destination_that_hangs_and_one_that_is_dead_delay_nobody(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hangs"] = hang
    hangs, dead = road.book.add(f"{receiver.url}/hangs"), road.book.add("http://127.0.0.1:9/dead")
    well = [road.book.add(f"{receiver.url}/well{number}") for number in range(3)]
    tasks = []
    for _ in range(300):
        tasks += [task_for(hangs), task_for(dead), *(task_for(each) for each in well)]
    async with road.worker(Limits(deadline=5.0, drain=1.0)):
        started = time.monotonic()
        road.put(*tasks)
        await until(lambda: sum(len(receiver.at(f"/well{number}")) for number in range(3)) == 900, 15)
        assert time.monotonic() - started < 5.0
        assert len(receiver.at("/hangs")) <= 20
        await until(lambda: len(road.read(road.settings.topics.deliveries_retry("10s"))) > 400, 10)
    assert not road.dead()


@pytest.mark.slow
async def test_a_task_comes_back_from_its_tier_with_its_history(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    task = task_for(road.book.add(f"{receiver.url}/hook"), attempt=3, charged=3)
    written = time.monotonic()
    road.put(task, topic=road.settings.topics.deliveries_retry("10s"))
    async with road.worker():
        await until(lambda: receiver.hits, 25)
        await until(lambda: road.attempts(), 5)
    assert receiver.hits[0].at - written >= 9.5
    assert road.attempts()[0]["attempt"] == 4
    assert receiver.hits[0].headers["webhook-id"] == task["id"]


@pytest.mark.slow
async def test_after_an_outage_everything_arrives(road: Any, receiver: Any, until: Any, task_for: Any) -> None:
    down = True

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=503 if down else 200)

    receiver.answers["/hook"] = answer
    tasks = [task_for(road.book.add(f"{receiver.url}/hook")) for _ in range(1)]
    tasks += [task_for(tasks[0]["destination_id"]) for _ in range(79)]
    async with road.worker():
        road.put(*tasks)
        await asyncio.sleep(4)
        down = False

        def delivered() -> set[str]:
            return {each["task_id"] for each in road.attempts() if each["outcome"] == "delivered"}

        await until(lambda: len(delivered()) == 80, 60)
    assert not road.dead()
    assert max(Counter(each["task_id"] for each in road.attempts() if each["outcome"] == "delivered").values()) == 1


async def test_a_graceful_stop_repeats_nothing_and_loses_nothing(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hook"] = slow
    destinations = [road.book.add(f"{receiver.url}/hook") for _ in range(5)]
    tasks = [task_for(destinations[number % 5]) for number in range(1500)]
    road.put(*tasks)
    async with road.worker(Limits(drain=0.4, per_destination=4)):
        await until(lambda: len(receiver.hits) > 200)
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 4.0
    assert len(receiver.hits) < 1500
    async with road.worker():
        await until(lambda: len({hit.headers["webhook-id"] for hit in receiver.hits}) == 1500, 30)
        await asyncio.sleep(0.5)
    assert len(receiver.hits) == 1500


async def test_a_second_worker_takes_over_partitions_without_loss(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    receiver.answers["/hook"] = slow
    destinations = [road.book.add(f"{receiver.url}/hook") for _ in range(10)]
    tasks = [task_for(destinations[number % 10]) for number in range(2000)]
    limits = Limits(per_destination=2, drain=1.0)
    async with road.worker(limits):
        road.put(*tasks)
        await until(lambda: len(receiver.hits) > 100)
        async with road.worker(limits):
            await until(lambda: len({hit.headers["webhook-id"] for hit in receiver.hits}) == 2000, 60)
            await asyncio.sleep(1.0)
    assert len(receiver.hits) - 2000 <= 40, "no more than what was on the way"


@contextmanager
def serving(road: Any) -> Iterator[Popen[bytes]]:
    """Run `serve` in a process of its own."""
    settings = road.settings
    environment = {
        **os.environ,
        "FLEETLINE_DATA": str(settings.data_dir),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
        "FLEETLINE_PARTITIONS": str(settings.partitions),
        "FLEETLINE_DELIVERY_ALLOW_NETWORKS": '["127.0.0.0/8"]',
    }
    command = "from fleetline.settings import Settings; from sinks.delivery.worker import serve; serve(Settings())"
    process = Popen([sys.executable, "-c", command], env=environment, stdout=DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
async def test_kill_9_in_the_middle_loses_nothing_and_repeats_only_what_was_on_the_way(
    road: Any, receiver: Any, until: Any, task_for: Any
) -> None:
    def prepare() -> list[str]:
        with RegistryStore(road.settings) as store:
            tenant = store.create_tenant("Test")
            made = [store.create_destination(tenant.id, "webhook", f"{receiver.url}/{number}") for number in range(10)]
        return [tenant.id, *(each.id for each in made)]

    tenant, *destinations = await asyncio.to_thread(prepare)
    receiver.answers |= {f"/{number}": slow for number in range(9)}
    receiver.answers["/9"] = _sluggish
    tasks = [task_for(destinations[number % 10], tenant_id=tenant) for number in range(4000)]
    road.put(*tasks)
    with serving(road) as first:
        await until(lambda: len(receiver.hits) > 1000, 60)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    before = len(receiver.hits)
    assert before < 4000
    with serving(road) as second:
        await until(lambda: len({hit.headers["webhook-id"] for hit in receiver.hits}) == 4000, 100)
        await asyncio.sleep(1)
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, 15) == 0
    repeated = len(receiver.hits) - 4000
    assert repeated <= 1000, "about what was on the way, in memory or not yet committed"
    ids = [attempt["id"] for attempt in road.attempts() if attempt["outcome"] == "delivered"]
    assert len(set(ids)) == 4000
    assert not road.dead()


async def _sluggish(_: web.Request) -> web.Response:
    await asyncio.sleep(0.5)
    return web.Response()
