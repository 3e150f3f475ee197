"""Changing the registry: one writer at a time, whoever else tries; every change whole, and in the audit trail."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fleetline.kafka_admin import ensure_topics
from fleetline.settings import Settings
from registry.draft import Draft
from registry.errors import Conflict, RegistryRefused, Stale
from registry.follower import RegistryFollower
from registry.model import Credential, Device, Tenant, TenantSettings
from registry.rules import access, devices, tenants
from registry.store import RegistryStore
from registry.writer import RegistryWriter, Undecided

pytestmark = pytest.mark.stack


@pytest.fixture
def store(settings: Settings) -> Iterator[RegistryStore]:
    with RegistryStore(settings, "test:store") as opened:
        yield opened


@pytest.fixture
def other(settings: Settings) -> Iterator[RegistryStore]:
    with RegistryStore(settings, "test:other") as opened:
        yield opened


def audit_trail(settings: Settings) -> list[dict[str, Any]]:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**settings.kafka_config(), "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(settings.topics.audit, 0, 0)])
    found: list[dict[str, Any]] = []
    try:
        while True:
            message = consumer.poll(5)
            assert message is not None
            if message.error() is not None:
                return found
            found.append(json.loads(message.value()))
    finally:
        consumer.close()


def test_two_writers_take_turns_and_each_sees_what_the_other_wrote(store: RegistryStore, other: RegistryStore) -> None:
    for number in range(4):
        writer, reader = (store, other) if number % 2 else (other, store)
        made = writer.create_tenant(f"tenant {number}")
        with pytest.raises(Conflict):
            reader.create_tenant(made.name)
    assert len(store.refresh().tenants()) == len(other.refresh().tenants()) == 4


def test_of_many_writers_at_once_exactly_one_gets_an_id(settings: Settings, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    outcomes: list[str] = []
    ready = threading.Barrier(4)

    def claim(number: int) -> None:
        with RegistryStore(settings, f"test:{number}") as mine:
            _ = mine.view
            ready.wait(30)
            try:
                mine.create_device(tenant, f"van {number}", imei="1")
                outcomes.append("created")
            except Conflict:
                outcomes.append("refused")

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["created", "refused", "refused", "refused"]
    assert len(store.refresh().devices(tenant.id)) == 1


def test_of_two_changes_made_from_one_version_the_second_is_stale(store: RegistryStore, other: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    device = store.create_device(tenant, "van")
    other.change(lambda draft: devices.change_device(draft, device, name="car", version=1))
    with pytest.raises(Stale):
        store.change(lambda draft: devices.change_device(draft, device, name="bus", version=1))
    standing = store.refresh().device(device.id)
    assert standing is not None
    assert (standing.name, standing.version) == ("car", 2)


def test_a_plan_that_raises_leaves_nothing_behind(settings: Settings, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")

    def plan(draft: Draft) -> None:
        devices.create_device(draft, tenant, "van", {})
        raise RegistryRefused("changed my mind")

    with pytest.raises(RegistryRefused, match="changed my mind"):
        store.change(plan)
    assert not store.refresh().devices(tenant.id)
    assert [each["kind"] for each in audit_trail(settings)] == ["tenant"]


_DIES = """
import os
from fleetline.kafka_admin import ensure_topics
from fleetline.settings import Settings
from registry.writer import RegistryWriter
settings = Settings()
writer = RegistryWriter(settings)
writer.prepare()
producer = writer._producer
producer.begin_transaction()
producer.produce(settings.topics.registry, key=b"tenant/ghost", value=b'{"type":"tenant","id":"ghost","name":"Ghost"}')
producer.flush(10)
os._exit(9)
"""


def test_a_writer_killed_in_its_transaction_holds_up_neither_the_next_one_nor_the_readers(
    settings: Settings, store: RegistryStore
) -> None:
    store.create_tenant("Acme")
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
    }
    assert subprocess.run([sys.executable, "-c", _DIES], env=environment, check=False).returncode == 9
    follower = RegistryFollower(settings)
    follower.start()
    try:
        assert follower.wait_caught_up(10)
        assert [each.name for each in follower.view.tenants()] == ["Acme"]
        store.create_tenant("Beta")
        assert {each.name for each in store.view.tenants()} == {"Acme", "Beta"}
        for _ in range(100):
            if len(follower.view.tenants()) == 2:
                break
            threading.Event().wait(0.02)
        assert {each.name for each in follower.view.tenants()} == {"Acme", "Beta"}
    finally:
        follower.stop()


def test_the_audit_trail_says_who_changed_what_and_no_secret(settings: Settings, store: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    device = store.create_device(tenant, "van", imei="1")
    store.change(lambda draft: devices.change_device(draft, device, name="car"), actor="api-key:k1")
    created, secret = store.create_credential(tenant, "device", device)
    store.change(lambda draft: access.rotate_credential(draft, created))
    store.change(lambda draft: tenants.change_settings(draft, tenant, ["flespi"]))
    store.change(lambda draft: devices.remove_device(draft, device))
    trail = audit_trail(settings)
    assert [(each["action"], each["kind"], each["actor"]) for each in trail] == [
        ("created", "tenant", "test:store"),
        ("created", "device", "test:store"),
        ("changed", "device", "api-key:k1"),
        ("created", "credential", "test:store"),
        ("changed", "credential", "test:store"),
        ("created", "settings", "test:store"),
        ("removed", "credential", "test:store"),
        ("removed", "device", "test:store"),
    ]
    renamed, rotated = trail[2], trail[4]
    assert {each["tenant_id"] for each in trail} == {tenant.id}
    assert (json.loads(renamed["before"])["name"], json.loads(renamed["after"])["name"]) == ("van", "car")
    assert (json.loads(rotated["before"])["digest"], json.loads(rotated["after"])["digest"]) == ("(set)", "(set anew)")
    written = json.dumps(trail)
    assert secret not in written
    assert created.digest not in written


def test_storing_an_entry_again_writes_nothing(settings: Settings, store: RegistryStore) -> None:
    entry = Device(id="d", tenant_id="t", name="van")
    store.put([Tenant(id="t", name="Acme"), entry])
    store.put(entry)
    assert len(audit_trail(settings)) == 2
    store.delete(entry)
    store.delete(entry)
    assert len(audit_trail(settings)) == 3


def test_every_kind_is_stored_and_read_back(settings: Settings, store: RegistryStore, other: RegistryStore) -> None:
    tenant = store.create_tenant("Acme")
    store.rotate_tenant_secret(tenant)
    store.change(lambda draft: access.create_api_key(draft, tenant, "ci", ["*"]))
    store.change(lambda draft: tenants.change_settings(draft, tenant, ["ttn"]))
    view = other.refresh()
    assert view.get(TenantSettings, tenant.id) == TenantSettings(
        id=tenant.id, tenant_id=tenant.id, auto_register=("ttn",)
    )
    assert view.get(Credential, f"integration.{tenant.id}") is not None
    assert view.tenants() == (tenant,)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_made_once_and_not_twice(
    settings: Settings, store: RegistryStore, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    tenant = store.create_tenant("Acme")
    commit = RegistryWriter.commit
    failures: list[str] = []

    def unlucky(self: RegistryWriter, messages: Any) -> dict[str, int]:
        if failures:
            return commit(self, messages)
        failures.append(lost)
        if lost == "after":
            commit(self, messages)
        self._give_up()
        raise Undecided("the answer is lost")

    monkeypatch.setattr(RegistryWriter, "commit", unlucky)
    made = store.create_device(tenant, "van", imei="1")
    assert failures
    assert store.refresh().devices(tenant.id) == (made,)
    assert [each["object_id"] for each in audit_trail(settings)] == [tenant.id, made.id]


def test_an_installation_without_an_audit_trail_gets_one_with_its_first_change(settings: Settings) -> None:
    ensure_topics(settings, only=(settings.topics.registry,))
    with RegistryStore(settings, "test:upgrade") as store:
        tenant = store.create_tenant("Acme")
    assert [each["object_id"] for each in audit_trail(settings)] == [tenant.id]
