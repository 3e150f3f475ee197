"""Import and export over HTTP."""

import http.client
import json
import threading
from contextlib import closing
from typing import Any

import httpx
import pytest

from admin.routes import exchange
from tests.admin.service import ADMIN_TOKEN, Service
from tests.support import until

pytestmark = pytest.mark.stack

CSV = {"content-type": "text/csv; charset=utf-8"}
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def tenant(service: Service) -> str:
    return f"/api/v1/tenants/{service.tenant()}"


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def bring(service: Service, tenant: str, content: Any, headers: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    return told(service.operator.post(f"{tenant}/devices:import", content=content, headers=headers, params=query))


def test_a_csv_is_imported_row_by_row_and_a_bad_row_ends_nothing(service: Service, tenant: str) -> None:
    events = bring(service, tenant, "name,imei,dev_eui\nfirst,1,\nsecond,1,\nthird,3,24e124126b012345\n", CSV)
    assert [each["type"] for each in events] == ["started", "row", "row", "row", "progress", "finished"]
    assert [each["outcome"] for each in events[1:4]] == ["created", "refused", "created"]
    assert (events[-1]["progress"]["created"], events[-1]["progress"]["refused"]) == (2, 1)
    listed = service.operator.get(f"{tenant}/devices").json()["items"]
    assert {each["name"] for each in listed} == {"first", "third"}
    assert {each["id"] for each in listed} == {
        each["device_id"] for each in events[1:4] if each["outcome"] == "created"
    }


def test_a_dry_run_tells_the_same_and_makes_nothing(service: Service, tenant: str) -> None:
    rows = b'{"name": "one", "imei": "7"}\n{"name": "two", "imei": "7"}\n'
    events = bring(service, tenant, rows, NDJSON, dry_run="true")
    assert [each["outcome"] for each in events if each["type"] == "row"] == ["created", "refused"]
    assert service.operator.get(f"{tenant}/devices").json()["items"] == []


def test_what_was_exported_is_imported_as_the_same_devices(service: Service, tenant: str) -> None:
    bring(service, tenant, "name,gateway,parent,custom1\ngate,true,,=1+1\nchild,false,gate,é\n", CSV)
    before = service.operator.get(f"{tenant}/devices").json()["items"]
    assert len(before) == 2
    for form, headers in (("csv", CSV), ("ndjson", NDJSON)):
        exported = service.operator.get(f"{tenant}/devices:export", params={"format": form})
        assert exported.headers["content-disposition"] == f'attachment; filename="devices.{form}"'
        events = bring(service, tenant, exported.content, headers, on_existing="update")
        assert [each["outcome"] for each in events if each["type"] == "row"] == ["unchanged", "unchanged"]
    assert service.operator.get(f"{tenant}/devices").json()["items"] == before


def test_tokens_are_made_for_who_may_make_them_and_shown_once(service: Service, tenant: str) -> None:
    keys = f"{tenant}/api-keys"
    weak = service.operator.post(keys, json={"name": "x", "scopes": ["devices:write"]}).json()["secret"]
    path = f"{tenant}/devices:import"
    with service.client(weak) as client:
        refused = client.post(path, content="name\nd1\n", headers=CSV, params={"tokens": "true"})
        assert (refused.status_code, "credentials:write" in refused.json()["detail"]) == (403, True)
    answer = service.operator.post(path, content="name\nd1\n", headers=CSV, params={"tokens": "true"})
    assert answer.headers["cache-control"] == "no-store"
    token = next(each["token"] for each in told(answer) if each["type"] == "row")
    assert service.live.view.credential_for("device", False, token) is not None


def test_rows_that_name_another_tenants_devices_say_nothing_of_them(service: Service, tenant: str) -> None:
    other = f"/api/v1/tenants/{service.tenant()}"
    theirs = service.operator.post(f"{other}/devices", json={"name": "hidden name", "imei": "5"}).json()
    for mode in ("refuse", "skip", "update"):
        rows = f"id,name,parent\n{theirs['id']},mine,\n,child,{theirs['id']}\n"
        answer = service.operator.post(
            f"{tenant}/devices:import", content=rows, headers=CSV, params={"on_existing": mode}
        )
        assert [each["outcome"] for each in told(answer) if each["type"] == "row"] == ["refused", "refused"]
        assert "hidden name" not in answer.text
    assert service.operator.get(f"{other}/devices/{theirs['id']}").json() == {**theirs, "children": 0}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'"' * 1000, b"{" * 1000, b"name\n" + b"x" * 600_000])
def test_any_bytes_are_answered_with_a_report(service: Service, tenant: str, content: bytes) -> None:
    for headers in (CSV, NDJSON):
        assert bring(service, tenant, content, headers)[-1]["type"] == "finished"


def test_other_content_types_and_larger_files_are_refused(service: Service, tenant: str) -> None:
    path = f"{tenant}/devices:import"
    assert service.operator.post(path, json={"name": "x"}).status_code == 422
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.putrequest("POST", path)
        for name, value in (*CSV.items(), ("content-length", str(exchange.LARGEST_FILE + 1))):
            connection.putheader(name, value)
        connection.putheader("authorization", f"Bearer {ADMIN_TOKEN}")
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_changes_of_others_are_made_between_the_chunks_of_a_long_import(service: Service, tenant: str) -> None:
    rows = "name\n" + "".join(f"device {number}\n" for number in range(10_000))
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.extend(bring(service, tenant, rows, CSV)))
    thread.start()
    made = 0
    while thread.is_alive():
        assert service.operator.put(f"{tenant}/settings", json={"auto_register": []}).status_code == 200
        made += 1
    thread.join()
    assert done[-1]["progress"]["created"] == 10_000
    assert made > 2
    page = service.operator.get(f"{tenant}/devices", params={"limit": 1000}).json()
    assert len(page["items"]) == 1000


def test_no_more_imports_run_at_once_than_a_process_can_bear(service: Service, tenant: str) -> None:
    slots = service.app._app.state.imports
    assert slots.taken == 0
    slots.taken = exchange.MOST_IMPORTS
    try:
        answer = service.operator.post(f"{tenant}/devices:import", content="name\nx\n", headers=CSV)
    finally:
        slots.taken = 0
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert bring(service, tenant, "name\nx\n", CSV)[-1]["type"] == "finished"
    until(lambda: slots.taken == 0, what="the slot is given back")
