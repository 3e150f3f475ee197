"""The connector as a process on the real road: webhooks are lost, sockets break, it is killed, and nothing is missing."""

import asyncio
import importlib
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from click.testing import CliRunner

from fleetline.cli import main
from fleetline.errors import FleetlineError
from fleetline.kafka_admin import ensure_topics
from fleetline.local.health import is_alive
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from ingress.pulling import connectors, credential_of, prepare
from ingress.pulling_topics import TopicReader, last_value, requests_of
from registry.model import Credential
from registry.store import RegistryStore
from registry.view import RegistryView, entry_key
from sinks.clickhouse.connection import connect
from sources.catalog import load_source, load_sources
from sources.contract import Request
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw
from tests.biketrax_platform import TOKEN, Platform, platform
from tests.support import child, produce, raw_headers, read_all, running, until

pytestmark = pytest.mark.stack

EVENTS = 400


@pytest.fixture
async def server() -> AsyncIterator[Platform]:
    async with platform(devices=8, seed=7) as made:
        yield made


class Account:
    """A tenant with a credential for the connector and one for the webhooks, and every bike registered."""

    def __init__(self, settings: Settings, server: Platform) -> None:
        with RegistryStore(settings) as store:
            tenant = store.create_tenant("Bikes")
            self.tenant_id = tenant.id
            self.credential, _ = store.create_credential(tenant, "biketrax")
            _, self.psk = store.create_credential(tenant, "biketrax")
            for device in server.devices.values():
                store.create_device(tenant, device["name"], imei=device["uniqueId"])


def puller(settings: Settings, server: Platform, account: Account, **values: str) -> Child:
    process = child(settings, "biketrax-pull", "-m", "fleetline", "-v", "serve", "biketrax-pull")
    process._environment.update(
        {
            "BIKETRAX_URL": server.url,
            "BIKETRAX_TOKEN": TOKEN,
            "BIKETRAX_CREDENTIAL": account.credential.id,
            "BIKETRAX_RECONCILE_S": "1",
            "BIKETRAX_RETRY_MAX_S": "0.5",
            **values,
        }
    )
    return process


async def eventually(condition: Callable[[], Any], timeout_s: float = 40.0, what: str = "") -> Any:
    """Wait for a condition while the platform goes on answering."""
    return await asyncio.to_thread(until, condition, timeout_s, what)


def requests(settings: Settings) -> list[Request]:
    """Read everything that is in the raw topic."""
    topic = settings.topics.raw("biketrax")
    return [
        request_from_raw(each.headers(), each.value(), topic, each.partition(), each.offset())
        for each in read_all(settings, topic)
    ]


def canonical_ids(found: list[Request]) -> dict[str, list[bytes]]:
    """Return the canonical ids by type, as often as they occur. Anything unreadable fails."""
    made: dict[str, list[bytes]] = {"event": [], "position": []}
    for request in found:
        for each in canonicalize(load_source("biketrax"), request):
            assert isinstance(each, Canonical), each
            made[each.record["type"]].append(each.record["id"])
    return made


def event_ids(found: list[Request], transport: str) -> set[int]:
    bodies = [orjson.loads(each.body) for each in found if each.transport == transport]
    return {body["event"]["id"] for body in bodies if "event" in body}


@pytest.mark.slow
async def test_with_lost_webhooks_broken_sockets_and_a_killed_connector_nothing_is_missing_and_nothing_is_twice(
    topics: Settings, server: Platform
) -> None:
    # BT-a17, BT-a18, BT-a19, BT-a21
    settings = topics.model_copy(update={"ingress_port": free_port()})
    account = Account(settings, server)
    ingress = child(settings, "ingress", "-m", "fleetline", "serve", "ingress")
    ingress._environment["FLEETLINE_INGRESS_PORT"] = str(settings.ingress_port)
    processors = child(settings, "processors", "-m", "fleetline", "serve", "processors")
    loader = child(settings, "clickhouse", "-m", "fleetline", "serve", "clickhouse")
    connector = puller(settings, server, account)
    url = f"http://127.0.0.1:{settings.ingress_port}"
    with ExitStack() as closing:
        for process in (ingress, processors, loader, connector):
            closing.enter_context(running(process))
        await eventually(lambda: answers(f"{url}/readyz"), what=ingress.log_tail())
        await eventually(lambda: server.sockets, what=connector.log_tail())
        server.webhook_url, server.psk, server.drop_share = f"{url}/in/biketrax", account.psk, 0.05
        await live(server, connector)
        events, positions = len(server.events), len(server.positions)
        assert events == EVENTS
        assert 5 <= len(server.dropped) <= 40  # 5 %
        assert server.opened_sockets > 5

        def complete() -> bool:
            made = canonical_ids(requests(settings))
            return len(set(made["event"])) == events and len(set(made["position"])) == positions

        await eventually(complete, what=connector.log_tail())
        found = requests(settings)
        assert event_ids(found, "http") == set(server.events) - set(server.dropped)
        assert set(server.dropped) <= event_ids(found, "pull")

        client = connect(settings)
        query = "SELECT type, count(), uniqExact(id) FROM telemetry WHERE tenant_id = {t:String} GROUP BY type"

        def rows() -> dict[str, tuple[int, int]]:
            result = client.query(query, parameters={"t": account.tenant_id}).result_rows
            return {kind: (count, unique) for kind, count, unique in result}

        wanted = {"event": (events, events), "position": (positions, positions)}
        await eventually(lambda: rows() == wanted, 60, f"{wanted}, not yet {rows()}")
        await eventually(lambda: is_alive(settings, "biketrax-pull"))
        connector.signal_stop()
        await eventually(lambda: connector.exit_status is not None, 10)
        assert connector.exit_status == 0
        client.close()
    log = connector.log_file.read_text()
    assert TOKEN not in log
    assert "Traceback" not in log


