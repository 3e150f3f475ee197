"""Holds the simulator's account against ClickHouse: acknowledged = stored once.

Rows are read WITHOUT `FINAL`, each copy by itself, so that a duplicate shows before a merge hides it. Copies of a record that
was sent several times are no duplicates: they have one key, and the views that people query show one of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from fleetline.simulator.account import Account
from schemas.ids import format_id

STORED_QUERY = """
SELECT source, id, count() AS copies, uniqExact(kafka_topic, kafka_partition, kafka_offset) AS written,
    uniqExact(raw_topic, raw_partition, raw_offset, raw_index) AS accepted,
    uniqExact(is_unmapped, device_id, sent_us, toYYYYMM(observed_at)) AS shown, max(is_unmapped) AS unmapped
FROM
(
    SELECT *, 0 AS is_unmapped FROM telemetry_rows WHERE tenant_id = {tenant:String}
    UNION ALL
    SELECT * EXCEPT released_to, 1 AS is_unmapped FROM unmapped_rows WHERE tenant_id = {tenant:String}
        AND id NOT IN (SELECT id FROM unmapped_rows WHERE tenant_id = {tenant:String} AND released_to != '')
)
WHERE received_at >= fromUnixTimestamp64Micro({since:Int64})
GROUP BY source, id
"""
EVENTS_QUERY = """
SELECT cause_id, count() FROM events_rows FINAL WHERE tenant_id = {tenant:String} AND origin = 'sender'
    AND received_at >= fromUnixTimestamp64Micro({since:Int64}) GROUP BY cause_id
"""
QUARANTINE_QUERY = """
SELECT source, count() FROM quarantine WHERE tenant_id = {tenant:String}
    AND received_at >= fromUnixTimestamp64Micro({since:Int64}) GROUP BY source
"""
COUNT_QUERY = """
SELECT (SELECT count() FROM telemetry_rows WHERE tenant_id = {tenant:String})
    + (SELECT count() FROM unmapped_rows WHERE tenant_id = {tenant:String})
