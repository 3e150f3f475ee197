"""The registry on a real broker: what is stored is found by everyone who follows, soon, and through every interruption."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.errors import RegistryRefused, RegistryUnavailable
from registry.follower import RegistryFollower
from registry.model import Device, Tenant
from registry.sealing import unseal
from registry.store import RegistryStore
from registry.topic import Rewound, TopicReader
from registry.view import RegistryView

pytestmark = pytest.mark.stack


@pytest.fixture
def store(settings: Settings) -> Iterator[RegistryStore]:
    with RegistryStore(settings) as opened:
        yield opened


@pytest.fixture
def follower(settings: Settings) -> Iterator[RegistryFollower]:
    started = RegistryFollower(settings)
    started.start()
    try:
        yield started
    finally:
        started.stop()


def await_that(holds: Callable[[], bool], timeout: float) -> float:
    """Wait until something holds and return the seconds it took."""
    started = time.perf_counter()
    while not holds():
        assert time.perf_counter() - started < timeout, "it did not come about in time"
        time.sleep(0.001)
    return time.perf_counter() - started


def delete_topic(settings: Settings) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(settings.kafka_config())
    admin.delete_topics([settings.topics.registry])[settings.topics.registry].result(10)


def test_a_follower_waits_for_a_topic_that_does_not_exist_yet(follower: RegistryFollower, store: RegistryStore) -> None:
    assert not follower.wait_caught_up(0.7)
    made = store.create_tenant("Acme")
    assert follower.wait_caught_up(5)
    await_that(lambda: follower.view.tenant(made.id) == made, 1)


def test_what_was_there_before_is_there_once_it_has_caught_up(settings: Settings, store: RegistryStore) -> None:
    store.put([Device(id=f"d{n}", tenant_id="t", name="") for n in range(2000)])
    late = RegistryFollower(settings)
    late.start()
    try:
        assert late.wait_caught_up(10)
        assert len(late.view.devices("t")) == 2000
    finally:
        late.stop()
    assert late.caught_up
    assert not late.alive


def test_a_change_is_seen_within_a_second(follower: RegistryFollower, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    assert follower.wait_caught_up(5)
    delays = []
    for number in range(20):
        device = store.create_device(tenant, f"van {number}", imei=str(number))
        delays.append(await_that(lambda made=device: follower.view.device(made.id) == made, 1))  # type: ignore[misc]
    assert sorted(delays)[len(delays) // 2] < 0.2


def test_a_revoked_or_rotated_secret_opens_nothing_within_a_second(
    follower: RegistryFollower, store: RegistryStore
) -> None:
    tenant = store.create_tenant("Acme")
    credential, secret = store.create_credential(tenant, "flespi")
    view = follower.view
    await_that(lambda: view.credential_for("flespi", False, secret) == credential, 5)
    store.delete(credential)
    await_that(lambda: view.credential_for("flespi", False, secret) is None, 1)
    former = store.rotate_tenant_secret(tenant)
    await_that(lambda: view.credential_for("any", True, former) is not None, 1)
    present = store.rotate_tenant_secret(tenant.name, overlap_s=0)
    await_that(lambda: view.credential_for("any", True, present) is not None, 1)
    assert view.credential_for("any", True, former) is None
    assert len(view.credentials(tenant.id)) == 1


def test_a_restarted_broker_is_followed_again_and_the_view_serves_meanwhile(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"data_dir": tmp_path, "kafka_port": free_port()})
    broker = LocalKafka(own)
    own = own.model_copy(update={"kafka_bootstrap_servers": broker.bootstrap_servers})
    follower = RegistryFollower(own)
    try:
        broker.start()
        broker.wait_ready()
        follower.start()
        with RegistryStore(own) as store:
            acme = store.create_tenant("Acme")
            assert follower.wait_caught_up(5)
            broker.stop()
            with pytest.raises(RegistryUnavailable, match="fleetline up"):
                store.create_tenant("Beta")
            assert follower.view.tenant(acme.id) == acme
            assert follower.caught_up
            assert follower.alive
            broker.start()
            broker.wait_ready()
            beta = store.create_tenant("Beta")
        await_that(lambda: follower.view.tenant(beta.id) == beta, 5)
        assert follower.view.tenant(acme.id) == acme
    finally:
        follower.stop()
        broker.stop()


def test_nothing_of_a_deleted_topic_stays_when_it_is_recreated(
    settings: Settings, follower: RegistryFollower, store: RegistryStore
) -> None:
    store.put([Tenant(id="t", name="old"), *(Device(id=f"old{n}", tenant_id="t", name="") for n in range(20))])
    await_that(lambda: len(follower.view.devices("t")) == 20, 5)
    delete_topic(settings)
    time.sleep(1.5)
    assert len(follower.view.devices("t")) == 20  # a topic gone is no reason to shut everybody out
    with RegistryStore(settings) as anew:
        anew.put([Tenant(id="t", name="new"), Device(id="new", tenant_id="t", name="")])
    await_that(lambda: [each.id for each in follower.view.devices("t")] == ["new"], 10)
    assert follower.alive
    assert [each.name for each in store.refresh().tenants()] == ["new"]


_FOLLOW = """
import sys, time
from fleetline.settings import Settings
from registry.follower import RegistryFollower
follower = RegistryFollower(Settings())
follower.start()
while True:
    print(",".join(sorted({d.id[:3] for d in follower.view.devices("t")})), flush=True)
    time.sleep(0.05)