@pytest.mark.slow
async def test_while_kafka_is_away_it_waits_and_then_nothing_is_missing(server: Platform, tmp_path: Path) -> None:
    # BT-a19
    settings = Settings().model_copy(update={"data_dir": tmp_path, "kafka_port": free_port()})
    kafka = LocalKafka(settings)
    settings = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    kafka.start()
    try:
        await asyncio.to_thread(kafka.wait_ready)
        ensure_topics(settings)
        account = Account(settings, server)
        connector = puller(settings, server, account)
        with running(connector):
            await eventually(lambda: server.sockets, what=connector.log_tail())
            await server.happen(11)
            await eventually(lambda: len(event_ids(requests(settings), "pull")) == 1)
            await asyncio.to_thread(kafka.kill)
            for number in range(20):
                await server.happen(11 + number % 8)
                if number == 10:
                    await server.close_sockets()
                await asyncio.sleep(0.1)
            assert connector.is_running
            kafka.start()
            await asyncio.to_thread(kafka.wait_ready)
            await eventually(lambda: event_ids(requests(settings), "pull") == set(server.events), 60)
            assert connector.is_running  # it was never restarted
            await eventually(lambda: is_alive(settings, "biketrax-pull"))
        assert len(set(canonical_ids(requests(settings))["event"])) == 21
        assert "Traceback" not in connector.log_file.read_text()
    finally:
        await asyncio.to_thread(kafka.stop)


async def live(server: Platform, connector: Child) -> None:
    """Let the bikes ride for some seconds, and break what can break."""
    for number in range(EVENTS):
        device_id = 11 + number % 8
        position = await server.move(device_id) if number % 2 else None
        await server.happen(
            device_id,
            ("alarm", "ignitionOn", "geofenceEnter")[number % 3],
            position_id=position["id"] if position else 0,
        )
        if number % 37 == 36:
            await server.close_sockets(abruptly=server.random.random() < 0.5)
        if number in (90, 250):
            server.forget_sessions()
        if number == 150:
            await asyncio.to_thread(connector.kill)
        if number == 220:
            await asyncio.to_thread(connector.start)
            server.down = True
        if number == 260:
            server.down = False
        await asyncio.sleep(0.02)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def test_it_says_what_to_do_when_it_cannot_begin(topics: Settings, server: Platform) -> None:
    # BT-a17
    account = Account(topics, server)
    cases = {
        "BIKETRAX_TOKEN": "make an access token",
        "BIKETRAX_CREDENTIAL": "set BIKETRAX_CREDENTIAL to the id of a credential",
    }
    for name, said in cases.items():
        process = puller(topics, server, account, **{name: ""})
        process.log_file.unlink(missing_ok=True)
        with running(process):
            await eventually(lambda process=process: process.exit_status is not None)  # type: ignore[misc]
        assert process.exit_status == 1
        assert said in process.log_tail()
        assert "Traceback" not in process.log_file.read_text()
    server.token_valid = False
    process = puller(topics, server, account)
    with running(process):
        await eventually(lambda: process.exit_status is not None)
    assert process.exit_status == 1
    log = process.log_file.read_text()
    assert "BIKETRAX_TOKEN is wrong or was revoked" in log
    assert TOKEN not in log
    assert "Traceback" not in log


