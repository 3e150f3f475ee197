"""The audit trail on its way to ClickHouse: committed changes only, each once, whatever happens in between."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fleetline.settings import Settings
from registry.audit import AuditRecord
from registry.rules import access, devices, places
from registry.sealing import seal
from registry.secrets import digest
from registry.store import RegistryStore
from schemas.ids import new_id
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.verify import verify
from tests.support import child, committed, produce, read_all, until

pytestmark = pytest.mark.stack

BATCH = 7
AT_US = 1_790_000_000_000_000


@pytest.fixture
def client(topics: Settings) -> Iterator[Client]:
    with connect(topics) as made:
        migrate(made)
        yield made
        made.command(f"DROP DATABASE {topics.topic_prefix.strip('.')}")


def record(number: int) -> bytes:
    """Make one change as it stands in the topic."""
    return msgspec.json.encode(
        AuditRecord(
            id=new_id(), at_us=AT_US + number, actor="test", action="created", kind="device", object_id=f"d{number}",
            tenant_id="t", version=1, before="", after='{"name":"Van"}',
        )
    )  # fmt: skip


def transactions(settings: Settings, *sizes: int) -> list[str]:
    """Write transactions of so many records each, a negative size is aborted; return the ids of what was committed."""
    producer = Producer({**settings.kafka_config(), "transactional.id": f"{settings.topic_prefix}test"})
    producer.init_transactions(15)
    kept: list[str] = []
    number = 0
    for size in sizes:
        producer.begin_transaction()
        for _ in range(abs(size)):
            producer.produce(settings.topics.audit, record(number), f"device/d{number}".encode())
            if size > 0:
                kept.append(f"d{number}")
            number += 1
        producer.flush(15)  # so that what is aborted really stands in the topic
        if size > 0:
            producer.commit_transaction(15)
        else:
            producer.abort_transaction(15)
    return kept


def stored(client: Client) -> list[str]:
    return [row[0] for row in client.query("SELECT object_id FROM audit_rows ORDER BY kafka_offset").result_rows]


def load(settings: Settings, client: Client, done: Callable[[], bool] | None = None) -> None:
    """Load until nothing is left: the group's lag is 0, although the topic ends with a mark."""
    loader = Loader(settings, client, max_records=BATCH, linger_s=0.1)
    group = f"{settings.topic_prefix}clickhouse"

    def at_end() -> bool:
        loader.step()
        now, end = committed(settings, group, settings.topics.audit)
        return now == end and (done is None or done())

    try:
        until(at_end, 40)
    finally:
        loader.close()


def test_only_what_was_committed_is_loaded_and_nothing_of_it_is_left_behind(topics: Settings, client: Client) -> None:
    kept = transactions(topics, 3, -4, 1, 1, 20, -2, 5, -1)
    load(topics, client)
    assert stored(client) == kept
    verdict = verify(topics, client, topics.topics.audit)
    assert (verdict.holds, verdict.expected, verdict.rows) == (True, len(kept), len(kept))


def test_the_verifier_notices_a_missing_change_and_one_that_never_was(topics: Settings, client: Client) -> None:
    transactions(topics, 3, -4, 2)
    load(topics, client)
    client.command("ALTER TABLE audit_rows UPDATE kafka_offset = 5 WHERE object_id = 'd1' SETTINGS mutations_sync = 2")
    verdict = verify(topics, client, topics.topics.audit)
    assert (verdict.missing, verdict.foreign, verdict.doubled, verdict.holds) == (1, 1, 0, False)


VICTIM = f"""
import os, signal, sys
from fleetline.settings import Settings
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
point, passes = sys.argv[1], int(sys.argv[2])
def checkpoint(name):
    global passes
    if name == point:
        passes -= 1
        if passes == 0:
            os.kill(os.getpid(), signal.SIGKILL)
settings = Settings()
loader = Loader(settings, connect(settings), max_records={BATCH}, linger_s=0.2, checkpoint=checkpoint)
while True:
    loader.step()
"""


@pytest.mark.parametrize("point", ["written-ahead", "inserted", "committed"])
@pytest.mark.parametrize("passes", [1, 3])
def test_killed_mid_batch_it_ends_with_the_committed_changes(
    point: str, passes: int, topics: Settings, client: Client
) -> None:
    # Batches of 7 end in the middle of transactions, at their ends and before aborted ones; most records end one.
    kept = transactions(topics, 2, -3, 5, 4, -2, *[1] * 16, -1)
    die(topics, point, passes)
    assert len(stored(client)) < len(kept)
    load(topics, client)
    assert stored(client) == kept
    assert verify(topics, client, topics.topics.audit).holds


