"""Tokens, webhook secrets, credentials, destinations, geofences and tenants over HTTP."""

from typing import Any

import pytest

from registry.sealing import unseal
from tests.admin.service import Service
from tests.admin.world import AREA

pytestmark = pytest.mark.stack


@pytest.fixture
def tenant(service: Service) -> str:
    return f"/api/v1/tenants/{service.tenant()}"


@pytest.fixture
def device(service: Service, tenant: str) -> str:
    made = service.operator.post(f"{tenant}/devices", json={"name": "device", "imei": "490154203237518"})
    return f"{tenant}/devices/{made.json()['id']}"


def opens(service: Service, source: str, secret: str, *, tenant_secret: bool = False) -> bool:
    """Tell whether a secret opens a source, by the view the doors have too."""
    return service.live.view.credential_for(source, tenant_secret, secret) is not None


def test_a_device_has_no_token_until_one_is_made_and_says_so(service: Service, device: str) -> None:
    # AC-b03
    state = service.operator.get(f"{device}/token").json()
    assert (state["exists"], state["version"], state["credential_id"]) == (False, None, None)
    shown = service.operator.get(f"{device}/connectivity")
    assert (shown.status_code, shown.json()["has_secret"]) == (200, False)
    assert "There is no device token yet" in shown.json()["message"]
    assert service.operator.delete(f"{device}/token").status_code == 404


def test_a_device_token_is_shown_once_with_examples_that_hold_it(service: Service, device: str) -> None:
    # AC-b03, AP-b01, AP-b02
    answer = service.operator.post(f"{device}/token")
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert opens(service, "device", made["token"])
    transports = {each["transport"] for each in made["connection"]["examples"]}
    assert transports == {"http", "mqtt", "websocket"}
    assert all(made["token"] in each["command"] for each in made["connection"]["examples"])
    later = service.operator.get(f"{device}/connectivity")
    assert later.json()["has_secret"]
    assert made["token"] not in later.text + service.operator.get(f"{device}/token").text
    autopi = service.operator.post(f"{device}/token", params={"source": "autopi"}).json()
    assert any(autopi["token"] in each["value"] for each in autopi["connection"]["setup"])


def test_a_rotated_token_opens_beside_the_new_one_for_a_while(service: Service, device: str) -> None:
    # AC-b09
    first = service.operator.post(f"{device}/token").json()["token"]
    second = service.operator.post(f"{device}/token", json={"overlap_s": 3600}).json()
    assert second["former_until"] is not None
    assert opens(service, "device", first)
    assert opens(service, "device", second["token"])
    third = service.operator.post(f"{device}/token", json={"overlap_s": 0}).json()
    assert third["former_until"] is None
    assert [opens(service, "device", each) for each in (first, second["token"], third["token"])] == [False, False, True]
    assert service.operator.get(f"{device}/token").json()["version"] == 3
    stale = service.operator.post(f"{device}/token", json={"version": 1})
    assert (stale.status_code, stale.json()["current"]) == (409, 3)


def test_a_revoked_token_opens_nothing(service: Service, device: str) -> None:
    # AC-b09
    first = service.operator.post(f"{device}/token").json()["token"]
    second = service.operator.post(f"{device}/token").json()["token"]
    assert service.operator.delete(f"{device}/token").status_code == 204
    assert not opens(service, "device", first)
    assert not opens(service, "device", second)
    assert not service.operator.get(f"{device}/token").json()["exists"]


def test_tokens_of_unknown_sources_and_of_webhooks_are_refused_with_what_to_do(service: Service, device: str) -> None:
    unknown = service.operator.post(f"{device}/token", params={"source": "nonesuch"})
    assert (unknown.status_code, "flespi" in unknown.json()["detail"]) == (422, True)
    webhook = service.operator.post(f"{device}/token", params={"source": "ttn"})
    assert (webhook.status_code, "integration/secret" in webhook.json()["detail"]) == (422, True)


