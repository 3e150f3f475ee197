"""The loader on the real Kafka and ClickHouse: one row per record, whatever happens in between."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from fleetline.settings import Settings
from schemas.ids import format_id
from schemas.records import telemetry_writer
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
from sinks.clickhouse.migrate import MigrationChanged, migrate
from sinks.clickhouse.verify import verify
from tests.support import child, committed, produce, read_all, telemetry, until

pytestmark = pytest.mark.stack

RECORDS = 3_000
BATCH = 400


@pytest.fixture
def client(topics: Settings) -> Iterator[Client]:
    with connect(topics) as made:
        migrate(made)
        yield made
        made.command(f"DROP DATABASE {topics.topic_prefix.strip('.')}")


def write(settings: Settings, numbers: range) -> None:
    to_bytes = telemetry_writer()
    produce(
        settings,
        settings.topics.telemetry,
        [(f"device-{n % 20}".encode(), to_bytes(telemetry(n, n % 20)), []) for n in numbers],
    )


def load(settings: Settings, client: Client) -> None:
    """Load until everything that is in the topic is committed."""
    step_to_end(settings, Loader(settings, client, max_records=BATCH, linger_s=0.2))


def step_to_end(settings: Settings, loader: Loader) -> None:
    group = f"{settings.topic_prefix}clickhouse"

    def at_end() -> bool:
        for _ in range(5):
            loader.step()
        done, end = committed(settings, group, settings.topics.telemetry)
        return done == end

    try:
        until(at_end, 60)
    finally:
        loader.close()


def stored(client: Client) -> int:
    return int(client.query("SELECT count() FROM telemetry_rows").result_rows[0][0])


def assert_exact(settings: Settings, client: Client, expected: int) -> None:
    verdict = verify(settings, client, settings.topics.telemetry)
    assert verdict.holds, verdict
    assert (verdict.expected, verdict.rows) == (expected, expected)
    ids = {row[0] for row in client.query("SELECT id FROM telemetry").result_rows}
    assert ids == {format_id(telemetry(n)["id"]) for n in range(expected)}


def test_every_record_is_one_row_with_its_values(topics: Settings, client: Client) -> None:
    write(topics, range(RECORDS))
    load(topics, client)
    assert_exact(topics, client, RECORDS)
    found = client.query(
        "SELECT observed_at, latitude, longitude, speed_kmh, course_deg, platform_at, satellites, fix_valid, numbers, booleans,"
        " texts, toUnixTimestamp64Micro(observed_at) AS us FROM telemetry WHERE raw_offset = 15"
    ).first_item
    assert found is not None
    sent = telemetry(15)
    assert found["us"] == sent["observed_us"]
    assert (found["latitude"], found["longitude"]) == (pytest.approx(48.200015, abs=1e-9), 16.3)
    assert (found["speed_kmh"], found["course_deg"], found["platform_at"]) == (15, None, None)
    assert (found["satellites"], found["fix_valid"]) == (9, True)
    assert (found["numbers"], found["booleans"], found["texts"]) == (sent["numbers"], sent["booleans"], sent["texts"])


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
def test_killed_mid_batch_it_ends_with_the_same_rows(point: str, passes: int, topics: Settings, client: Client) -> None:
    write(topics, range(RECORDS))
    victim = child(topics, "victim", "-c", VICTIM, point, str(passes))
    victim.start()
    until(lambda: not victim.is_running, 40, victim.log_tail())
    assert victim.exit_status == -9, victim.log_tail()
    assert stored(client) < RECORDS
    write(topics, range(RECORDS, RECORDS + 100))  # a longer log must not change the batch that is pending
    load(topics, client)
    assert_exact(topics, client, RECORDS + 100)


class LosesAnswers:
    """A client whose first inserts arrive and whose answers do not."""

    def __init__(self, client: Client, losses: int) -> None:
        self._client = client
        self._losses = losses
        self.server_settings = client.server_settings
        self.inserts = 0

    def insert(self, *args: Any, **kwargs: Any) -> None:
        self._client.insert(*args, **kwargs)
        self.inserts += 1
        if self.inserts <= self._losses:
            raise ConnectionResetError("the answer was lost")


def test_a_lost_acknowledgement_doubles_nothing(topics: Settings, client: Client) -> None:
    write(topics, range(RECORDS))
    losing = LosesAnswers(client, 3)
    step_to_end(topics, Loader(topics, losing, max_records=BATCH, linger_s=0.2))  # type: ignore[arg-type]
    assert losing.inserts > 3
    assert_exact(topics, client, RECORDS)


def test_a_second_loader_joining_and_leaving_doubles_nothing(topics: Settings, client: Client) -> None:
    stopped = threading.Event()

    def work(until_stopped: threading.Event) -> None:
        with connect(topics) as own:
            loader = Loader(topics, own, max_records=50, linger_s=0.05)
            try:
                while not until_stopped.is_set():
                    loader.step()
            finally:
                loader.close()

    first = threading.Thread(target=work, args=(stopped,))
    first.start()
    leaves = threading.Event()
    second = threading.Thread(target=work, args=(leaves,))
    try:
        for start in range(0, 2_000, 100):
            write(topics, range(start, start + 100))
            if start == 500:
                second.start()
            if start == 1_300:
                leaves.set()
            time.sleep(0.15)
        until(lambda: stored(client) >= 2_000, 60)
    finally:
        leaves.set()
        stopped.set()
        first.join(20)
        second.join(20)
    assert_exact(topics, client, 2_000)


def test_a_message_sent_twice_counts_once(topics: Settings, client: Client) -> None:
    write(topics, range(500))
    write(topics, range(200, 300))  # AP-a15, FL-a22: the sender did not hear our 200
    load(topics, client)
    assert client.query("SELECT count(), uniqExact(id) FROM telemetry").result_rows[0] == (500, 500)


def test_foreign_bytes_go_to_quarantine_and_hold_nothing_up(topics: Settings, client: Client) -> None:
    write(topics, range(10))
    produce(topics, topics.topics.telemetry, [(b"x", b"\xc3\x01not a record", []), (b"x", b"", [])])
    write(topics, range(10, 20))
    load(topics, client)
    assert stored(client) == 20
    kept = read_all(topics, topics.topics.quarantine)
    assert {record.value() for record in kept} == {b"\xc3\x01not a record", b""}
    headers = dict(kept[0].headers())
    assert headers["quarantine-reason"] == b"undecodable_record"
    assert headers["origin-topic"] == topics.topics.telemetry.encode()


def test_migrations_run_once_and_an_edited_one_is_refused(client: Client) -> None:
    assert migrate(client) == []
    client.command(
        "ALTER TABLE migrations UPDATE checksum = 'edited' WHERE name = '0001_rows.sql' SETTINGS mutations_sync = 2"
    )
    with pytest.raises(MigrationChanged, match=r"0001_rows\.sql"):
        migrate(client)


def test_the_verifier_notices_one_missing_row(topics: Settings, client: Client) -> None:
    write(topics, range(100))
    load(topics, client)
    assert verify(topics, client, topics.topics.telemetry).holds
    client.command("ALTER TABLE telemetry_rows DELETE WHERE raw_offset = 42 SETTINGS mutations_sync = 2")
    verdict = verify(topics, client, topics.topics.telemetry)
    assert (verdict.missing, verdict.holds) == (1, False)


def test_filters_reach_the_rows_through_the_view(topics: Settings, client: Client) -> None:
    write(topics, range(100))
    load(topics, client)
    plan = client.query(
        "EXPLAIN indexes = 1 SELECT count() FROM telemetry WHERE tenant_id = 't' AND device_id = 'd'"
        " AND observed_at > '2026-01-01 00:00:00'"
    ).result_rows
    text = "\n".join(str(row[0]) for row in plan)
    assert "PrimaryKey" in text, text
    assert "tenant_id" in text
    assert "device_id" in text


def test_a_released_record_leaves_the_view_of_what_waits(topics: Settings, client: Client) -> None:
    # AC-a41, DM-a19
    to_bytes = telemetry_writer()
    waiting = [telemetry(n) for n in range(3)]
    for each in waiting:
        each["device_id"] = ""
    records = [(b"silo", to_bytes(each), [("sender", b"[]")]) for each in waiting]
    note = [("sender", b"[]"), ("released-to", b"device-1"), ("released-offset", b"1")]
    produce(topics, topics.topics.unmapped, [*records, (b"silo", records[1][1], note), records[1]])
    loader = Loader(topics, client, max_records=2, linger_s=0.2)
    try:
        until(
            lambda: loader.step() >= 0 and client.query("SELECT count() FROM unmapped_rows").result_rows[0][0] == 5, 30
        )
    finally:
        loader.close()
    shown = client.query("SELECT id FROM unmapped ORDER BY id").result_rows
    assert {row[0] for row in shown} == {
        format_id(waiting[n]["id"]) for n in (0, 2)
    }  # sent again, it does not come back
    went = client.query("SELECT DISTINCT released_to FROM unmapped_rows FINAL WHERE released_to != ''").result_rows
    assert went == [("device-1",)]
