"""Release on the real broker: what waits goes to telemetry once its device is known, in order, and counts once."""

import json
import threading
from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from fleetline.settings import Settings
from processors.output import Output
from processors.release import Releaser
from registry.model import DEV_EUI, EXTERNAL_ID, Device, Entry, Tenant
from registry.store import RegistryStore
from schemas import topics as names
from schemas.records import event_reader, telemetry_reader
from sources.catalog import load_source, load_sources
from sources.golden import sample_request
from sources.raw_record import raw_headers as headers_of
from sources.samples import Sample, all_samples
from tests.processors.waiting import (
    Registry,
    all_read,
    leave,
    leave_waiting,
    normalized,
    raw_generic,
    release_all,
    releaser,
    settle,
)
from tests.support import TENANT, child, committed, produce, raw_headers, read_all, running, until

pytestmark = pytest.mark.stack

OTHER = "5a3b1e00-0000-7000-8000-0000000000bb"


def worker(settings: Settings, name: str = "processors") -> Any:
    return child(settings, name, "-m", "fleetline", "-v", "serve", "processors")


def silo(name: str, tenant: str = TENANT) -> Device:
    return Device(id=f"d-{name}", tenant_id=tenant, name=name, attributes={EXTERNAL_ID: name})


def put(settings: Settings, *devices: Device) -> None:
    with RegistryStore(settings) as store:
        store.put([Tenant(id=TENANT, name="A"), Tenant(id=OTHER, name="B"), *devices])


def generic(settings: Settings, device: str, numbers: Iterable[int], tenant: str = TENANT) -> None:
    produce(settings, settings.topics.raw("generic"), (raw_generic(device, n, tenant) for n in numbers))


def telemetry_of(settings: Settings) -> list[dict[str, Any]]:
    read = telemetry_reader()
    return [dict(read(record.value())) for record in read_all(settings, settings.topics.telemetry)]


def readings(settings: Settings) -> dict[str, list[float]]:
    """Return the readings of each device in the order of the topic."""
    found: dict[str, list[float]] = {}
    for record in telemetry_of(settings):
        found.setdefault(record["device_id"], []).append(record["numbers"]["temperature"])
    return found


def once(settings: Settings) -> dict[str, list[float]]:
    """Return the readings of each device as they count: each id where it first stands."""
    found: dict[str, dict[bytes, float]] = {}
    for record in telemetry_of(settings):
        found.setdefault(record["device_id"], {}).setdefault(record["id"], record["numbers"]["temperature"])
    return {device: list(by_id.values()) for device, by_id in found.items()}


def is_note(record: Any) -> bool:
    return any(name == names.RELEASED_OFFSET for name, _ in record.headers())


def waiting(settings: Settings) -> int:
    """Count the records of unknown devices that were ever written."""
    return sum(not is_note(record) for record in read_all(settings, settings.topics.unmapped))


def test_mapping_a_device_releases_what_waits_in_order_and_nothing_else(topics: Settings) -> None:
    # AC-a41, DM-a19
    put(topics)
    with running(worker(topics)) as process:
        for device in ("silo-1", "silo-2"):
            generic(topics, device, range(50))
        generic(topics, "silo-1", range(100, 150), tenant=OTHER)
        until(lambda: waiting(topics) == 150, 40)
        assert telemetry_of(topics) == []
        put(topics, silo("silo-1"))
        until(lambda: len(readings(topics).get("d-silo-1", ())) >= 50, 20)
        generic(topics, "silo-1", range(50, 60))
        until(lambda: len(readings(topics).get("d-silo-1", ())) >= 60, 20)
        theirs = Device(id="theirs", tenant_id=OTHER, name="Theirs", attributes={EXTERNAL_ID: "silo-1"})
        put(topics, silo("silo-2", OTHER), theirs)
        until(lambda: len(readings(topics).get("theirs", ())) >= 50, 20)
    assert process.exit_status == 0
    assert readings(topics) == {"d-silo-1": list(range(60)), "theirs": list(range(100, 150))}  # A's silo-2 still waits
    assert {record["tenant_id"] for record in telemetry_of(topics) if record["device_id"] == "theirs"} == {OTHER}