"""


def test_a_follower_that_slept_through_a_recreation_reads_the_new_log_from_its_beginning(
    settings: Settings, store: RegistryStore
) -> None:
    """The new log is longer than the old one, so no offset tells that it is another."""
    store.put([Device(id=f"old{n}", tenant_id="t", name="") for n in range(20)])
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
    }
    process = subprocess.Popen([sys.executable, "-c", _FOLLOW], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = iter(process.stdout)
        assert next(line for line in said if line.strip()) == "old\n"
        process.send_signal(signal.SIGSTOP)
        delete_topic(settings)
        with RegistryStore(settings) as anew:
            anew.put([Device(id=f"new{n}", tenant_id="t", name="") for n in range(200)])
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 20
        assert next((line for line in said if line == "new\n" or time.monotonic() > deadline), "") == "new\n"
    finally:
        process.kill()
        process.communicate()


def test_a_recreated_topic_is_told_from_the_one_read_before(settings: Settings, store: RegistryStore) -> None:
    store.put(Tenant(id="t", name="old"))
    reader = TopicReader(settings, RegistryView())
    try:
        assert reader.open(5)
        assert reader.read_to_end(5)
        reader.check_log(wait=True)
        delete_topic(settings)
        with RegistryStore(settings) as anew:
            anew.put(Tenant(id="t", name="new"))
        with pytest.raises(Rewound):
            reader.check_log(wait=True)
    finally:
        reader.close()


def test_settings_the_client_refuses_end_the_follower_loudly(settings: Settings) -> None:
    broken = settings.model_copy(update={"kafka_security_protocol": "SSL", "kafka_ca_file": "/no/such/file"})
    follower = RegistryFollower(broken)
    follower.start()
    started = time.monotonic()
    assert not follower.wait_caught_up(30)
    assert time.monotonic() - started < 10
    assert follower.failed is not None
    assert not follower.alive
    follower.stop()


def test_a_follower_without_a_broker_stops_when_told(settings: Settings) -> None:
    follower = RegistryFollower(settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"}))
    follower.start()
    assert not follower.wait_caught_up(0.5)
    assert follower.alive
    started = time.monotonic()
    follower.stop()
    assert time.monotonic() - started < 4
    assert not follower.alive


def test_many_entries_are_stored_in_one_go(settings: Settings, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    started = time.perf_counter()
    store.put([Device(id=f"d{n}", tenant_id=tenant.id, name=str(n)) for n in range(500)])
    assert time.perf_counter() - started < 2
    with RegistryStore(settings) as other:
        assert len(other.view.devices(tenant.id)) == 500
        other.delete(other.view.devices(tenant.id))
    assert not store.refresh().devices(tenant.id)


def test_the_rules_see_what_another_writer_has_stored(settings: Settings, store: RegistryStore) -> None:
    assert not store.view.tenants()
    with RegistryStore(settings) as other:
        tenant = other.create_tenant("Acme")
        other.create_device(tenant, "van", imei="1")
    with pytest.raises(RegistryRefused, match="imei"):
        store.create_device("Acme", "car", imei="1")
    gateway = store.create_device("Acme", "gate", gateway=True, custom1="plant 7")
    child = store.create_device(tenant, "door", parent="gate", dev_eui="70-B3-D5-7E-D0-00-12-34", id="door-1")
    assert (child.id, child.parent_id) == ("door-1", gateway.id)
    assert gateway.attributes["custom1"] == "plant 7"


def test_no_secret_enters_the_topic(settings: Settings, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    secrets = [store.create_credential(tenant, "flespi")[1], store.rotate_tenant_secret(tenant), "psk-in-clear"]
    destination = store.create_destination(
        tenant, "webhook", "https://example.com/", ("ignition.on",), psk="psk-in-clear"
    )
    log = b"".join(raw_log(settings))
    assert destination.id.encode() in log
    assert b'"action":"created"' in log
    assert not [secret for secret in secrets if secret.encode() in log]
    assert unseal(settings, destination.sealed_psk) == "psk-in-clear"


def raw_log(settings: Settings) -> Iterator[bytes]:
    """Yield every committed record of the registry and of its audit trail."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**settings.kafka_config(), "group.id": "test", "enable.partition.eof": True})
    waiting = {settings.topics.registry, settings.topics.audit}
    consumer.assign([TopicPartition(topic, 0, 0) for topic in waiting])
    try:
        while waiting:
            message = consumer.poll(5)
            assert message is not None
            if message.error() is not None:
                waiting.discard(message.topic())
            else:
                yield message.key() + (message.value() or b"")
    finally:
        consumer.close()


def test_a_new_registry_topic_is_compacted_into_one_partition(settings: Settings, store: RegistryStore) -> None:
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

    store.create_tenant("Acme")
    admin = AdminClient(settings.kafka_config())
    assert len(admin.list_topics(timeout=5).topics[settings.topics.registry].partitions) == 1
    wanted = ConfigResource(ResourceType.TOPIC, settings.topics.registry)
    assert admin.describe_configs([wanted])[wanted].result(5)["cleanup.policy"].value == "compact"


def test_a_missing_broker_is_said_with_what_to_do(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"})
    with RegistryStore(nowhere) as store, pytest.raises(RegistryUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        _ = store.view


def test_a_long_reading_tells_how_far_it_is(
    settings: Settings, store: RegistryStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([Device(id=f"d{n}", tenant_id="t", name="") for n in range(500)])
    monkeypatch.setattr("registry.follower._TELL_S", 0.0)
    follower = RegistryFollower(settings)
    with caplog.at_level("INFO", logger="registry.follower"):
        follower.start()
        try:
            assert follower.wait_caught_up(10)
            await_that(lambda: "read to its end: 500 entries, " in caplog.text, 5)
        finally:
            follower.stop()
    assert "the registry is being read: 50" in caplog.text  # of the messages, some are the ends of what was there
    told = len(caplog.records)
    store.create_tenant("Acme")
    assert len(caplog.records) == told
