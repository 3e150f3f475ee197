"""A real broker, a real receiver, and the worker in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from fleetline.kafka_admin import topic_manifest
from fleetline.settings import Settings
from registry.model import Destination
from schemas.ids import new_id
from schemas.times import now_us
from sinks.delivery.limits import DEFAULT, Limits

TENANT = "tenant-1"


class Book:
    """Destinations by id: what the registry's view is to the worker."""

    def __init__(self) -> None:
        self.entries: dict[str, Destination] = {}

    def destination(self, destination_id: str) -> Destination | None:
        return self.entries.get(destination_id)

    def add(self, url: str, **more: Any) -> str:
        made = Destination(id=new_id(), tenant_id=TENANT, kind="webhook", url=url, **more)
        self.entries[made.id] = made
        return made.id


def make_task(destination_id: str, **more: Any) -> dict[str, Any]:
    event = {
        "id": new_id(),
        "type": "ignitionOn",
        "tenant_id": TENANT,
        "device_id": "device-1",
        "observed_at": "2026-01-02T03:04:05.000000Z",
        "received_at": "2026-01-02T03:04:06.000000Z",
        "origin": "detected",
        "cause_id": new_id(),
        "source": "flespi",
        "source_device": "862",
        "attributes": {"ignition": True},
        "latitude": 52.5,
        "longitude": 13.4,
        "altitude_m": 34.0,
        "speed_kmh": 12.0,
        "course_deg": 90.0,
        "accuracy_m": None,
        "fix_at": "2026-01-02T03:04:05.000000Z",
        "fix_valid": True,
    }
    device = {"id": "device-1", "name": "Van 7", "attributes": {"imei": "862"}}
    return {
        "id": new_id(),
        "destination_id": destination_id,
        "tenant_id": TENANT,
        "event": event,
        "device": device,
        "attempt": 0,
        "created_us": now_us(),
        **more,
    }


@dataclass
class Hit:
    """One request a receiver got."""

    at: float
    path: str
    headers: dict[str, str]
    body: Any


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """A customer's server; each path answers by its own function, 200 by default."""

    url: str = ""
    hits: list[Hit] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.hits.append(Hit(time.monotonic(), request.path, dict(request.headers), orjson.loads(body)))
        answer = self.answers.get(request.path)
        return web.Response() if answer is None else await answer(request)

    def at(self, path: str) -> list[Hit]:
        return [hit for hit in self.hits if hit.path == path]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


def _end(consumer: Any, partition: Any) -> int:
    from confluent_kafka import KafkaException

    for _ in range(50):
        try:
            return int(consumer.get_watermark_offsets(partition, timeout=5)[1])
        except KafkaException:  # a new topic has no leader yet
            time.sleep(0.1)
    raise AssertionError(f"{partition} has no end")


class Road:
    """Topics in, topics out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.book = Book()

    def put(self, *tasks: dict[str, Any], topic: str = "") -> None:
        from confluent_kafka import Producer

        producer = Producer({**self.settings.kafka_config(), "linger.ms": 1})
        for task in tasks:
            producer.produce(topic or self.settings.topics.deliveries, orjson.dumps(task), task["destination_id"])
        assert producer.flush(10) == 0

    def read(self, topic: str) -> list[dict[str, Any]]:
        """Return everything that is in a topic now."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {
                **self.settings.kafka_config(),
                "group.id": "reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        try:
            ends = {
                number: _end(consumer, TopicPartition(topic, number))
                for number in consumer.list_topics(topic, timeout=5).topics[topic].partitions
            }
            consumer.assign([TopicPartition(topic, number, 0) for number in ends])
            found: list[dict[str, Any]] = []
            missing = sum(ends.values())
            while missing:
                message = consumer.poll(5)
                assert message is not None, "the topic could not be read to its end"
                assert message.error() is None, message.error()
                found.append(orjson.loads(message.value()))
                missing -= 1
            return found
        finally:
            consumer.close()

    def committed(self) -> dict[tuple[str, int], tuple[int, str]]:
        """Return what the worker's group has committed: offset and metadata by partition."""
        from confluent_kafka import Consumer, TopicPartition

        topic = self.settings.topics.deliveries
        consumer = Consumer({**self.settings.kafka_config(), "group.id": f"{self.settings.topic_prefix}delivery"})
        try:
            asked = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
            return {(each.topic, each.partition): (each.offset, each.metadata) for each in consumer.committed(asked, 5)}
        finally:
            consumer.close()

    def attempts(self, task_id: str = "") -> list[dict[str, Any]]:
        found = self.read(self.settings.topics.delivery_attempts)
        return sorted((each for each in found if task_id in ("", each["task_id"])), key=lambda each: each["started_us"])

    def dead(self) -> list[dict[str, Any]]:
        return self.read(self.settings.topics.deliveries_dead)

    @asynccontextmanager
    async def worker(self, limits: Limits = DEFAULT) -> AsyncIterator[None]:
        """Run a worker in this process for as long as the block lasts."""
        from sinks.delivery.worker import deliver

        stop = asyncio.Event()
        running = asyncio.create_task(deliver(self.settings, self.book, stop, limits=limits))
        try:
            yield
        finally:
            stop.set()
            await running


@pytest.fixture
def road(topics: Settings) -> Road:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**topics.kafka_config(), "group.id": "reader"})
    for topic in topic_manifest(topics):
        _end(consumer, TopicPartition(topic, 0))
    consumer.close()
    return Road(topics)


async def _until(true: Callable[[], Any], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not await asyncio.to_thread(true):
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    return _until


@pytest.fixture
def task_for() -> Callable[..., dict[str, Any]]:
    return make_task
