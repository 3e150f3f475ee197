"""Importing on a real broker: what is told is durable, whatever interrupts it, and a second run makes nothing twice."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.exchange.events import OUTCOMES, Event, Finished, Progress, RowDone, Started, Stopped
from registry.exchange.exporting import export_devices
from registry.exchange.importing import ImportOptions, import_devices
from registry.exchange.reading import FORMATS, Format
from registry.model import EXTERNAL_ID, Credential, Device, Tenant
from registry.rules.tenants import remove_tenant
from registry.secrets import digest
from registry.store import RegistryStore
from schemas.ids import new_id

pytestmark = pytest.mark.stack
PLAIN = ImportOptions()


@pytest.fixture
def store(settings: Settings) -> Iterator[RegistryStore]:
    with RegistryStore(settings, "test:import") as opened:
        yield opened


@pytest.fixture
def tenant(store: RegistryStore) -> Tenant:
    return store.create_tenant("Acme")


def table(count: int, first: int = 1) -> bytes:
    rows = "".join(f"van {n},e-{n},{n:015}\n" for n in range(first, first + count))
    return f"name,external_id,imei\n{rows}".encode()


def rows_of(events: list[Event]) -> list[RowDone]:
    return [each for each in events if isinstance(each, RowDone)]


def run(store: RegistryStore, tenant: Tenant, data: bytes, options: ImportOptions = PLAIN) -> list[Event]:
    return list(import_devices(store, tenant, [data], options, len(data)))


def names(store: RegistryStore, tenant: Tenant) -> Counter[str]:
    return Counter(device.name for device in store.refresh().devices(tenant.id))


def test_rows_are_told_once_they_are_durable_and_the_progress_adds_up(
    settings: Settings, store: RegistryStore, tenant: Tenant
) -> None:
    data = table(10) + b"van 1,e-1,\n,e-11,\n"
    told: list[Event] = []
    with RegistryStore(settings, "test:reader") as reader:
        for event in import_devices(store, tenant, [data], ImportOptions(chunk_rows=4), len(data)):
            told.append(event)
            if isinstance(event, RowDone) and event.outcome == "created":
                found = reader.refresh().get(Device, event.device_id)
                assert found is not None
                assert found.name == event.name
    assert isinstance(told[0], Started)
    assert told[0].columns == ("name", "external_id", "imei")
    rows = rows_of(told)
    assert [row.line for row in rows] == list(range(2, 14))
    assert [row.outcome for row in rows] == ["created"] * 10 + ["refused"] * 2
    progress = [each for each in told if isinstance(each, Progress)]
    assert [each.rows for each in progress] == [4, 8, 12]
    assert all(each.rows == sum(getattr(each, outcome) for outcome in OUTCOMES) for each in progress)
    assert isinstance(told[-1], Finished)
    last = told[-1].progress
    assert (last.created, last.refused, last.line, last.bytes, last.eta_s) == (10, 2, 13, len(data), 0.0)
    assert last.rows_per_s > 0


def test_the_audit_trail_names_who_imported(settings: Settings, store: RegistryStore, tenant: Tenant) -> None:
    from confluent_kafka import Consumer, TopicPartition

    run(store, tenant, table(2), ImportOptions(actor="api-key:7"))
    consumer = Consumer({**settings.kafka_config(), "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(settings.topics.audit, 0, 0)])
    actors: list[str] = []
    while (message := consumer.poll(10)) is not None and message.error() is None:
        actors.append(json.loads(message.value())["actor"])
    consumer.close()
    assert actors == ["test:import", "api-key:7", "api-key:7"]


def test_a_chunk_that_had_to_be_decided_again_is_told_once_and_as_it_was_stored(
    settings: Settings, store: RegistryStore, tenant: Tenant
) -> None:
    told: list[Event] = []
    with RegistryStore(settings, "test:other") as other:
        for event in import_devices(store, tenant, [table(9)], ImportOptions(chunk_rows=3, tokens=True)):
            told.append(event)
            if isinstance(event, Progress):  # the importer is no longer the writer: its next commit is fenced
                other.create_device(tenant, f"van {event.rows + 1}")
    rows = rows_of(told)
    assert [row.line for row in rows] == list(range(2, 11))
    assert [row.outcome for row in rows] == ["created"] * 3 + ["refused", "created", "created"] * 2
    view = store.refresh()
    for row in rows:
        if row.outcome == "created":
            (credential,) = view.credentials_of(row.device_id)
            assert credential.digest == digest(row.token)
    assert view.count(Credential, tenant.id) == 7
    assert set(names(store, tenant).values()) == {1}


def test_a_dry_run_tells_the_same_and_stores_nothing(store: RegistryStore, tenant: Tenant) -> None:
    text = b"name,gateway,parent\nGate,yes,\nDoor,,Gate\nDoor,,Gate\nLost,,Nowhere\n"
    options = ImportOptions(chunk_rows=1, tokens=True)
    dry = run(store, tenant, text, ImportOptions(chunk_rows=1, tokens=True, dry_run=True))
    assert not names(store, tenant)
    real = run(store, tenant, text, options)
    assert [row.outcome for row in rows_of(dry)] == ["created", "created", "refused", "refused"]
    assert [(row.line, row.outcome) for row in rows_of(dry)] == [(row.line, row.outcome) for row in rows_of(real)]
    assert not any(row.token for row in rows_of(dry))
    assert isinstance(dry[-1], Finished)
    assert dry[-1].dry_run
    assert names(store, tenant) == {"Gate": 1, "Door": 1}


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_run_updates_only_what_differs(store: RegistryStore, tenant: Tenant, form: Format) -> None:
    run(store, tenant, table(5))
    exported = b"".join(export_devices(store.view, tenant.id, form))
    options = ImportOptions(form=form, on_existing="update")
    again = run(store, tenant, exported, options)
    assert [row.outcome for row in rows_of(again)] == ["unchanged"] * 5
    changed = run(store, tenant, exported.replace(b"van 3", b"bus 3"), options)
    assert Counter(row.outcome for row in rows_of(changed)) == {"unchanged": 4, "updated": 1}
    versions = {device.name: device.version for device in store.refresh().devices(tenant.id)}
    assert versions == {"van 1": 1, "van 2": 1, "bus 3": 2, "van 4": 1, "van 5": 1}


def test_more_rows_than_allowed_end_it_with_what_was_stored(store: RegistryStore, tenant: Tenant) -> None:
    for most, expected in ((4, 4), (3, 4)):
        events = run(store, tenant, table(9), ImportOptions(chunk_rows=2, most_rows=most, on_existing="skip"))
        assert isinstance(events[-1], Stopped)
        assert f"more than {most} rows" in events[-1].reason
        assert f"line {most + 2}" in events[-1].reason
        assert len(rows_of(events)) == most
        assert len(names(store, tenant)) == expected
    assert isinstance(run(store, tenant, table(9), ImportOptions(most_rows=9))[-1], Finished)


def test_a_tenant_that_goes_away_meanwhile_ends_it(settings: Settings, store: RegistryStore, tenant: Tenant) -> None:
    def source() -> Iterator[bytes]:
        yield table(2)
        store.delete(store.refresh().devices(tenant.id))
        store.change(lambda draft: remove_tenant(draft, tenant))
        yield b"late,e-late,\n"

    events = list(import_devices(store, tenant, source(), ImportOptions(chunk_rows=2)))
    assert isinstance(events[-1], Stopped)
    assert "no tenant" in events[-1].reason
    assert (events[-1].progress.rows, events[-1].unknown_from) == (2, 0)


def test_an_import_that_is_closed_early_has_stored_what_it_told(store: RegistryStore, tenant: Tenant) -> None:
    importing = import_devices(store, tenant, [table(10)], ImportOptions(chunk_rows=3))
    told = [next(importing) for _ in range(3)]
    importing.close()  # type: ignore[attr-defined]
    assert len(rows_of(told)) == 2
    assert set(names(store, tenant)) == {"van 1", "van 2", "van 3"}


def test_without_the_broker_it_stops_and_says_what_is_durable_then_goes_on_where_it_was(
    settings: Settings, tmp_path: Path
) -> None:
    own = settings.model_copy(update={"data_dir": tmp_path / "own", "kafka_port": free_port()})
    broker = LocalKafka(own)
    broker.start()
    try:
        broker.wait_ready()
        own = own.model_copy(update={"kafka_bootstrap_servers": broker.bootstrap_servers})
        data = table(10)

        def source() -> Iterator[bytes]:
            half = data.index(b"van 6")
            yield data[:half]
            broker.kill()
            yield data[half:]

        with RegistryStore(own, "test:import") as store:
            tenant = store.create_tenant("Acme")
            events = list(import_devices(store, tenant, source(), ImportOptions(chunk_rows=2)))
        stopped = events[-1]
        assert isinstance(stopped, Stopped)
        assert "cannot be reached" in stopped.reason
        assert (stopped.progress.rows, stopped.progress.line) == (4, 5)
        assert (stopped.unknown_from, stopped.unknown_to) == (6, 7)
        broker.start()
        broker.wait_ready()
        with RegistryStore(own, "test:import") as store:
            again = run(store, tenant, data, ImportOptions(on_existing="skip"))
            assert Counter(row.outcome for row in rows_of(again)) in (
                {"skipped": 4, "created": 6},
                {"skipped": 6, "created": 4},
            )
            assert names(store, tenant) == {f"van {n}": 1 for n in range(1, 11)}
    finally:
        broker.stop()


def test_everything_exported_makes_the_same_devices_in_another_installation(
    settings: Settings, store: RegistryStore, tenant: Tenant
) -> None:
    text = (
        "id,name,external_id,gateway,parent,attributes.note\n"
        "b,Gate,,true,,=cmd()\n"
        'a,\'=1+1,x,,Gate,"a;b,c"\n'
        "c,Grün €,,,,'tis\n"
    )
    run(store, tenant, text.encode())
    for form in FORMATS:
        exported = b"".join(export_devices(store.view, tenant.id, form))
        elsewhere = settings.model_copy(update={"topic_prefix": f"{new_id()}."})
        with RegistryStore(elsewhere, "test:elsewhere") as empty:
            twin = empty.create_tenant("Acme", tenant.id)
            events = run(empty, twin, exported)
            assert [row.outcome for row in rows_of(events)] == ["created"] * 3
            assert empty.view.devices(twin.id) == store.view.devices(tenant.id)
    found = {device.id: device for device in store.view.devices(tenant.id)}
    assert found["a"].name == "=1+1"
    assert found["b"].attributes == {EXTERNAL_ID: "b", "note": "=cmd()"}
    assert found["c"].attributes["note"] == "'tis"