def _of_sample(source: str, name: str, sample: Sample) -> tuple[tuple[bytes, bytes, Any], list[Entry]]:
    """Return a sample's raw record and its devices, in a tenant and with device ids of their own."""
    tenant = f"{source}.{name}"
    request = sample_request(load_source(source), sample)
    request.tenant_id = tenant
    request.device_id = f"{tenant}.{request.device_id}" if request.device_id else ""
    entries: list[Entry] = [
        Device(
            id=f"{tenant}.{each.id}",
            tenant_id=tenant,
            name=each.name,
            gateway=each.gateway,
            parent_id=f"{tenant}.{each.parent}" if each.parent else "",
            attributes={
                EXTERNAL_ID: each.external_id or each.id, DEV_EUI: each.dev_eui, "imei": each.imei, "serial": each.serial
            },
        )
        for each in sample.devices
    ]  # fmt: skip
    return (b"", request.body, headers_of(request, load_source(source))), entries


def test_every_sample_is_released_as_if_its_device_had_been_known_at_once(topics: Settings) -> None:
    # AC-a41, DM-a19: by DevEUI, external id, IMEI, serial, as a gateway's child, as the credential's device
    raws, entries = [], []
    for source, name, sample in all_samples():
        if sample.status == 200:
            raw, devices = _of_sample(source, name, sample)
            raws.append((source, raw))
            entries += devices
    registry = Registry()
    leave_waiting(topics, raws)
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        assert read_all(topics, topics.topics.telemetry) == []
        registry.put(*entries)
        settle(made)
    at_once = normalized(topics, registry.view, raws)
    for topic in (topics.topics.telemetry, topics.topics.events):
        expected = sorted((key, value, headers) for name, key, value, headers in at_once if name == topic)
        found = sorted((each.key(), each.value(), each.headers() or []) for each in read_all(topics, topic))
        assert found == expected
        assert expected
    senders = {telemetry_reader()(each[2])["source"] for each in at_once if each[0] == topics.topics.telemetry}
    assert senders == set(load_sources()), "a source without a sample whose device is known shows nothing here"


KILLED = """
import os, signal, sys
import processors.release as release
release._FETCH = 100
note, calls = release.Releaser._note, []
def killed(self, gone):
    calls.append(1)
    if len(calls) == int(sys.argv[1]) and sys.argv[2] == "noted":
        note(self, gone)
    if len(calls) == int(sys.argv[1]):
        self._output.wait()  # durable in telemetry, and not yet written down
        os.kill(os.getpid(), signal.SIGKILL)
    note(self, gone)
release.Releaser._note = killed
from fleetline.settings import Settings
from processors.worker import serve
serve(Settings())
"""


@pytest.mark.slow
def test_killed_while_releasing_nothing_is_lost_nothing_counts_twice_and_it_ends(topics: Settings) -> None:
    # AC-a41
    count = 1_000
    devices = ("silo-1", "silo-2", "silo-3", "silo-4")
    leave_waiting(topics, (("generic", raw_generic(device, n)) for n in range(count) for device in devices))
    put(topics, *(silo(f"silo-{n}") for n in (1, 2, 3)))
    for number, (batch, at) in enumerate((("3", "unnoted"), ("2", "noted"))):
        victim = child(topics, f"victim-{number}", "-c", KILLED, batch, at)
        victim.start()
        try:
            until(lambda victim=victim: not victim.is_running, 40)  # type: ignore[misc]
        finally:
            victim.stop()
        assert victim.exit_status == -9, victim.log_tail()
    written = len(telemetry_of(topics))
    assert 0 < written < 3 * count
    with running(worker(topics)):
        until(lambda: sum(map(len, once(topics).values())) == 3 * count, 40)
        until(lambda: sum(map(is_note, read_all(topics, topics.topics.unmapped))) >= 3 * count, 20)
    assert once(topics) == {f"d-silo-{n}": [float(each) for each in range(count)] for n in (1, 2, 3)}
    copies = len(telemetry_of(topics)) - 3 * count
    assert 0 < copies <= 200, "what was durable and not written down is released again, and no more than one fetch"
    with releaser(topics, Registry(*(silo(f"silo-{n}") for n in (1, 2, 3))).view) as next_owner:
        assert settle(next_owner) == 0
        assert sum(each.count for inbox in next_owner._inboxes.values() for each in inbox.waiting.values()) == count