def test_webhook_urls_hold_the_tenant_and_the_secret_is_made_rotated_and_revoked(service: Service, tenant: str) -> None:
    # AC-b07, AC-b08
    path = f"{tenant}/integration"
    before = service.operator.get(path).json()
    assert (before["secret"]["exists"], "no secret yet" in before["message"]) == (False, True)
    tenant_id = tenant.rpartition("/")[2]
    lorawan = [each for each in before["webhooks"] if each["source"] in ("chirpstack", "ttn", "generic")]
    assert {each["source"] for each in lorawan} == {"chirpstack", "ttn", "generic"}
    assert all(each["url"].endswith(f"?tenantId={tenant_id}") for each in lorawan)
    first = service.operator.post(f"{path}/secret").json()
    assert opens(service, "ttn", first["new_secret"], tenant_secret=True)
    second = service.operator.post(f"{path}/secret", json={"overlap_s": 60, "version": 1}).json()
    assert (second["secret"]["version"], second["secret"]["former_until"] is None) == (2, False)
    assert opens(service, "ttn", first["new_secret"], tenant_secret=True)
    assert second["new_secret"] not in service.operator.get(path).text
    assert service.operator.post(f"{path}/secret", json={"version": 1}).status_code == 409
    assert service.operator.delete(f"{path}/secret", params={"version": 2}).status_code == 204
    assert not opens(service, "ttn", second["new_secret"], tenant_secret=True)
    assert service.operator.delete(f"{path}/secret").status_code == 404


def test_credentials_are_made_listed_rotated_and_revoked(service: Service, tenant: str, device: str) -> None:
    path, device_id = f"{tenant}/credentials", device.rpartition("/")[2]
    body = {"source": "autopi", "device_id": device_id, "name": "dongle"}
    made = service.operator.post(path, json=body)
    assert (made.status_code, made.headers["location"]) == (201, f"{path}/{made.json()['id']}")
    secret = made.json().pop("secret")
    shown = {name: value for name, value in made.json().items() if name != "secret"}
    assert service.operator.get(made.headers["location"]).json() == shown
    wide = service.operator.post(path, json={"source": "flespi"}).json()
    assert {each["id"] for each in service.operator.get(path).json()["items"]} == {shown["id"], wide["id"]}
    assert service.operator.get(path, params={"device": device_id}).json() == {"items": [shown], "next": None}
    rotated = service.operator.post(f"{path}/{shown['id']}/rotate", json={"overlap_s": 0}).json()
    assert not opens(service, "autopi", secret)
    assert opens(service, "autopi", rotated["secret"])
    assert service.operator.delete(f"{path}/{shown['id']}", params={"version": 1}).status_code == 409
    assert service.operator.delete(f"{path}/{shown['id']}").status_code == 204
    assert not opens(service, "autopi", rotated["secret"])
    assert service.operator.post(path, json={"source": "nonesuch"}).status_code == 422


