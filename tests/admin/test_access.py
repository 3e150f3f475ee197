"""Who may do what: every endpoint of the OpenAPI document is tried, none is listed here."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from registry.rules.access import EVERYTHING, RESOURCES
from tests.admin.service import ADMIN_TOKEN, Service
from tests.admin.world import World, make_world

pytestmark = pytest.mark.stack

PUBLIC = {("get", "/api/v1/connectivity/catalog")}
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    """A tenant that has one of everything."""
    return make_world(service)


@pytest.fixture(scope="module")
def other(service: Service) -> World:
    """Another tenant that has one of everything."""
    return make_world(service)


def operations(service: Service) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (method, path, declaration) of everything the API offers."""
    document = service.operator.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, declared in methods.items():
            assert method in METHODS
            yield method, path, declared


def guarded(service: Service) -> list[tuple[str, str, dict[str, Any]]]:
    found = [each for each in operations(service) if each[:2] not in PUBLIC]
    assert len(found) > 40
    assert all(each[2]["security"] and each[2]["x-scope"] for each in found)
    return found


def send(client: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
    if isinstance(body, str):
        return client.request(method, path, content=body, headers={"content-type": "text/csv"})
    return client.request(method, path, json=body if body is not None or method in ("get", "delete") else {})


def sound_body(operation: str, world: World) -> Any:
    """Return a body that the endpoint takes; without one a refusal could be the form's instead of the key's."""
    return world.bodies.get(operation, {})


def test_without_a_key_only_the_public_paths_answer(service: Service, world: World) -> None:
    for method, path, declared in operations(service):
        with service.client() as nobody:
            answer = send(nobody, method, world.fill(path), sound_body(declared["operationId"], world))
        if (method, path) in PUBLIC:
            assert answer.status_code == 200
            assert declared["security"] == []
            continue
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_that_opens_nothing_is_refused_everywhere(service: Service, world: World, header: str) -> None:
    wrong = {"authorization": "Bearer wrong"} if header == "authorization" else {header: "wrong"}
    with httpx.Client(base_url=service.url, headers=wrong) as client:
        for method, path, _ in guarded(service):
            answer = client.request(method, world.fill(path), content=b"not even json")
            assert answer.status_code == 401, path
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "authorization",
    [b"", b"Bearer", b"Basic YTpi", b"Bearer \xff\xfe", "Bearer \N{SNOWMAN}".encode(), b"bearer x" * 500],
)
def test_any_bytes_can_stand_in_the_header(service: Service, authorization: bytes) -> None:
    with httpx.Client(base_url=service.url) as client:
        headers = [(b"authorization", authorization)]
        assert client.get("/api/v1/tenants", headers=headers).status_code == 401


def test_keys_are_taken_from_either_header_and_whatever_the_case_of_the_scheme(service: Service, world: World) -> None:
    for headers in ({"authorization": f"bEaReR {ADMIN_TOKEN}"}, {"x-api-key": ADMIN_TOKEN}, {"x-api-key": world.key}):
        assert httpx.get(f"{service.url}/api/v1/tenants", headers=headers).status_code == 200


def test_with_all_scopes_but_the_one_needed_every_endpoint_refuses_and_names_it(service: Service, world: World) -> None:
    before = world.contents(service)
    for method, path, declared in guarded(service):
        scope: str = declared["x-scope"]
        resource = scope.partition(":")[0]
        scopes = [f"{each}:write" for each in RESOURCES if each != resource]
        if scope.endswith(":write"):
            scopes.append(f"{resource}:read")
        with service.client(world.new_key(scopes, operator="x-operator" in declared)) as lacking:
            answer = send(lacking, method, world.fill(path), sound_body(declared["operationId"], world))
        assert (answer.status_code, scope in answer.json()["detail"]) == (403, True), (path, answer.text)
    assert world.contents(service) == before


def test_with_the_scope_alone_every_endpoint_lets_in(service: Service) -> None:
    world = make_world(service)
    removing_last = sorted(guarded(service), key=lambda each: (each[0] == "delete", -len(each[1])))
    for method, path, declared in removing_last:
        key = world.new_key([declared["x-scope"]], operator="x-operator" in declared)
        with service.client(key) as client:
            answer = send(client, method, world.fill(path), sound_body(declared["operationId"], world))
        kept = declared["operationId"] == "delete_tenant" and answer.json()["type"].endswith(":conflict")
        assert kept or answer.status_code in (200, 201, 204), (method, path, answer.text)


def test_nothing_of_another_tenant_can_be_reached_by_any_endpoint(service: Service, world: World, other: World) -> None:
    mine, theirs = world.contents(service), other.contents(service)
    secret_words = other.words()
    with service.client(world.key) as client:
        for method, path, declared in guarded(service):
            body = sound_body(declared["operationId"], other)
            for reached in reaching(path, world, other):
                answer = send(client, method, reached, body)
                leaked = [each for each in secret_words if each in answer.text.replace(reached, "")]
                asked = [each for each in secret_words if each in reached]
                assert answer.status_code in ((403, 404) if "{" in path else (200, 201, 403)), (
                    method,
                    path,
                    answer.text,
                )
                assert not set(leaked) - set(asked), (method, path, answer.text)
    assert other.contents(service) == theirs
    assert world.contents(service) == mine


def reaching(path: str, world: World, other: World) -> list[str]:
    """Fill a path with the other tenant's ids: in all of its parts, and in each but the tenant."""
    every = other.fill(path)
    inside = re.sub(r"\{(\w+)\}", lambda part: (world if part[1] == "tenant_id" else other).ids[part[1]], path)
    return [every] if inside == world.fill(path) else [every, inside]