def test_a_registry_ahead_of_the_normalizers_or_behind_them_leaves_nothing_waiting(topics: Settings) -> None:
    # AC-a41
    registry = Registry()
    with releaser(topics, registry.view) as made:
        leave(topics, "silo-1", range(10))
        settle(made)
        registry.put(silo("silo-1"))
        release_all(made, 10)
        leave(topics, "silo-1", range(10, 20))  # by a normalizer that has not heard of the device yet
        leave(topics, "silo-2", range(10))
        release_all(made, 10)
        registry.remove(silo("silo-1"))
        leave(topics, "silo-1", range(20, 30))
        assert settle(made) == 0
        registry.put(silo("silo-1"))
        release_all(made, 10)
        registry.put(silo("silo-2"))
        release_all(made, 10)
        assert settle(made) == 0
        made._commit_after = 0.0
        settle(made)
    done, end = committed(topics, f"{topics.topic_prefix}unmapped", topics.topics.unmapped)
    assert done == end, "nothing waits, so the next owner of the partitions begins at their ends"
    assert readings(topics) == {"d-silo-1": list(range(30)), "d-silo-2": list(range(10))}


@pytest.mark.slow
def test_more_senders_than_are_listed_are_found_by_reading_again(topics: Settings) -> None:
    # AC-a41
    registry = Registry()
    devices = [f"silo-{n}" for n in range(12)]
    leave_waiting(topics, (("generic", raw_generic(device, n)) for n in range(10) for device in devices))
    with releaser(topics, registry.view, max_senders=2) as made:
        assert settle(made) == 0
        assert sum(len(each.waiting) for each in made._inboxes.values()) == 2
        for device in reversed(devices[6:]):
            registry.put(silo(device))
            release_all(made, 10)
        leave(topics, "silo-11", range(10, 15))  # of a normalizer that lags: its older ones are gone and stay so
        release_all(made, 5)
        listed = [json.loads(sender)[2] for inbox in made._inboxes.values() for sender in inbox.waiting]
        registry.put(*map(silo, listed))
        release_all(made, 20)
        assert settle(made) == 0
        made._prune_after = 0.0  # there is room again: the next two are listed
        assert settle(made) == 0
        assert sum(len(each.waiting) for each in made._inboxes.values()) == 2
    expected = {f"d-{device}": [float(n) for n in range(10)] for device in {*devices[6:], *listed}}
    expected["d-silo-11"] += [float(n) for n in range(10, 15)]
    assert readings(topics) == expected


def test_partitions_changing_hands_while_devices_are_mapped_lose_nothing(topics: Settings) -> None:
    # AC-a41
    registry, count = Registry(), 20
    devices = [f"silo-{n}" for n in range(60)]
    leave_waiting(topics, (("generic", raw_generic(device, n)) for n in range(count) for device in devices))
    failed: list[int] = []
    stays, leaves = Releaser(topics, registry.view), Releaser(topics, registry.view)
    try:
        for each in (stays, leaves):
            each.start(lambda: failed.append(1))
        until(
            lambda: all(made._inboxes and all(i.complete for i in made._inboxes.values()) for made in (stays, leaves))
        )
        mapping = threading.Thread(target=lambda: registry.put(*map(silo, devices[:-1])))
        mapping.start()
        leaves.stop()
        mapping.join()
        until(lambda: sum(map(len, once(topics).values())) >= count * (len(devices) - 1), 40)
    finally:
        stays.stop()
    assert not failed
    assert once(topics) == {f"d-{device}": [float(n) for n in range(count)] for device in devices[:-1]}