"""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What ClickHouse holds under one id."""

    copies: int
    """Rows, before merges."""
    written: int
    """Distinct places in the telemetry topics: fewer than copies means the loader loaded one twice."""
    accepted: int
    """Distinct places in the raw topics: how often the door took it in."""
    shown: int
    """Rows that no merge will ever bring together: more than one and people count it twice."""
    unmapped: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one sender. The three that must be zero: `missing`, `duplicated`, `unexpected`."""

    sender: str
    source: str
    readings: int
    requests: int
    answers: dict[str, int]
    acknowledged: int
    stored_once: int
    """Acknowledged records that are there exactly once."""
    unacknowledged: int
    """Readings that the sender never got an acknowledgement for: dropped or still held."""
    dropped: int
    held: int
    stored_unacknowledged: int
    """Records that are there although their sender does not know."""
    missing: int
    duplicated: int
    unexpected: int
    """Records that nobody sent whole."""
    sent_again: int
    """Whole transmissions of records beyond the first: by faults, retries and repetitions."""
    copies_collapsed: int
    """Rows beyond the first per record, which the views show once."""
    unmapped: int
    quarantined: int
    events: int
    events_missing: int
    p50_ms: float | None
    p99_ms: float | None
    missing_ids: list[str]
    duplicated_ids: list[str]
    unexpected_ids: list[str]

    @property
    def holds(self) -> bool:
        """Whether acknowledged = stored once."""
        return not (self.missing or self.duplicated or self.unexpected or self.events_missing)


class Found(msgspec.Struct, kw_only=True):
    """What one look at ClickHouse showed."""

    records: dict[str, dict[bytes, Stored]]
    events: dict[bytes, int]
    quarantined: dict[str, int]


_SHOWN_IDS = 20


def hold_merges(client: Client) -> None:
    """Let every copy stand until it was counted. For a database of our own and short runs: parts pile up meanwhile."""
    for table in ("telemetry_rows", "unmapped_rows", "events_rows"):
        client.command(f"SYSTEM STOP MERGES {table}")


def count_rows(client: Client, tenant_id: str) -> int:
    """Count the rows of a tenant, copies included."""
    return int(client.query(COUNT_QUERY, parameters={"tenant": tenant_id}).result_rows[0][0])


def look(client: Client, tenant_id: str, since_us: int) -> Found:
    """Read what is stored of a tenant since a moment."""
    parameters = {"tenant": tenant_id, "since": since_us}
    found = Found(records={}, events={}, quarantined={})
    for source, key, copies, written, accepted, shown, unmapped in _rows(client, STORED_QUERY, parameters):
        found.records.setdefault(source, {})[bytes(key)] = Stored(copies, written, accepted, shown, bool(unmapped))
    found.events = {bytes(key): count for key, count in _rows(client, EVENTS_QUERY, parameters)}
    found.quarantined = {str(source): count for source, count in _rows(client, QUARANTINE_QUERY, parameters)}
    return found


def _rows(client: Client, query: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
    return client.query(query, parameters=parameters).result_rows


def missing_records(accounts: Mapping[str, Account], found: Found) -> int:
    """Count the acknowledged records, and events of theirs, that are not there (yet)."""
    return sum(
        len(account.acknowledged - found.records.get(account.source, {}).keys())
        + len(account.events - found.events.keys())
        for account in accounts.values()
    )


def reconcile_all(accounts: Iterable[Account], found: Found, *, own_tenant: bool) -> list[Verdict]:
    """Work out every sender's verdict. Of senders of one source the first also answers for what none of them sent."""
    left = {source: dict(records) for source, records in found.records.items()}
    quarantined = dict(found.quarantined)
    ordered = tuple(accounts)
    shares = []
    for account in ordered:
        records = left.get(account.source, {})
        shares.append({key: records.pop(key) for key in account.transmissions.keys() & records.keys()})
    verdicts = []
    for account, share in zip(ordered, shares, strict=True):
        share.update(left.pop(account.source, {}))
        own = Found(
            records={account.source: share},
            events=found.events,
            quarantined={account.source: quarantined.pop(account.source, 0)},
        )
        verdicts.append(reconcile(account, own, own_tenant=own_tenant))
    return verdicts


def reconcile(account: Account, found: Found, *, own_tenant: bool) -> Verdict:
    """Work out one sender's verdict. In a tenant that is not our own, what others sent is not unexpected."""
    stored = found.records.get(account.source, {})
    acknowledged = account.acknowledged
    missing = acknowledged - stored.keys()
    duplicated = [
        key
        for key, each in stored.items()
        if (each.shown > 1 or each.copies > each.written) and (key in account.transmissions or own_tenant)
    ]
    unexpected = stored.keys() - account.transmissions.keys() if own_tenant else set()
    ours = [each for key, each in stored.items() if key in account.transmissions]
    doubled = set(duplicated)
    return Verdict(
        sender=account.name,
        source=account.source,
        readings=account.made,
        requests=account.requests,
        answers=dict(account.answers),
        acknowledged=len(acknowledged),
        stored_once=len(acknowledged) - len(missing) - len(acknowledged & doubled),
        unacknowledged=account.dropped + account.held,
        dropped=account.dropped,
        held=account.held,
        stored_unacknowledged=len(stored.keys() & account.transmissions.keys() - acknowledged),
        missing=len(missing),
        duplicated=len(duplicated),
        unexpected=len(unexpected),
        sent_again=account.transmissions.total() - len(account.transmissions),
        copies_collapsed=sum(each.copies - 1 for each in ours),
        unmapped=sum(each.unmapped for each in ours),
        quarantined=found.quarantined.get(account.source, 0),
        events=len(account.events),
        events_missing=len(account.events - found.events.keys()),
        p50_ms=account.latency_ms(0.5),
        p99_ms=account.latency_ms(0.99),
        missing_ids=_texts(missing),
        duplicated_ids=_texts(duplicated),
        unexpected_ids=_texts(unexpected),
    )


def _texts(ids: Iterable[bytes]) -> list[str]:
    return [format_id(each) for each in sorted(ids)[:_SHOWN_IDS]]
