"""Auto-registration on the real broker: the devices of those that wait are made once, and what waited goes on in order."""

import json
import logging
from collections.abc import Iterator

import pytest

import processors.registrar as module
from fleetline.settings import Settings
from processors.registrar import ACTOR, Registrar
from processors.sender import Sender
from registry.follower import RegistryFollower
from registry.model import EXTERNAL_ID, Device, Tenant, TenantSettings
from registry.rules.tenants import change_settings
from registry.store import RegistryStore
from schemas.records import telemetry_reader
from schemas.times import DAY_US
from sources.contract import Identity
from tests.processors.waiting import raw_generic
from tests.support import TENANT, child, produce, read_all, running, until

pytestmark = pytest.mark.stack

OTHER = "5a3b1e00-0000-7000-8000-0000000000bb"


def put_tenants(settings: Settings, *sources: str) -> None:
    with RegistryStore(settings) as store:
        store.put([Tenant(id=TENANT, name="A"), Tenant(id=OTHER, name="B")])
        store.change(lambda draft: change_settings(draft, Tenant(id=TENANT, name="A"), sources))


def named(name: str, tenant: str = TENANT) -> bytes:
    return Sender(tenant, "generic", name, "", "", (Identity("external_id", name),)).header()


def devices(settings: Settings) -> list[Device]:
    with RegistryStore(settings) as store:
        return list(store.view.devices(TENANT))


@pytest.fixture
def follower(topics: Settings) -> Iterator[RegistryFollower]:
    started = RegistryFollower(topics)
    started.start()
    try:
        assert started.wait_caught_up(20)
        yield started
    finally:
        started.stop()


def wait_for_settings(follower: RegistryFollower, *sources: str) -> None:
    until(lambda: follower.view.settings_of(TENANT).auto_register == sources)


def test_what_waits_goes_on_in_order_and_once_when_its_device_has_been_made(topics: Settings) -> None:
    # AC-a41, DM-a19
    put_tenants(topics)
    names, count = [f"silo-{n}" for n in range(5)], 40
    raw_topic, read = topics.topics.raw("generic"), telemetry_reader()

    def readings() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for each in (read(record.value()) for record in read_all(topics, topics.topics.telemetry)):
            assert each["tenant_id"] == TENANT
            found.setdefault(each["source_device"], []).append(each["numbers"]["temperature"])
        return found

    with running(child(topics, "processors", "-m", "fleetline", "-v", "serve", "processors")) as process:
        produce(topics, raw_topic, (raw_generic(name, n) for n in range(count) for name in names))
        produce(topics, raw_topic, (raw_generic("silo-0", n, OTHER) for n in range(3)))
        until(lambda: len(read_all(topics, topics.topics.unmapped)) == count * len(names) + 3, 40)
        assert readings() == {}
        with RegistryStore(topics) as store:  # it is switched on while they wait
            store.change(lambda draft: change_settings(draft, Tenant(id=TENANT, name="A"), ["generic"]))
        until(lambda: {name: len(each) for name, each in readings().items()} == dict.fromkeys(names, count), 20)
        produce(topics, raw_topic, (raw_generic(name, n) for n in range(3) for name in ("silo-5", "silo-0")))
        until(lambda: len(readings().get("silo-5", ())) == 3, 20)
        until(lambda: len(readings()["silo-0"]) == count + 3, 20)
    assert process.exit_status == 0, process.log_tail()
    found = readings()
    assert {name: found[name][:count] for name in names} == {name: [float(n) for n in range(count)] for name in names}
    assert found["silo-5"] == [0, 1, 2]
    made = devices(topics)
    assert sorted((each.name, each.attributes[EXTERNAL_ID]) for each in made) == [(f"silo-{n}",) * 2 for n in range(6)]
    trail = [json.loads(each.value()) for each in read_all(topics, topics.topics.audit)]
    assert {each["object_id"] for each in trail if each["kind"] == "device" and each["actor"] == ACTOR} == {
        each.id for each in made
    }