def test_a_record_that_was_passed_over_is_read_after_all(topics: Settings) -> None:
    """librdkafka does that to a partition that stays when others change hands: it goes on one record behind its end."""
    # AC-a41
    from confluent_kafka import TopicPartition

    registry = Registry()
    leave(topics, "silo-1", [0])
    with releaser(topics, registry.view) as made:
        assert settle(made) == 0
        (partition,) = [number for number, inbox in made._inboxes.items() if inbox.waiting]
        leave(topics, "silo-1", range(1, 4))
        made._consumer.seek(TopicPartition(topics.topics.unmapped, partition, 2))
        assert settle(made) == 0
        assert [each.count for each in made._inboxes[partition].waiting.values()] == [4]
        registry.put(silo("silo-1"))
        release_all(made, 4)
    assert readings(topics) == {"d-silo-1": [0, 1, 2, 3]}


def test_a_partition_that_stays_when_others_change_hands_is_read_on_where_it_was(topics: Settings) -> None:
    # AC-a41
    registry = Registry()
    leave_waiting(topics, (("generic", raw_generic(f"silo-{n}", 0)) for n in range(20)))
    with releaser(topics, registry.view) as stays:
        settle(stays)
        with releaser(topics, registry.view) as joins:
            until(lambda: stays.step() + joins.step() == 0 and len(stays._inboxes) == len(joins._inboxes) == 1, 40)
            kept = next(iter(stays._inboxes.values()))
            position, listed = kept.position, len(kept.waiting)
            assert listed == position
        until(lambda: stays.step() == 0 and all_read(stays), 40)
        assert kept in stays._inboxes.values()
        assert (kept.position, len(kept.waiting)) == (position, listed)
        assert sum(len(each.waiting) for each in stays._inboxes.values()) == 20


def test_foreign_records_among_those_that_wait_hold_up_nothing(topics: Settings) -> None:
    registry = Registry(silo("silo-1"))
    sender = orjson.dumps([TENANT, "generic", "silo-1", "", "", [["external_id", "silo-1"]]])
    foreign = [(b"silo-1", b"foreign", headers) for headers in ([], [("sender", b"[]")], [("sender", sender)])]
    produce(topics, topics.topics.unmapped, foreign)
    leave(topics, "silo-1", range(3))
    with releaser(topics, registry.view) as made:
        release_all(made, 4)  # one of them names its sender and cannot be decoded: passed over
        assert settle(made) == 0
    assert readings(topics) == {"d-silo-1": [0, 1, 2]}


def test_an_event_that_waited_is_routed_like_any_other(topics: Settings) -> None:
    # AC-a41
    registry = Registry()
    item = {
        "device": {"id": 7, "uniqueId": "bike-1"},
        "event": {"id": 9, "type": "alarm", "eventTime": "2026-01-02T03:04:05Z"},
    }
    headers = [*raw_headers()[:1], (names.RECEIVED_US, b"1767323045000000"), *raw_headers()[2:]]
    leave_waiting(topics, [("biketrax", (b"", orjson.dumps(item), headers))])
    with releaser(topics, registry.view) as made:
        settle(made)
        registry.put(silo("bike-1"))
        release_all(made, 1)
    (event,) = [event_reader()(each.value()) for each in read_all(topics, topics.topics.events)]
    (record,) = telemetry_of(topics)
    assert (event["device_id"], event["cause_id"], event["type"]) == ("d-bike-1", record["id"], "alarm")


def test_nothing_is_noted_as_released_before_it_is_durable(topics: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # AC-a41: a note before that would lose the record when the process ends between the two
    open_records, notes, produce_one, wait = 0, 0, Output.produce, Output.wait

    def produced(self: Output, topic: str, *arguments: Any) -> None:
        nonlocal open_records, notes
        if topic == topics.topics.unmapped:
            notes += 1
            assert open_records == 0
        else:
            open_records += 1
        produce_one(self, topic, *arguments)

    def waited(self: Output) -> None:
        nonlocal open_records
        wait(self)
        open_records = 0

    leave(topics, "silo-1", range(5))
    monkeypatch.setattr(Output, "produce", produced)
    monkeypatch.setattr(Output, "wait", waited)
    with releaser(topics, Registry(silo("silo-1")).view) as made:
        release_all(made, 5)
    assert notes == 5