def test_another_tenants_objects_are_answered_like_those_that_do_not_exist(
    service: Service, world: World, other: World
) -> None:
    with service.client(world.key) as client:
        for method, path, declared in guarded(service):
            if "{" not in path or "x-operator" in declared:
                continue
            body = sound_body(declared["operationId"], world)
            for reached in reaching(path, world, other):
                answer = send(client, method, reached, body)
                missing = reached
                for theirs in other.ids.values():
                    missing = missing.replace(theirs, "00000000-0000-7000-8000-000000000000")
                absent = send(client, method, missing, body)
                told = re.sub(r"'[^']*'", "X", answer.text)
                assert (answer.status_code, told) == (absent.status_code, re.sub(r"'[^']*'", "X", absent.text)), path
                assert answer.headers.keys() == absent.headers.keys()


def test_objects_named_in_a_body_are_the_tenants_own_or_do_not_exist(
    service: Service, world: World, other: World
) -> None:
    with service.client(world.key) as client:
        tenant = f"/api/v1/tenants/{world.ids['tenant_id']}"
        device = other.ids["device_id"]
        for method, path, body in (
            ("post", f"{tenant}/credentials", {"source": "device", "device_id": device}),
            ("post", f"{tenant}/devices", {"name": "child", "parent_id": other.gateway}),
            ("patch", f"{tenant}/devices/{world.ids['device_id']}", {"parent_id": other.gateway}),
            ("get", f"{tenant}/credentials?device={device}", None),
        ):
            assert send(client, method, path, body).status_code == 404, path
        assert client.get(f"{tenant}/devices", params={"parent": other.gateway}).json()["items"] == []
        for identity in ("imei", "name", "external_id"):
            found = client.get(f"{tenant}/devices", params={identity: other.device[identity]})
            assert found.json() == {"items": [], "next": None}


def test_a_tenants_key_sees_its_own_tenant_alone(service: Service, world: World, other: World) -> None:
    with service.client(world.key) as client:
        assert [each["id"] for each in client.get("/api/v1/tenants").json()["items"]] == [world.ids["tenant_id"]]
    listed = service.operator.get("/api/v1/tenants", params={"limit": 1000}).json()["items"]
    assert {world.ids["tenant_id"], other.ids["tenant_id"]} <= {each["id"] for each in listed}


def test_a_key_makes_no_key_that_is_mightier_than_itself(service: Service, world: World) -> None:
    keys = f"/api/v1/tenants/{world.ids['tenant_id']}/api-keys"
    with service.client(world.new_key(["api_keys:write", "devices:read"])) as weak:
        for scopes in ([EVERYTHING], ["devices:write"], ["devices:read", "tenants:read"]):
            assert weak.post(keys, json={"name": "x", "scopes": scopes}).status_code == 403
        made = weak.post(keys, json={"name": "x", "scopes": ["devices:read", "api_keys:read"]})
        assert made.status_code == 201
        assert weak.post("/api/v1/api-keys", json={"name": "x", "scopes": ["devices:read"]}).status_code == 403
        assert weak.post(keys, json={"name": "x", "scopes": ["planes:read"]}).status_code == 422


def test_a_key_that_expires_makes_none_that_lives_longer(service: Service, world: World) -> None:
    keys = f"/api/v1/tenants/{world.ids['tenant_id']}/api-keys"
    body = {"name": "x", "scopes": [EVERYTHING], "expires_at": "2099-01-01T00:00:00Z"}
    short = service.operator.post(keys, json=body).json()
    assert short["expires_at"] == "2099-01-01T00:00:00.000000Z"
    with service.client(short["secret"]) as client:
        assert client.post(keys, json={**body, "expires_at": None}).status_code == 403
        assert client.post(keys, json={**body, "expires_at": "2099-01-01T00:00:01Z"}).status_code == 403
        assert client.post(keys, json=body).status_code == 201
    assert service.operator.post(keys, json={**body, "expires_at": "soon"}).status_code == 422
    assert service.operator.post(keys, json={**body, "expires_at": "2020-01-01T00:00:00Z"}).status_code == 422


def test_a_revoked_key_opens_nothing_from_then_on(service: Service, world: World) -> None:
    keys = f"/api/v1/tenants/{world.ids['tenant_id']}/api-keys"
    made = service.operator.post(keys, json={"name": "x", "scopes": [EVERYTHING]}).json()
    with service.client(made["secret"]) as client:
        assert client.get(keys).status_code == 200
        assert client.delete(f"{keys}/{made['id']}").status_code == 204
        assert client.get(keys).status_code == 401


def test_operators_keys_are_kept_apart_from_tenants(service: Service, world: World) -> None:
    made = service.operator.post("/api/v1/api-keys", json={"name": "op", "scopes": ["tenants:read"]}).json()
    assert made["tenant_id"] is None
    with service.client(made["secret"]) as operator:
        assert operator.get(f"/api/v1/tenants/{world.ids['tenant_id']}").status_code == 200
    path = f"/api/v1/tenants/{world.ids['tenant_id']}/api-keys/{made['id']}"
    assert service.operator.get(path).status_code == 404
    assert service.operator.get(f"/api/v1/api-keys/{world.ids['key_id']}").status_code == 404
    assert service.operator.delete(f"/api/v1/api-keys/{made['id']}").status_code == 204