def die(settings: Settings, point: str, passes: int) -> None:
    victim = child(settings, "victim", "-c", VICTIM, point, str(passes))
    victim.start()
    until(lambda: not victim.is_running, 40, victim.log_tail())
    assert victim.exit_status == -9, victim.log_tail()


def test_a_pending_batch_whose_records_are_gone_holds_nothing_up(topics: Settings, client: Client) -> None:
    transactions(topics, *[1] * 9)
    die(topics, "written-ahead", 1)
    admin = AdminClient(topics.kafka_config())
    place = TopicPartition(topics.topics.audit, 0, -1)
    admin.delete_records([place])[TopicPartition(topics.topics.audit, 0)].result()
    load(topics, client)
    assert stored(client) == []
    after = transactions(topics, 2)
    load(topics, client, lambda: len(stored(client)) == 2)
    assert stored(client) == after


def test_foreign_bytes_go_to_quarantine_and_hold_nothing_up(topics: Settings, client: Client) -> None:
    odd = msgspec.json.decode(record(1))
    foreign = [b"\xff\x00", b"", b"{}", b"[1]", msgspec.json.encode({**odd, "at_us": 2**62})]
    foreign += [msgspec.json.encode({**odd, "version": -1}), b'{"id": 5' + record(1)[5:]]
    produce(topics, topics.topics.audit, [(b"x", value, []) for value in foreign])
    kept = transactions(topics, 2)
    load(topics, client)
    assert stored(client) == kept
    assert sorted(each.value() for each in read_all(topics, topics.topics.quarantine)) == sorted(foreign)


def test_a_change_is_a_row_with_everything_but_its_secrets(topics: Settings, client: Client) -> None:
    secrets: list[str] = []
    with RegistryStore(topics, actor="cli:ada@desk") as store:
        tenant = store.create_tenant("Acme")
        van = store.create_device(tenant, "Van", imei="1")
        credential, secret = store.create_credential(tenant, "device", van)
        secrets.append(secret)
        store.change(lambda draft: devices.change_device(draft, van, name="Vän", attributes={"imei": "2"}))
        secrets.append(store.change(lambda draft: access.rotate_credential(draft, credential))[1])
        secrets += [store.rotate_tenant_secret(tenant), store.rotate_tenant_secret(tenant)]
        secrets.append(store.change(lambda draft: access.create_api_key(draft, tenant, "k", ["*"]))[1])
        target = store.create_destination(tenant, "webhook", "https://example.com/", psk="Bearer psk-1")
        sealed = seal(topics, "Bearer psk-2")
        store.change(lambda draft: places.change_destination(draft, target, sealed_psk=sealed))
        store.change(lambda draft: devices.remove_device(draft, van))
        digests = [digest(each) for each in secrets]
        store.change(lambda draft: places.remove_destination(draft, target))
    load(topics, client)
    assert verify(topics, client, topics.topics.audit).holds
    rows = client.query("SELECT * FROM audit ORDER BY position").result_rows
    assert len(rows) == 13
    everything = str(client.query("SELECT * FROM audit_rows").result_rows)
    for hidden in (*secrets, *digests, "psk-1", "psk-2", sealed):
        assert hidden not in everything
    changed: Any = client.query("SELECT * FROM audit WHERE kind = 'device' AND action = 'changed'").first_item
    assert (changed["actor"], changed["tenant_id"], changed["object_id"]) == ("cli:ada@desk", tenant.id, van.id)
    assert changed["version"] == 2
    before, after = msgspec.json.decode(changed["before"]), msgspec.json.decode(changed["after"])
    assert (before["name"], after["name"]) == ("Van", "Vän")
    assert (before["attributes"]["imei"], after["attributes"]["imei"]) == ("1", "2")
    rotated: Any = client.query(
        "SELECT before, after FROM audit WHERE kind = 'credential' AND action = 'changed' ORDER BY position LIMIT 1"
    ).first_item
    assert msgspec.json.decode(rotated["before"])["digest"] == "(set)"
    assert msgspec.json.decode(rotated["after"])["digest"] == "(set anew)"
