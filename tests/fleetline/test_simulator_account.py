"""The reconciliation finds what it is there to find: a loss, a duplicate, a record that nobody sent."""

import pytest

from fleetline.simulator.account import Account
from fleetline.simulator.expected import Expected
from fleetline.simulator.reconcile import Found, Stored, Verdict, missing_records, reconcile, reconcile_all
from fleetline.simulator.wire import Answer

ONCE = Stored(copies=1, written=1, accepted=1, shown=1, unmapped=False)
OK = Answer(status=200, took_s=0.002)


def record(number: int, *, is_event: bool = False) -> Expected:
    return Expected(number.to_bytes(16), is_event)


def account() -> Account:
    """Four readings sent: 1, 2 and 3 (an event) acknowledged, 4 dropped."""
    made = Account("flespi", "flespi", made=4)
    known = (record(1), record(2), record(3, is_event=True))
    made.sending((*known, record(4)))
    made.acknowledge(known, OK)
    made.dropped = 1
    return made


def verdict(records: dict[int, Stored], *, events: tuple[int, ...] = (3,), own_tenant: bool = True) -> Verdict:
    found = Found(
        records={"flespi": {record(number).id: each for number, each in records.items()}},
        events={record(number).id: 1 for number in events},
        quarantined={},
    )
    return reconcile(account(), found, own_tenant=own_tenant)


def test_an_account_closes_when_what_was_acknowledged_is_there_once() -> None:
    made = verdict({1: ONCE, 2: ONCE, 3: ONCE})
    assert made.holds
    assert (made.acknowledged, made.stored_once, made.unacknowledged, made.dropped) == (3, 3, 1, 1)
    assert made.p50_ms == 2.0


def test_what_is_stored_although_its_sender_does_not_know_is_no_fault() -> None:
    made = verdict({1: ONCE, 2: ONCE, 3: ONCE, 4: ONCE})
    assert made.holds
    assert made.stored_unacknowledged == 1


def test_one_acknowledged_record_missing_is_found_and_named() -> None:
    made = verdict({1: ONCE, 3: ONCE, 4: ONCE})
    assert not made.holds
    assert (made.missing, made.stored_once) == (1, 2)
    assert made.missing_ids == ["00000000-0000-0000-0000-000000000002"]


@pytest.mark.parametrize(
    "doubled",
    [
        Stored(
            copies=2, written=2, accepted=1, shown=2, unmapped=False
        ),  # under two keys: no merge brings them together
        Stored(copies=2, written=1, accepted=1, shown=1, unmapped=False),  # loaded twice from one place in Kafka
    ],
)
def test_a_duplicate_is_found_and_named(doubled: Stored) -> None:
    made = verdict({1: doubled, 2: ONCE, 3: ONCE})
    assert not made.holds
    assert (made.duplicated, made.stored_once) == (1, 2)
    assert made.duplicated_ids == ["00000000-0000-0000-0000-000000000001"]


def test_copies_of_what_was_sent_again_are_no_duplicates() -> None:
    made = verdict({1: Stored(copies=3, written=3, accepted=3, shown=1, unmapped=False), 2: ONCE, 3: ONCE})
    assert made.holds
    assert made.copies_collapsed == 2


def test_a_record_that_nobody_sent_is_found_in_a_tenant_of_our_own_only() -> None:
    stored = {1: ONCE, 2: ONCE, 3: ONCE, 9: ONCE}
    assert verdict(stored).unexpected == 1
    assert not verdict(stored).holds
    assert verdict(stored, own_tenant=False).holds


def test_a_missing_event_is_found() -> None:
    made = verdict({1: ONCE, 2: ONCE, 3: ONCE}, events=())
    assert not made.holds
    assert (made.events, made.events_missing) == (1, 1)


def test_missing_records_counts_records_and_events_over_all_senders() -> None:
    nothing = Found(records={}, events={}, quarantined={})
    assert missing_records({"flespi": account()}, nothing) == 4


def test_senders_of_one_source_answer_for_their_own_records_and_strangers_are_counted_once() -> None:
    over_http, over_mqtt = Account("device", "device"), Account("device-mqtt", "device")
    for sender, number in ((over_http, 1), (over_mqtt, 2)):
        sender.sending([record(number)])
        sender.acknowledge([record(number)], OK)
    doubled = Stored(copies=2, written=2, accepted=2, shown=2, unmapped=False)
    found = Found(
        records={"device": {record(1).id: ONCE, record(2).id: doubled, record(9).id: ONCE}},
        events={},
        quarantined={"device": 3},
    )
    first, second = reconcile_all((over_http, over_mqtt), found, own_tenant=True)
    assert (first.sender, first.stored_once, first.duplicated, first.unexpected, first.quarantined) == (
        "device", 1, 0, 1, 3,
    )  # fmt: skip
    assert (second.sender, second.stored_once, second.duplicated, second.unexpected, second.quarantined) == (
        "device-mqtt", 0, 1, 0, 0,
    )  # fmt: skip
    lost = Found(records={"device": {record(1).id: ONCE}}, events={}, quarantined={})
    assert [each.missing for each in reconcile_all((over_http, over_mqtt), lost, own_tenant=True)] == [0, 1]
    assert missing_records({"device": over_http, "device-mqtt": over_mqtt}, lost) == 1