@pytest.mark.parametrize("overlap", [-1, 10**9, "1", None, float("1e400")])
def test_an_overlap_that_makes_no_sense_is_refused(service: Service, tenant: str, overlap: Any) -> None:
    text = f'{{"overlap_s": {"null" if overlap is None else repr(overlap) if overlap != "1" else chr(34) + "1" + chr(34)}}}'
    answer = service.operator.post(
        f"{tenant}/integration/secret",
        content=text.replace("inf", "Infinity"),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422, answer.text


def test_a_psk_goes_in_sealed_and_never_comes_out(service: Service, tenant: str) -> None:
    path, psk = f"{tenant}/destinations", "Bearer of-the-customer"
    body = {"url": "https://customer.example/in", "types": ["overspeed"], "psk": psk, "enabled": False}
    made = service.operator.post(path, json=body).json()
    assert made == {
        "id": made["id"],
        "tenant_id": tenant.rpartition("/")[2],
        "kind": "webhook",
        "url": body["url"],
        "name": "",
        "types": ["overspeed"],
        "psk": True,
        "enabled": False,
        "version": made["version"],
    }
    stored = service.live.view.destination(made["id"])
    assert stored is not None
    assert unseal(service.settings, stored.sealed_psk) == psk
    one = f"{path}/{made['id']}"
    kept = service.operator.patch(one, json={"enabled": True}).json()
    assert (kept["psk"], kept["enabled"]) == (True, True)
    assert service.operator.patch(one, json={"psk": None}).json()["psk"] is False
    assert service.operator.patch(one, json={"url": "ftp://x"}).status_code == 422
    refused = service.operator.patch(one, json={"psk": "two\r\nlines"})
    assert (refused.status_code, "two" in refused.text) == (422, False)
    assert service.operator.get(path).json()["items"] == [service.operator.get(one).json()]
    assert service.operator.delete(one).status_code == 204
    assert service.operator.get(one).status_code == 404


def test_a_psk_cannot_be_sealed_with_an_unusable_key_and_the_answer_says_which_setting(
    service: Service, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = service.settings.data_dir / "secret.key"
    before = key.read_bytes() if key.exists() else None
    key.write_text("short")
    try:
        answer = service.operator.post(f"{tenant}/destinations", json={"url": "https://x.example/", "psk": "hidden"})
    finally:
        key.unlink() if before is None else key.write_bytes(before)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:fleetline:problem:sealing")
    assert "FLEETLINE_SECRET_KEY" in answer.json()["detail"]
    assert "hidden" not in answer.text


def test_geofences_are_circles_and_polygons(service: Service, tenant: str) -> None:
    path = f"{tenant}/geofences"
    square = {"type": "Polygon", "coordinates": [[[8, 47], [9, 47], [9, 48], [8, 48], [8, 47]]]}
    made = service.operator.post(path, json={"name": "yard", "area": AREA, "attributes": {"colour": "red"}}).json()
    assert (made["area"], made["attributes"]) == (AREA, {"colour": "red"})
    one = f"{path}/{made['id']}"
    changed = service.operator.patch(one, json={"area": square, "attributes": {"colour": None}, "version": 1}).json()
    assert (changed["area"], changed["attributes"], changed["version"]) == (square, {}, 2)
    assert service.operator.patch(one, json={"name": "x", "version": 1}).status_code == 409
    for area in (
        {"type": "Circle", "latitude": 91, "longitude": 0, "radius_m": 1},
        {"type": "Circle", "latitude": 0, "longitude": 0, "radius_m": 0},
        {"type": "Polygon", "coordinates": [[[8, 47], [9, 47], [9, 48]]]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Sphere"},
    ):
        assert service.operator.post(path, json={"name": "x", "area": area}).status_code == 422, area
    assert service.operator.get(path).json() == {"items": [changed], "next": None}
    assert service.operator.delete(one, params={"version": 2}).status_code == 204


def test_tenants_are_made_renamed_and_removed_once_empty(service: Service) -> None:
    made = service.operator.post("/api/v1/tenants", json={"name": "Müller AG", "id": "mueller"})
    assert (made.status_code, made.json()) == (201, {"id": "mueller", "name": "Müller AG", "version": 1})
    path = made.headers["location"]
    assert service.operator.post("/api/v1/tenants", json={"name": "Müller AG"}).status_code == 409
    assert service.operator.patch(path, json={"name": "Müller", "version": 1}).json()["version"] == 2
    assert service.operator.patch(path, json={"name": "Meier", "version": 1}).json()["current"] == 2
    device = service.operator.post(f"{path}/devices", json={"name": "d"}).json()["id"]
    assert service.operator.delete(path).status_code == 409
    assert service.operator.delete(f"{path}/devices/{device}").status_code == 204
    assert service.operator.delete(path).status_code == 204
    assert service.operator.get(path).status_code == 404


def test_settings_are_replaced_as_a_whole(service: Service, tenant: str) -> None:
    path = f"{tenant}/settings"
    assert service.operator.get(path).json() == {"auto_register": [], "version": 0}
    assert service.operator.put(path, json={"auto_register": ["ttn", "flespi"], "version": 0}).json() == {
        "auto_register": ["flespi", "ttn"],
        "version": 1,
    }
    assert service.operator.put(path, json={"auto_register": [], "version": 0}).status_code == 409
    assert service.operator.put(path, json={"auto_register": ["nonesuch"]}).status_code == 422


def test_the_catalogue_needs_no_key_and_names_where_senders_send(service: Service) -> None:
    # AC-b01
    with service.client() as nobody:
        answer = nobody.get("/api/v1/connectivity/catalog")
    assert answer.status_code == 200
    shown = answer.json()
    assert set(shown["transports"]) == {"http", "mqtt", "websocket"}
    assert {"autopi", "flespi", "device"} <= {each["name"] for each in shown["sources"]}


def test_what_is_not_there_and_wrong_methods_are_problems_too(service: Service) -> None:
    absent = service.operator.get("/api/v1/planes")
    assert (absent.status_code, absent.headers["content-type"]) == (404, "application/problem+json")
    wrong = service.operator.put("/api/v1/tenants", json={})
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert wrong.headers["allow"] == "GET, POST"
    slash = service.operator.get("/api/v1/tenants/")
    assert slash.status_code == 404


def test_probes_and_documents_need_no_key(service: Service) -> None:
    with service.client() as nobody:
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert nobody.get(path).status_code == 200, path


def test_metrics_count_routes_as_declared_and_never_ids(service: Service, tenant: str) -> None:
    service.operator.get(f"{tenant}/devices/some-id")
    service.operator.request("PROPFIND", "/coffee")
    text = service.operator.get("/metrics").text
    wanted = 'fleetline_admin_requests_total{method="GET",route="/api/v1/tenants/{tenant_id}/devices/{device_id}",status="404"}'
    assert wanted in text
    assert 'fleetline_admin_requests_total{method="(other)",route="(none)",status="404"} 1.0' in text
    assert tenant.rpartition("/")[2] not in text
    assert "some-id" not in text
    assert "fleetline_admin_registry_fresh 1.0" in text
