"""The registry's log as brokers really keep it: compacted, with transactions committed, given up and left open."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from fleetline.kafka_admin import ensure_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.follower import RegistryFollower
from registry.model import Credential, Destination, Device, Entry, Tenant, entry_key
from registry.store import RegistryStore
from registry.topic import TopicReader
from registry.view import RegistryView
from schemas.ids import new_id

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Start a broker that compacts and ends abandoned transactions at once instead of every ten seconds."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("log"), kafka_port=free_port())
    kafka = LocalKafka(
        settings,
        properties={
            "log.cleaner.backoff.ms": "100",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
        },
    )
    try:
        kafka.start()
        kafka.wait_ready()
        yield settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    finally:
        kafka.stop()


@pytest.fixture
def own(broker: Settings) -> Settings:
    """Give a test its own topics, the registry's of segments that close at once and are compacted soon."""
    from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    settings = broker.model_copy(update={"topic_prefix": f"t{new_id()[-12:]}."})
    ensure_topics(settings, only=(settings.topics.registry, settings.topics.audit))
    wanted = {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "50"}
    changes = [ConfigEntry(*each, incremental_operation=AlterConfigOpType.SET) for each in wanted.items()]
    resource = ConfigResource(ResourceType.TOPIC, settings.topics.registry, incremental_configs=changes)
    admin = AdminClient(settings.kafka_config())  # the futures die with it
    admin.incremental_alter_configs([resource])[resource].result(10)
    return settings


