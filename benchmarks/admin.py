"""From the request to the admin API to its effect at the ingress: a credential is made, and its secret opens the door.

Both run as processes of their own. The limit is the bare thing: a transaction of two such records, until a consumer that reads
committed ones has them.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.local import process, servers
from fleetline.settings import Settings

TOKEN = "a-token-for-the-benchmark"
CHANGES = 200
CLIENTS = 8
SECONDS = 5.0
ASKED_FOR_MS = 1_000.0


def run() -> dict[str, Any]:
    """Measure until each change has its effect, one at a time; then how many changes there are in a second."""
    with _serving() as (settings, admin, door):
        tenant = admin.post("/api/v1/tenants", json={"name": "Bench"}).json()["id"]
        _effective(admin, door, tenant)  # the broker makes its transaction log at the first change
        effects, answers = zip(*(_effective(admin, door, tenant) for _ in range(CHANGES)), strict=True)
        bare = [*_bare(settings, CHANGES)]
        one, many = _writes(settings, tenant, 1), _writes(settings, tenant, CLIENTS)
    value, limit = _percentile(effects, 0.99), _percentile(bare, 0.99)
    return {
        "name": "admin",
        "value": value,
        "unit": "ms from the request until the ingress acts by it, 99th percentile",
        "limit": limit,
        "ratio": value / limit,
        "peers": {},
        "p50_ms": _percentile(effects, 0.5),
        "worst_ms": max(effects),
        "asked_for_ms": ASKED_FOR_MS,
        "p50_ms_until_the_answer": _percentile(answers, 0.5),
        "p50_ms_of_a_bare_transaction": _percentile(bare, 0.5),
        "changes": CHANGES,
        "writes_per_second_of_one_client": one,
        f"writes_per_second_of_{CLIENTS}_clients": many,
    }


@contextmanager
def _serving() -> Iterator[tuple[Settings, httpx.Client, httpx.Client]]:
    with servers() as settings, ExitStack() as closing:
        urls = [f"http://127.0.0.1:{settings.admin_port}", f"http://127.0.0.1:{settings.ingress_port}"]
        for name in ("admin", "ingress"):
            serve = process(settings, name, "-m", "fleetline", "serve", name, FLEETLINE_ADMIN_TOKEN=TOKEN)
            closing.enter_context(serve).wait_for(_ready(urls[name == "ingress"]), 60)
        key = {"authorization": f"Bearer {TOKEN}"}
        admin = closing.enter_context(httpx.Client(base_url=urls[0], headers=key, timeout=30))
        yield settings, admin, closing.enter_context(httpx.Client(base_url=urls[1], timeout=30))


def _ready(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    return ready


def _effective(admin: httpx.Client, door: httpx.Client, tenant: str) -> tuple[float, float]:
    """Make a credential; return the milliseconds until the door opened to it, and until it was answered."""
    began = time.perf_counter()
    made = admin.post(f"/api/v1/tenants/{tenant}/credentials", json={"source": "flespi"})
    answered = time.perf_counter()
    headers = {"authorization": f"Bearer {made.json()['secret']}"}
    while door.post("/in/flespi", content=b"[]", headers=headers).status_code != 200:
        if time.perf_counter() - began > 30:
            raise RuntimeError("the credential never opened the door")
    return (time.perf_counter() - began) * 1e3, (answered - began) * 1e3


def _writes(settings: Settings, tenant: str, clients: int) -> float:
    """Create devices with some clients at once for some seconds; return how many in a second."""
    made: list[int] = []
    until = time.perf_counter() + SECONDS

    def write() -> None:
        url = f"http://127.0.0.1:{settings.admin_port}/api/v1/tenants/{tenant}/devices"
        with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            while time.perf_counter() < until:
                made.append(client.post(url, json={"name": str(uuid.uuid4())}).status_code)

    threads = [threading.Thread(target=write) for _ in range(clients)]
    began = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if set(made) != {201}:
        raise RuntimeError(f"answers were {set(made)}")
    return len(made) / (time.perf_counter() - began)


def _bare(settings: Settings, count: int) -> Iterator[float]:
    """Yield the milliseconds from the beginning of a transaction until a consumer has read what it wrote."""
    topic = settings.topics.audit
    producer = Producer({**settings.kafka_config(), "transactional.id": "bench", "linger.ms": 1})
    producer.init_transactions(30)
    consumer = Consumer(
        {**settings.kafka_config(), "group.id": "bench", "fetch.wait.max.ms": 100, "isolation.level": "read_committed"}
    )
    end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1]
    consumer.assign([TopicPartition(topic, 0, end)])
    for number in range(count + 1):
        began = time.perf_counter()
        producer.begin_transaction()
        for _ in range(2):
            producer.produce(topic, b"x" * 400, b"key", partition=0)
        producer.commit_transaction(30)
        for _ in range(2):
            message = consumer.poll(30)
            if message is None or message.error():
                raise RuntimeError(f"nothing was read: {message and message.error()}")
        if number:  # connections are made by the first
            yield (time.perf_counter() - began) * 1e3
    consumer.close()


def _percentile(found: Any, share: float) -> float:
    return float(sorted(found)[int(len(found) * share)])
