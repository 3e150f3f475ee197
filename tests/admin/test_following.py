"""Changes over HTTP are soon everywhere, survive the server, and meet those of other servers; reads survive Kafka."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from admin.access import check_admin_token
from admin.live import LiveRegistry
from fleetline.errors import FleetlineError
from fleetline.kafka_admin import delete_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from registry.draft import Draft
from registry.errors import RegistryUnavailable
from registry.follower import RegistryFollower
from registry.model import Device
from registry.rules import tenants
from registry.store import RegistryStore
from schemas.ids import new_id
from tests.admin.service import ADMIN_TOKEN, Service, serving
from tests.secured_broker import Authority
from tests.support import child, running, until

pytestmark = pytest.mark.stack
KEY = {"authorization": f"Bearer {ADMIN_TOKEN}"}


@contextmanager
def following(settings: Settings) -> Iterator[RegistryFollower]:
    follower = RegistryFollower(settings)
    follower.start()
    try:
        assert follower.wait_caught_up(30)
        yield follower
    finally:
        follower.stop()


def served(settings: Settings) -> tuple[Child, str]:
    """Make an admin server as a process of its own."""
    port = free_port()
    process = child(settings, "admin", "-m", "fleetline", "-v", "serve", "admin")
    process._environment |= {"FLEETLINE_ADMIN_PORT": str(port), "FLEETLINE_ADMIN_TOKEN": ADMIN_TOKEN}
    return process, f"http://127.0.0.1:{port}"


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_change_is_in_the_view_of_every_component_within_a_second(service: Service) -> None:
    devices = f"/api/v1/tenants/{service.tenant()}/devices"
    taken: list[float] = []
    with following(service.settings) as follower:
        for number in range(100):
            before = time.monotonic()
            made = service.operator.post(devices, json={"name": f"device {number}"}).json()
            while follower.view.device(made["id"]) is None:
                assert time.monotonic() < before + 10
                time.sleep(0.001)
            taken.append(time.monotonic() - before)
    assert sorted(taken)[98] < 1.0, f"p99 of the time from the request to the view: {sorted(taken)[98]:.3f} s"


def test_what_others_write_is_answered_soon(service: Service) -> None:
    tenant_id = service.tenant()
    with RegistryStore(service.settings) as store:
        made = store.create_device(tenant_id, "made elsewhere")
    path = f"/api/v1/tenants/{tenant_id}/devices/{made.id}"
    until(lambda: service.operator.get(path).status_code == 200, 5, "the device is seen")


def test_two_servers_write_at_once_and_every_rule_holds_across_them(service: Service) -> None:
    devices = f"/api/v1/tenants/{service.tenant()}/devices"
    with serving(service.settings) as second:
        answers: list[httpx.Response] = []

        def write(one: Service) -> None:
            with one.client(ADMIN_TOKEN) as client:
                answers.extend(client.post(devices, json={"name": f"d{n}", "imei": str(n)}) for n in range(15))

        threads = [threading.Thread(target=write, args=(each,)) for each in (service, second)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(each.status_code for each in answers) == [201] * 15 + [409] * 15
        first = {each["imei"]: each["id"] for each in service.operator.get(devices).json()["items"]}
        assert len(first) == 15
        until(lambda: first == {e["imei"]: e["id"] for e in second.operator.get(devices).json()["items"]}, 5)
        path = f"{devices}/{first['3']}"
        assert service.operator.patch(path, json={"name": "here", "version": 1}).status_code == 200
        assert second.operator.patch(path, json={"name": "there", "version": 1}).json()["current"] == 2


def test_a_server_killed_while_it_writes_leaves_the_registry_whole(settings: Settings) -> None:
    process, url = served(settings)
    acknowledged: dict[str, Any] = {}
    with running(process):
        until(lambda: is_ready(url), 60, "the server is ready")
        tenant = httpx.post(f"{url}/api/v1/tenants", json={"name": "t"}, headers=KEY).json()["id"]
        devices = f"/api/v1/tenants/{tenant}/devices"

        def write() -> None:
            with httpx.Client(base_url=url, headers=KEY, timeout=10) as client:
                for number in range(10_000):
                    try:
                        answer = client.post(devices, json={"name": f"device {number}", "imei": str(number)})
                    except httpx.HTTPError:
                        return
                    assert answer.status_code == 201
                    acknowledged[answer.json()["id"]] = answer.json()

        writer = threading.Thread(target=write)
        writer.start()
        until(lambda: len(acknowledged) > 10, 30, "some devices are made")
        process.kill()
        writer.join()
    again, url = served(settings)
    with running(again):
        until(lambda: is_ready(url), 60, "the server is ready again")
        with httpx.Client(base_url=url, headers=KEY, timeout=30) as client:
            listed = client.get(devices, params={"limit": 1000}).json()["items"]
            kept = {each["id"]: each for each in listed}
            assert {each: kept.get(each) for each in acknowledged} == acknowledged
            assert len(kept) - len(acknowledged) in (0, 1)  # the one whose answer was lost
            assert client.post(devices, json={"name": "after"}).status_code == 201
    with RegistryStore(settings) as store:
        assert {each.id for each in store.view.owned(Device, tenant)} >= set(kept)
    delete_topics(settings)


def test_a_registry_that_was_deleted_is_begun_anew(settings: Settings) -> None:
    with serving(settings) as service:
        former = f"/api/v1/tenants/{service.tenant()}"
        delete_topics(settings)
        until(lambda: service.operator.get(former).status_code == 404, what="nothing old is shown")
        made = until(
            lambda: (a := service.operator.post("/api/v1/tenants", json={"name": "t"})).status_code == 201 and a
        )
        assert [each["id"] for each in service.operator.get("/api/v1/tenants").json()["items"]] == [made.json()["id"]]
        with following(settings) as follower:
            assert [each.id for each in follower.view.tenants()] == [made.json()["id"]]
    delete_topics(settings)


def test_every_url_that_is_handed_out_begins_where_senders_reach_the_ingress(service: Service) -> None:
    # AC-b02
    public = "https://in.example.org/fleet"
    with serving(service.settings.model_copy(update={"public_api_base_url": public})) as behind:
        tenant = f"/api/v1/tenants/{behind.tenant()}"
        webhooks = behind.operator.get(f"{tenant}/integration").json()["webhooks"]
        assert webhooks
        assert all(each["url"].startswith(f"{public}/") for each in webhooks)
        device = behind.operator.post(f"{tenant}/devices", json={"name": "d"}).json()["id"]
        shown = behind.operator.post(f"{tenant}/devices/{device}/token").json()["connection"]
        posted = [each["command"] for each in shown["examples"] if each["transport"] == "http"]
        assert posted
        assert all(f" {public}/" in each or f'"{public}/' in each for each in posted)
        catalog = behind.operator.get("/api/v1/connectivity/catalog").json()
        endpoints = [each for source in catalog["sources"] for each in source["http"]["endpoints"]]
        assert all(each["url"].startswith(f"{public}/") for each in endpoints)


@pytest.mark.slow
def test_while_kafka_is_away_reads_go_on_and_changes_are_refused_at_once(settings: Settings) -> None:
    settings = settings.model_copy(update={"kafka_port": free_port(), "data_dir": settings.data_dir / "own"})
    kafka = LocalKafka(settings)
    kafka.start()
    try:
        kafka.wait_ready()
        settings = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
        with serving(settings) as service:
            tenant = f"/api/v1/tenants/{service.tenant()}"
            kafka.stop()
            until(lambda: "reading only" in service.operator.get("/readyz").text, 60, "the loss is seen")

            def refused() -> httpx.Response:
                return service.operator.post(f"{tenant}/devices", json={"name": "d"})

            assert (refused().status_code, refused().headers["retry-after"]) == (503, "2")
            until(lambda: refused().elapsed.total_seconds() < 1, 60, "nobody waits any more")
            assert service.operator.get(tenant).status_code == 200
            assert "fleetline_admin_registry_fresh 0.0" in service.operator.get("/metrics").text
            view = service.live.view
            kafka.start()
            kafka.wait_ready()
            made = until(
                lambda: (a := service.operator.post(f"{tenant}/devices", json={"name": "d"})).status_code == 201 and a
            )
            assert service.operator.get(made.headers["location"]).status_code == 200
            assert service.live.view is view  # nothing had to be read again
    finally:
        kafka.stop()


def test_before_the_registry_is_read_nothing_is_answered_from_it(settings: Settings) -> None:
    process, url = served(settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"}))
    live = LiveRegistry(settings)
    with pytest.raises(RegistryUnavailable):
        _ = live.view
    with running(process):
        assert not is_ready(url)  # it waits for Kafka before it listens
    live.start()
    try:
        until(lambda: live.is_read, what="an absent topic is an empty registry")
        assert live.view.tenants() == ()
    finally:
        live.stop()


async def test_too_many_waiting_changes_are_refused_instead_of_queued(service: Service, monkeypatch: Any) -> None:
    import asyncio

    monkeypatch.setattr("admin.live.MOST_WAITING", 3)
    live = LiveRegistry(service.settings)
    live.start()
    try:
        until(lambda: live.is_read)

        async def change() -> str:
            def plan(draft: Draft) -> None:
                tenants.create_tenant(draft, new_id())

            try:
                await live.change(plan, "test")
            except RegistryUnavailable as error:
                return str(error)
            return "made"

        outcomes = await asyncio.gather(*(change() for _ in range(5)))
        assert sorted(outcomes) == ["3 changes wait already"] * 2 + ["made"] * 3
        assert live.waiting == 0
    finally:
        live.stop()


def test_a_bootstrap_secret_that_can_be_guessed_is_refused_at_the_start() -> None:
    with pytest.raises(FleetlineError, match="FLEETLINE_ADMIN_TOKEN"):
        check_admin_token(Settings(admin_token=SecretStr("short")))
    check_admin_token(Settings())


def test_it_ends_cleanly_when_told(settings: Settings) -> None:
    process, url = served(settings)
    with running(process):
        until(lambda: is_ready(url), 60, "the server is ready")
        process.stop(20)
        assert process.exit_status == 0
    assert ADMIN_TOKEN not in process.log_tail(1000)
    delete_topics(settings)


def test_with_a_certificate_it_speaks_tls_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    chain, key = authority.issue("server", host="127.0.0.1")
    process, url = served(settings)
    process._environment |= {"FLEETLINE_TLS_CERTIFICATE": str(chain), "FLEETLINE_TLS_KEY": str(key)}
    secure = url.replace("http:", "https:")
    with running(process), httpx.Client(verify=ssl.create_default_context(cafile=str(authority.file))) as client:

        def ready() -> bool:
            try:
                return client.get(f"{secure}/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        until(ready, 60, "the server is ready")
        assert client.get(f"{secure}/api/v1/tenants", headers=KEY).json() == {"items": [], "next": None}
        with pytest.raises(httpx.HTTPError):
            client.get(f"{url}/healthz")
    delete_topics(settings)
