"""The queries of the reconciliation, on the real ClickHouse: each copy is seen, and told from a duplicate."""

import pytest

from fleetline.settings import Settings
from fleetline.simulator.account import Account
from fleetline.simulator.expected import Expected
from fleetline.simulator.reconcile import count_rows, hold_merges, look, reconcile
from fleetline.simulator.wire import Answer
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import migrate

pytestmark = pytest.mark.stack

TENANT = "tenant-1"
INSERT = (
    "INSERT INTO {table} (id, tenant_id, device_id, source, sent_us, observed_at, received_at, raw_offset, kafka_offset)"
    " VALUES (unhex('{id}'), '{tenant}', 'device-1', 'flespi', {sent}, now64(6), now64(6), {raw}, {kafka})"
)


def an_id(number: int) -> bytes:
    return number.to_bytes(16)


def test_copies_are_seen_before_merges_and_duplicates_told_from_them(settings: Settings) -> None:
    client = connect(settings)
    migrate(client)
    hold_merges(client)

    def insert(number: int, *, sent: int = 7, raw: int = 1, kafka: int, table: str = "telemetry_rows") -> None:
        name = an_id(number).hex()
        client.command(INSERT.format(table=table, id=name, tenant=TENANT, sent=sent, raw=raw, kafka=kafka))

    insert(1, kafka=10)
    insert(2, raw=2, kafka=11)
    insert(2, raw=3, kafka=12)  # sent twice: two copies with one key
    insert(3, kafka=13)
    insert(3, kafka=13)  # loaded twice
    insert(4, sent=1, kafka=14)
    insert(4, sent=2, kafka=15)  # two keys: people would count two
    insert(5, kafka=16, table="unmapped_rows")

    found = look(client, TENANT, 0)
    account = Account("flespi", "flespi", made=6)
    sent = [Expected(an_id(number), False) for number in range(1, 7)]
    account.sending(sent)
    account.acknowledge(sent, Answer(status=200))
    made = reconcile(account, found, own_tenant=True)
    assert count_rows(client, TENANT) == 8
    assert made.missing_ids == ["00000000-0000-0000-0000-000000000006"]
    assert [each[-1] for each in made.duplicated_ids] == ["3", "4"]
    assert (made.stored_once, made.unmapped, made.copies_collapsed) == (3, 1, 3)
    assert look(client, "another", 0).records == {}
    client.close()