def await_that(holds: Callable[[], bool], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def await_tenant(view: RegistryView, tenant_id: str, timeout: float) -> None:
    await_that(lambda: view.tenant(tenant_id) is not None, timeout)


def writer(settings: Settings, **options: Any) -> Any:
    from confluent_kafka import Producer

    return Producer({**settings.kafka_config(), "linger.ms": 0, **options})


def write(producer: Any, settings: Settings, *entries: Entry) -> None:
    for entry in entries:
        producer.produce(settings.topics.registry, key=entry_key(entry).encode(), value=msgspec.json.encode(entry))
    assert producer.flush(10) == 0


def offsets(settings: Settings) -> list[int]:
    """List the offsets of all that is left in the log, uncommitted records included."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": "test",
            "enable.partition.eof": True,
            "isolation.level": "read_uncommitted",
        }
    )
    consumer.assign([TopicPartition(settings.topics.registry, 0, OFFSET_BEGINNING)])
    found: list[int] = []
    try:
        while True:
            message = consumer.poll(10)
            assert message is not None
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                return found
            found.append(message.offset())
    finally:
        consumer.close()


_RESTARTED = """
import hashlib, msgspec
from fleetline.settings import Settings
from registry.follower import RegistryFollower
follower = RegistryFollower(Settings())
follower.start()
assert follower.wait_caught_up(30)
entries = sorted(msgspec.json.encode(entry) for entry in follower.view.entries())
print(len(entries), hashlib.sha256(b"|".join(entries)).hexdigest())
follower.stop()
"""


def said(view: RegistryView) -> str:
    entries = sorted(msgspec.json.encode(entry) for entry in view.entries())
    return f"{len(entries)} {hashlib.sha256(b'|'.join(entries)).hexdigest()}"


def restarted(settings: Settings) -> str:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
    }
    done = subprocess.run(
        [sys.executable, "-c", _RESTARTED], env=environment, stdout=subprocess.PIPE, check=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_a_process_started_on_a_compacted_topic_has_the_registry_that_was_there_before(own: Settings) -> None:
    names = [f"d{number}" for number in range(100)]
    with RegistryStore(own) as store:
        store.put(Tenant(id="t", name="Acme"))
        for turn in range(5):
            store.put(
                [Device(id=each, tenant_id="t", name=f"{each} {turn}", attributes={"imei": each}) for each in names]
            )
        store.put([Credential(id=each, tenant_id="t", source="device", digest=each, device_id=each) for each in names])
        store.delete([Device(id=each, tenant_id="t", name="") for each in names[::3]])
        store.put(Destination(id="w", tenant_id="t", kind="webhook", url="https://example.com/"))
        written = 1 + 5 * len(names) + len(names) + len(names[::3]) + 1
        turns = iter(range(1000))

        def compacted() -> bool:
            """Go on writing: only a segment behind which another one begins is compacted."""
            store.put(Tenant(id="t", name=f"Acme {next(turns)}"))
            return len(offsets(own)) < written / 2  # what stands for them is 168 entries

        await_that(compacted, 60)
        before = said(store.refresh())
    left = offsets(own)
    assert left[-1] - left[0] >= len(left), "compaction leaves gaps"
    assert restarted(own) == before
    assert before.split()[0] == str(1 + 66 + 100 + 1)


def test_reading_to_the_end_ends_where_the_last_records_are_no_messages(own: Settings) -> None:
    """Behind the last change stands the marker of its transaction, behind that a whole transaction given up."""
    producer = writer(own, **{"transactional.id": f"{own.topic_prefix}w"})
    producer.init_transactions(10)
    follower, reader = RegistryFollower(own), TopicReader(own, RegistryView())
    try:
        assert reader.open(5)
        assert reader.read_to_end(5)
        for turn in range(3):
            producer.begin_transaction()
            write(producer, own, Tenant(id=f"kept {turn}", name="A"), Tenant(id="t", name=f"A {turn}"))
            producer.commit_transaction(10)
            producer.begin_transaction()
            write(producer, own, Tenant(id=f"given up {turn}", name="B"), Tenant(id="t", name="B"))
            producer.abort_transaction(10)
            # the broker answers a moment before the markers stand in the log, so the newest change may need another look
            assert reader.read_to_end(5)
            while reader.view.tenant(f"kept {turn}") is None:
                assert reader.read_to_end(5)
            assert reader.position > max(offsets(own)) - 2
            wanted = [*(f"kept {each}" for each in range(turn + 1)), "t"]
            assert [each.id for each in reader.view.tenants()] == wanted
            assert reader.view.tenant("t") == Tenant(id="t", name=f"A {turn}")
        follower.start()
        assert follower.wait_caught_up(10)
        assert [each.id for each in follower.view.tenants()] == ["kept 0", "kept 1", "kept 2", "t"]
    finally:
        follower.stop()
        reader.close()


_DIES = """
import os, sys
from confluent_kafka import Producer
servers, transactional_id, topic, key, value = sys.argv[1:]
producer = Producer({"bootstrap.servers": servers, "transactional.id": transactional_id, "transaction.timeout.ms": 4000})
producer.init_transactions(20)
producer.begin_transaction()
producer.produce(topic, key=key, value=value)
assert producer.flush(10) == 0
os._exit(0)
"""


def left_open(settings: Settings, entry: Entry) -> str:
    """Have a writer die in the middle of a transaction; return its transactional id."""
    name = f"{settings.topic_prefix}dies"
    record = (settings.topics.registry, entry_key(entry), msgspec.json.encode(entry).decode())
    subprocess.run(
        [sys.executable, "-c", _DIES, settings.kafka_bootstrap_servers, name, *record], check=True, timeout=60
    )
    return name


def test_readers_go_on_serving_behind_an_open_transaction_and_get_past_it_when_the_next_writer_ends_it(
    own: Settings,
) -> None:
    plain = writer(own)
    write(plain, own, Tenant(id="before", name="A"))
    early, late = RegistryFollower(own), RegistryFollower(own)
    reader = TopicReader(own, RegistryView())
    try:
        early.start()
        assert early.wait_caught_up(10)
        name = left_open(own, Tenant(id="torn", name="B"))
        late.start()
        assert late.wait_caught_up(3), "a process started meanwhile must not wait for the dead writer"
        assert late.view.tenant("before") is not None
        assert reader.open(5)
        assert reader.read_to_end(3)
        following = writer(own, **{"transactional.id": name})
        following.init_transactions(10)
        following.begin_transaction()
        write(following, own, Tenant(id="after", name="C"))
        following.commit_transaction(10)
        for view in (early.view, late.view):
            await_tenant(view, "after", 3)
            assert [each.id for each in view.tenants()] == ["after", "before"]
        assert reader.read_to_end(3)
        assert [each.id for each in reader.view.tenants()] == ["after", "before"]
        assert early.alive
        assert late.alive
    finally:
        early.stop()
        late.stop()
        reader.close()


def test_readers_get_past_an_open_transaction_when_its_time_is_over(own: Settings) -> None:
    plain = writer(own)
    write(plain, own, Tenant(id="before", name="A"))
    left_open(own, Tenant(id="torn", name="B"))
    write(plain, own, Tenant(id="behind", name="C"))
    follower = RegistryFollower(own)
    try:
        follower.start()
        assert follower.wait_caught_up(3)
        assert follower.view.tenant("before") is not None
        await_tenant(follower.view, "behind", 20)
        assert follower.view.tenant("torn") is None
    finally:
        follower.stop()