def test_of_several_workers_that_try_at_once_exactly_one_makes_each_device(
    topics: Settings, follower: RegistryFollower
) -> None:
    put_tenants(topics, "generic")
    wait_for_settings(follower, "generic")
    workers = [Registrar(topics, follower) for _ in range(3)]
    try:
        for worker in workers:
            for number in range(1_500):
                worker.offer(named(f"silo-{number}"))
            worker.start()
        until(lambda: not any(worker._waiting for worker in workers), 60)
    finally:
        for worker in workers:
            worker.stop()
    assert sorted(each.attributes[EXTERNAL_ID] for each in devices(topics)) == sorted(f"silo-{n}" for n in range(1_500))


def test_a_flood_of_made_up_ids_ends_at_the_limit_until_the_next_day(
    topics: Settings, follower: RegistryFollower, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_tenants(topics, "generic")
    wait_for_settings(follower, "generic")
    told: list[str] = []
    limited = topics.model_copy(update={"auto_register_limit": 3})
    first, second = (Registrar(limited, follower, told.append) for _ in range(2))
    day = 20_000
    monkeypatch.setattr(module, "now_us", lambda: day * DAY_US)
    with caplog.at_level(logging.WARNING):
        for worker in (first, second):  # another worker, or the same one started again
            for number in range(10):
                worker.offer(named(f"silo-{number}"))
            worker.step()
            assert len(devices(topics)) == 3
            worker.offer(named("silo-9"))
            assert not worker._waiting, "of a tenant that had all its devices nothing is kept"
            worker._begin_day(day)
    assert caplog.text.count("all 3 devices that may be made today") == 2
    assert told == []
    day += 1
    first._begin_day(day)
    assert told == [TENANT]
    first.offer(named("silo-9"))
    first.step()
    assert len(devices(topics)) == 4
    first.stop()
    second.stop()


def test_what_fails_is_tried_again_less_and_less_often_and_ends_nothing(
    topics: Settings, follower: RegistryFollower, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.store.TIMEOUT_S", 1.0)
    put_tenants(topics, "generic")
    wait_for_settings(follower, "generic")
    nowhere = topics.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"})
    registrar = Registrar(topics, follower)
    working, registrar._store = registrar._store, RegistryStore(nowhere, ACTOR, follower)
    registrar.offer(named("silo-1"))
    registrar.offer(named("bad\nid"))
    with caplog.at_level(logging.INFO):
        assert registrar.step() < registrar.step()
        assert caplog.text.count("no devices could be made for 2 unknown senders") == 2
        registrar._store.close()
        registrar._store = working
        registrar.start()
        until(lambda: not registrar._waiting, 20)
        registrar.offer(named("bad\nid"))
        assert not registrar._waiting, "what is refused is not tried again and again"
        registrar.stop()
    assert "1 unknown senders get no device by themselves" in caplog.text
    assert [each.name for each in devices(topics)] == ["silo-1"]


def test_nothing_is_made_once_it_is_switched_off_or_somebody_was_quicker(
    topics: Settings, follower: RegistryFollower
) -> None:
    put_tenants(topics, "generic")
    wait_for_settings(follower, "generic")
    registrar = Registrar(topics, follower)
    for name in ("silo-1", "silo-2"):
        registrar.offer(named(name))
    mine = Device(id="mine", tenant_id=TENANT, name="Mine", attributes={EXTERNAL_ID: "silo-1"})
    with RegistryStore(topics) as store:
        store.put(mine)
    registrar.step()
    assert {each.id for each in devices(topics)} > {"mine"}
    assert len(devices(topics)) == 2
    registrar.offer(named("silo-3"))
    with RegistryStore(topics) as store:
        store.put(TenantSettings(id=TENANT, tenant_id=TENANT))
    registrar.step()
    registrar.stop()
    assert len(devices(topics)) == 2
