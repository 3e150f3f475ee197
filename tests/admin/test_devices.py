"""Devices over HTTP: made, found, changed and removed by the rules of the registry."""

import http.client
from contextlib import closing
from typing import Any

import pytest

from schemas.ids import new_id
from tests.admin.service import ADMIN_TOKEN, Service

pytestmark = pytest.mark.stack


@pytest.fixture
def devices(service: Service) -> str:
    return f"/api/v1/tenants/{service.tenant()}/devices"


def create(service: Service, devices: str, **body: Any) -> dict[str, Any]:
    made = service.operator.post(devices, json={"name": f"device {new_id()}", **body})
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_a_device_gets_its_id_as_external_id_unless_it_is_given_another(service: Service, devices: str) -> None:
    # AC-b04
    made = create(service, devices, name="first")
    assert made["external_id"] == made["id"]
    assert create(service, devices, external_id="mine")["external_id"] == "mine"
    shown = service.operator.get(f"{devices}/{made['id']}").json()
    assert shown == {**made, "children": 0}


def test_the_address_of_a_new_device_is_told(service: Service, devices: str) -> None:
    answer = service.operator.post(devices, json={"name": "bébé", "id": new_id() + "+é"})
    assert answer.status_code == 201
    assert service.operator.get(answer.headers["location"]).json()["name"] == "bébé"


def test_a_dev_eui_is_given_at_creation_or_later_and_can_be_taken_away(service: Service, devices: str) -> None:
    # AC-b05
    made = create(service, devices, dev_eui="24-E1-24-12-6B-01-23-45")
    assert made["dev_eui"] == "24e124126b012345"
    path = f"{devices}/{made['id']}"
    changed = service.operator.patch(path, json={"dev_eui": "24:E1:24:12:6B:01:23:46"}).json()
    assert changed["dev_eui"] == "24e124126b012346"
    assert service.operator.get(devices, params={"dev_eui": "24E124126B012346"}).json()["items"] == [changed]
    assert service.operator.patch(path, json={"dev_eui": None}).json()["dev_eui"] is None
    assert service.operator.patch(path, json={"dev_eui": "no hex"}).status_code == 422


def test_devices_stand_behind_gateways_one_level_deep(service: Service, devices: str) -> None:
    # AC-b06
    gateway = create(service, devices, gateway=True)
    child = create(service, devices, parent_id=gateway["id"])
    assert service.operator.get(f"{devices}/{gateway['id']}").json()["children"] == 1
    assert service.operator.get(devices, params={"parent": gateway["id"]}).json()["items"] == [child]
    below = service.operator.post(devices, json={"name": "x", "parent_id": child["id"]})
    assert (below.status_code, below.json()["type"]) == (422, "urn:fleetline:problem:refused")
    assert service.operator.delete(f"{devices}/{gateway['id']}").status_code == 409
    moved = service.operator.patch(f"{devices}/{child['id']}", json={"parent_id": None}).json()
    assert moved["parent_id"] is None
    assert service.operator.delete(f"{devices}/{gateway['id']}").status_code == 204


def test_a_change_made_from_an_older_version_is_refused_with_the_current_one(service: Service, devices: str) -> None:
    path = f"{devices}/{create(service, devices)['id']}"
    assert service.operator.patch(path, json={"name": "second", "version": 1}).json()["version"] == 2
    stale = service.operator.patch(path, json={"name": "third", "version": 1})
    assert (stale.status_code, stale.json()["type"], stale.json()["current"]) == (409, "urn:fleetline:problem:stale", 2)
    assert service.operator.delete(path, params={"version": 1}).status_code == 409
    assert service.operator.get(path).json()["name"] == "second"
    assert service.operator.delete(path, params={"version": 2}).status_code == 204
    assert service.operator.get(path).status_code == 404


def test_only_what_is_given_is_changed(service: Service, devices: str) -> None:
    made = create(service, devices, imei="1", custom1="a", attributes={"colour": "red", "size": "s"})
    path = f"{devices}/{made['id']}"
    changed = service.operator.patch(path, json={"custom1": "b", "attributes": {"size": None}}).json()
    assert changed == {
        **made,
        "custom1": "b",
        "version": 2,
        "attributes": {"integration.external_id": made["id"], "imei": "1", "custom1": "b", "colour": "red"},
    }


def test_an_id_that_is_taken_is_refused(service: Service, devices: str) -> None:
    create(service, devices, imei="490154203237518")
    taken = service.operator.post(devices, json={"name": "another", "imei": "490154203237518"})
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:fleetline:problem:conflict")


def test_lists_come_in_parts_that_hold_every_device_once(service: Service, devices: str) -> None:
    made = [create(service, devices) for _ in range(5)]
    seen: list[Any] = []
    after: str | None = ""
    while after is not None:
        page = service.operator.get(devices, params={"limit": 2, "after": after}).json()
        assert len(page["items"]) <= 2
        seen += page["items"]
        after = page["next"]
    assert seen == sorted(made, key=lambda each: str(each["id"]))


def test_of_several_filters_each_must_hold(service: Service, devices: str) -> None:
    made = create(service, devices, name="n1", imei="77", serial="S7")
    create(service, devices, name="n2", serial="S8")
    found: Any = lambda **wanted: service.operator.get(devices, params=wanted).json()["items"]  # noqa: E731
    assert found(imei="77", serial="S7", name="n1", external_id=made["id"]) == [made]
    assert found(imei="77", serial="S8") == []
    assert found(imei="") == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "unknown": 1},
        {"name": 5},
        {"name": "x", "gateway": "yes"},
        {"name": "x", "imei": "1", "attributes": {"imei": "1"}},
        {"name": "x", "id": "a/b"},
        {"name": "x\r\ny"},
        {"name": "x" * 1001},
        {"name": "x", "attributes": {"a": ["b"]}},
        [],
        None,
    ],
)
def test_a_body_that_makes_no_sense_is_refused_as_a_problem(service: Service, devices: str, body: Any) -> None:
    answer = service.operator.post(devices, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 422


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": "\\ud800"}', b"1" * 5_000, b""])
def test_bytes_that_are_no_json_are_refused_as_a_problem(service: Service, devices: str, body: bytes) -> None:
    answer = service.operator.post(devices, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_beyond_the_limit_is_refused_unread(service: Service, devices: str) -> None:
    answer = service.operator.post(devices, content=b" " * (2**20 + 1), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    chunks = (b" " * 2**16 for _ in range(17))
    assert (
        service.operator.post(devices, content=chunks, headers={"content-type": "application/json"}).status_code == 413
    )


def test_a_body_that_stops_coming_is_given_up(service: Service, devices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin.bodies.SILENCE_S", 0.2)
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.putrequest("POST", devices)
        for name, value in (("content-type", "application/json"), ("content-length", "100")):
            connection.putheader(name, value)
        connection.putheader("authorization", f"Bearer {ADMIN_TOKEN}")
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (408, "application/problem+json")