async def test_metrics_are_served_and_a_revoked_credential_ends_it(topics: Settings, server: Platform) -> None:
    account = Account(topics, server)
    port = free_port()
    process = puller(topics, server, account, FLEETLINE_PROBE_PORT=str(port))
    with running(process):
        await eventually(lambda: server.sockets, what=process.log_tail())
        await server.happen(11)

        def metrics() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
                return str(answer.read(), "utf-8")

        await eventually(lambda: 'fleetline_pull_items_total{source="biketrax",what="events"} 1.0' in metrics())
        assert 'fleetline_pull_level{source="biketrax",what="connected"} 1.0' in metrics()
        with RegistryStore(topics) as store:
            store.delete(account.credential)
        await asyncio.sleep(0.5)
        await server.happen(11)
        await eventually(lambda: process.exit_status is not None, what=process.log_tail())
    assert process.exit_status == 1
    assert "was revoked" in process.log_tail()
    assert len(event_ids(requests(topics), "pull")) == 1


async def test_a_reader_goes_on_where_it_was_and_sees_its_tenant_only(topics: Settings) -> None:
    topic = topics.topics.raw("biketrax")
    tenant = dict(raw_headers())["tenant"].decode()
    other = [(name, b"someone" if name == "tenant" else value) for name, value in raw_headers()]
    produce(topics, topic, [(b"%d" % n, b"%d" % n, raw_headers() if n % 3 else other) for n in range(30)])
    reader = TopicReader(topics, topic)

    async def read(since_us: int = 0) -> set[int]:
        return {int(each.body) for some in [b async for b in requests_of(reader, tenant, since_us)] for each in some}

    assert await read() == {n for n in range(30) if n % 3}
    assert await read() == set()
    produce(topics, topic, [(b"%d" % n, b"%d" % n, raw_headers()) for n in range(30, 40)])
    assert await read() == set(range(30, 40))
    reader.close()
    since = int(time.time() * 1e6)
    await asyncio.sleep(0.01)
    produce(topics, topic, [(b"%d" % n, b"%d" % n, raw_headers()) for n in range(40, 50)])
    reader = TopicReader(topics, topic)
    assert await read(since) == set(range(40, 50))
    reader.close()


async def test_the_latest_state_of_an_account_is_found(topics: Settings) -> None:
    name = topics.topics.pulls
    assert await last_value(topics, name, b"biketrax/a") == b""
    produce(topics, name, [(b"biketrax/a", b"1", []), (b"biketrax/b", b"2", []), (b"biketrax/a", b"3", [])])
    assert await last_value(topics, name, b"biketrax/a") == b"3"
    assert await last_value(topics, name, b"biketrax/b") == b"2"


def test_connectors_are_derived_from_the_declarations() -> None:
    assert "biketrax-pull" in connectors(load_sources())
    assert set(connectors(load_sources())) == {f"{name}-pull" for name, each in load_sources().items() if each.pull}


@pytest.mark.parametrize("name", list(connectors(load_sources())))
def test_a_connector_is_a_module_with_configure_and_run(name: str) -> None:
    module = importlib.import_module(connectors(load_sources())[name].pull)
    assert callable(module.configure)
    assert asyncio.iscoroutinefunction(module.run)


def test_serve_names_the_connectors_when_there_is_no_such_component() -> None:
    result = CliRunner().invoke(main, ["serve", "flespi-pull"])
    assert result.exit_code == 2
    assert "'flespi-pull' is not one of ingress, " in result.output
    assert "biketrax-pull" in result.output


def test_settings_that_cannot_work_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIKETRAX_TOKEN", raising=False)
    with pytest.raises(FleetlineError, match="set BIKETRAX_TOKEN"):
        prepare(load_source("biketrax"))


def test_a_credential_must_be_of_the_source_and_of_no_single_device() -> None:
    view = RegistryView()
    for number, (owner, device) in enumerate((("biketrax", ""), ("flespi", ""), ("biketrax", "device-1"))):
        made = Credential(id=f"c{number}", tenant_id="t", source=owner, digest=str(number), device_id=device)
        view.apply(entry_key(made), msgspec.json.encode(made))
    source = load_source("biketrax")

    class Named:
        def __init__(self, credential: str) -> None:
            self.credential = credential

    assert credential_of(source, view, Named("c0")).tenant_id == "t"
    for name, said in (
        ("", "nobody owns"),
        ("c9", "names no credential"),
        ("c1", "of flespi"),
        ("c2", "for one device alone"),
    ):
        with pytest.raises(FleetlineError, match=said):
            credential_of(source, view, Named(name))
