"""The integrations' webhooks through the real application: whose secret opens what, and what each names its device by."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from registry.model import INTEGRATION, Credential, Device, Tenant, integration_id
from registry.secrets import digest
from tests.ingress.fleet import (
    CHILD,
    DEVICE,
    DEVICE_TOKEN,
    EUI,
    FOREIGN_CHILD,
    GATEWAY,
    GATEWAY_TOKEN,
    OTHER,
    OTHER_SECRET,
    SECRET,
    Fleet,
)
from tests.ingress.loopback import TENANT

SOURCES = ("generic", "chirpstack", "ttn")
BODIES: dict[str, dict[str, Any]] = {
    "generic": {"externalDeviceId": "silo-3", "telemetry": {"temperature": 22.5}},
    "chirpstack": {"deviceInfo": {"devEui": EUI}, "fCnt": 1, "object": {"temperature": 22.5}},
    "ttn": {
        "end_device_ids": {"dev_eui": EUI, "device_id": "d"},
        "uplink_message": {"f_cnt": 1, "decoded_payload": {"temperature": 22.5}},
    },
}
UNKNOWN: dict[str, dict[str, Any]] = {
    "generic": {"externalDeviceId": "silo-4", "telemetry": {"temperature": 22.5}},
    "chirpstack": {"deviceInfo": {"devEui": "00000000000000ff"}, "fCnt": 1, "object": {"temperature": 22.5}},
    "ttn": {
        "end_device_ids": {"dev_eui": "00000000000000FF"},
        "uplink_message": {"f_cnt": 1, "decoded_payload": {"temperature": 22.5}},
    },
}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with fleet.client() as made:
        yield made


def url(source: str, tenant: str = TENANT) -> str:
    return f"/api/v1/integrations/{source}/telemetry" + (f"?tenantId={tenant}" if tenant else "")


async def post(client: httpx.AsyncClient, body: Any, source: str = "generic", **more: Any) -> int:
    headers = more.get("headers", {"x-webhook-secret": SECRET})
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await client.post(url(source, more.get("tenant", TENANT)), content=encoded, headers=headers)
    assert answer.status_code != 200 or answer.content == b""
    return answer.status_code


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("header", ["X-Webhook-Secret", "Authorization"])
async def test_a_webhook_is_opened_by_either_header(
    source: str, header: str, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a19, AC-a20, AC-a21, AC-a22
    shown = SECRET if header == "X-Webhook-Secret" else f"Bearer {SECRET}"
    assert await post(client, BODIES[source], source, headers={header: shown}) == 200
    assert (await client.post(f"/in/{source}", json=BODIES[source], headers={header: shown})).status_code == 200
    for record in fleet.telemetry():
        assert (record["device_id"], record["tenant_id"], record["source"]) == (DEVICE, TENANT, source)
        assert record["numbers"]["temperature"] == 22.5


@pytest.mark.parametrize("source", SOURCES)
async def test_a_wrong_secret_or_none_is_401(source: str, fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a22
    for shown in ({}, {"x-webhook-secret": ""}, {"x-webhook-secret": "wrong"}, {"authorization": SECRET},
                  {"authorization": f"Basic {SECRET}"}, {"x-webhook-secret": f"Bearer {SECRET}"},
                  {"x-webhook-secret": DEVICE_TOKEN}, {"x-device-token": SECRET}):  # fmt: skip
        assert await post(client, BODIES[source], source, headers=shown) == 401
    assert not fleet.producer.records


@pytest.mark.parametrize("source", SOURCES)
async def test_a_secret_opens_its_own_tenant_and_finds_its_own_devices_only(
    source: str, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a23
    for tenant, shown in ((OTHER, SECRET), (TENANT, OTHER_SECRET), ("nobody", SECRET)):
        assert await post(client, BODIES[source], source, tenant=tenant, headers={"x-webhook-secret": shown}) == 401
    assert not fleet.producer.records
    assert await post(client, BODIES[source], source, tenant=OTHER, headers={"x-webhook-secret": OTHER_SECRET}) == 200
    outcome = fleet.outcome()  # tenant B knows no such device, and A's is not found for it
    assert not outcome["telemetry"]
    assert [(record["tenant_id"], record["device_id"]) for record in outcome["unmapped"]] == [(OTHER, "")]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("configured", "shown", "status"), [("ops", "ops", 200), ("", "", 401), ("ops", "", 401)])
async def test_the_operators_secret_opens_every_webhook_when_it_is_set(
    source: str, configured: str, shown: str, status: int
) -> None:
    # AC-a24
    fleet = Fleet(integration_webhook_secret=SecretStr(configured))
    async with fleet.client() as client:
        for headers in ({"x-webhook-secret": shown}, {"authorization": f"Bearer {shown}"}):
            assert await post(client, BODIES[source], source, headers=headers) == status
        assert await post(client, BODIES[source], source, tenant="", headers={"x-webhook-secret": shown}) == 401
    assert len(fleet.producer.records) == (2 if status == 200 else 0)
    if status == 200:
        assert [record["device_id"] for record in fleet.telemetry()] == [DEVICE, DEVICE]


async def test_with_the_operators_secret_each_tenant_has_a_rate_of_its_own() -> None:
    under_pressure: dict[str, Any] = {"max_in_flight_bytes": -1}  # only then droppers are held to their rate
    fleet = Fleet(
        integration_webhook_secret=SecretStr("ops"), rate_limit_credential=0.1, rate_limit_credit_s=0, **under_pressure
    )
    shown = {"x-webhook-secret": "ops"}
    async with fleet.client() as client:
        statuses = [
            await post(client, BODIES["generic"], tenant=tenant, headers=shown) for tenant in (TENANT, TENANT, OTHER)
        ]
    assert statuses == [503, 429, 503]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_the_operators_secret_may_hold_any_letters(encoding: str) -> None:
    # AC-a24: a header is bytes; most clients write UTF-8 into it, some Latin-1
    fleet = Fleet(integration_webhook_secret=SecretStr("schlüssel"))
    async with fleet.client() as client:
        for shown, status in (("schlüssel", 200), ("schlussel", 401), ("schlüsse", 401)):
            headers = [(b"x-webhook-secret", shown.encode(encoding))]
            assert await post(client, BODIES["generic"], headers=headers) == status


async def test_form_1_names_its_device_by_token(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a25
    assert await post(client, {"deviceToken": DEVICE_TOKEN, "temperature": 22.5, "humidity": 60}) == 200
    (record,) = fleet.telemetry()
    assert record["device_id"] == DEVICE
    assert record["numbers"] == {"temperature": 22.5, "humidity": 60}


async def test_form_2_names_its_device_by_external_id(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a26, AC-a29
    for external in ("silo-3", GATEWAY):  # until another one is set, a device's external id is its own
        assert await post(client, {"externalDeviceId": external, "telemetry": {"temperature": 22.5}}) == 200
    assert [record["device_id"] for record in fleet.telemetry()] == [DEVICE, GATEWAY]
    moved = Device(id="new", tenant_id=TENANT, name="New", attributes={"integration.external_id": "silo-5"})
    assert await post(client, {"externalDeviceId": "silo-5", "telemetry": {"temperature": 22.5}}) == 200
    assert len(fleet.outcome()["unmapped"]) == 1
    fleet.add(moved)
    assert [record["device_id"] for record in fleet.telemetry()] == [DEVICE, GATEWAY, "new"]


async def test_reserved_keys_are_never_telemetry(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a27
    reserved = {"externalDeviceId": "silo-3", "tenantId": TENANT, "deviceToken": DEVICE_TOKEN, "ts": 1_767_322_800}
    assert await post(client, {**reserved, "timestamp": 5, "childDeviceId": "", "humidity": 60}) == 200
    (record,) = fleet.telemetry()
    assert (record["numbers"], record["booleans"], record["texts"]) == ({"humidity": 60}, {}, {})
    assert record["observed_us"] == 1_767_322_800_000_000


@pytest.mark.parametrize("owner", [{"deviceToken": GATEWAY_TOKEN}, {"externalDeviceId": GATEWAY}])
async def test_a_gateway_relays_for_its_child_by_token_or_mapped_id(
    owner: dict[str, str], fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a28, AC-a16
    assert await post(client, {**owner, "childDeviceId": CHILD, "telemetry": {"temperature": 22.5}}) == 200
    assert await post(client, {**owner, "childDeviceId": "c-1", "temperature": 22.5}) == 200
    assert [(r["device_id"], r["gateway_id"]) for r in fleet.telemetry()] == [(CHILD, GATEWAY)] * 2
    for child in (FOREIGN_CHILD, DEVICE, "nobody"):  # AC-a17
        fleet.producer.records.clear()
        assert await post(client, {**owner, "childDeviceId": child, "temperature": 22.5}) == 200
        assert [len(fleet.outcome()[topic]) for topic in ("telemetry", "unmapped")] == [0, 1]


async def test_a_body_that_names_another_tenant_is_400(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-c05
    body = {"externalDeviceId": "silo-3", "temperature": 1}
    for tenant in (TENANT, ""):
        assert await post(client, {**body, "tenantId": OTHER}, tenant=tenant) == 400
    assert not fleet.producer.records
    assert await post(client, {**body, "tenantId": TENANT}) == 200


@pytest.mark.parametrize("source", SOURCES)
async def test_an_unknown_device_is_200_and_waits_to_be_mapped(
    source: str, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a41
    assert await post(client, UNKNOWN[source], source) == 200
    outcome = fleet.outcome()
    assert not outcome["telemetry"]
    (record,) = outcome["unmapped"]
    assert (record["tenant_id"], record["device_id"]) == (TENANT, "")
    assert record["numbers"]["temperature"] == 22.5
    attributes = {"integration.external_id": "silo-4", "integration.lorawan.dev_eui": "00-00-00-00-00-00-00-FF"}
    fleet.add(Device(id="later", tenant_id=TENANT, name="Later", attributes=attributes))
    assert [record["device_id"] for record in fleet.telemetry()] == ["later"]


async def test_an_unknown_token_in_a_body_waits_to_be_mapped_too(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a41: the tenant's secret vouches for the sender
    assert await post(client, {"deviceToken": "unknown", "temperature": 1}) == 200
    (record,) = fleet.outcome()["unmapped"]
    assert record["source_device"].startswith("token:")


@pytest.mark.parametrize("body", [b"", b"temperature=1", b"{", b"[1, 2]", b'{"temperature": 1}', b'"x"'])
async def test_a_complete_body_that_cannot_be_read_is_200_and_quarantined(
    body: bytes, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    assert await post(client, body) == 200
    outcome = fleet.outcome()
    assert not outcome["telemetry"]
    assert not outcome["unmapped"]
    assert len(outcome["quarantine"]) == {b"": 0, b"[1, 2]": 2}.get(body, 1)


async def test_a_token_never_reaches_storage_or_the_log(
    fleet: Fleet, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    token = DEVICE_TOKEN.encode()
    bodies = (
        b'{"deviceToken": "' + token + b'", "n": 1}',
        b'{"device\\u0054oken": "' + token + b'", "n": 1}',
        b'{"deviceToken": "x", "deviceToken": "' + token + b'", "n": 1}',
        b'[{"n": 1, "deviceToken":"' + token + b'"}]',
        b'{"deviceToken": ["' + token + b'"], "n": 1}',
        b"deviceToken=" + token + b"&n=1",
        b'{"deviceToken": "' + token,
    )
    with caplog.at_level(logging.DEBUG):
        for body in bodies:
            assert await post(client, body) == 200
        outcome = fleet.outcome()
    assert [record["device_id"] for record in outcome["telemetry"]] == [DEVICE] * 4
    assert outcome["quarantine"] == ["bad_device", "not_json", "not_json"]
    assert DEVICE_TOKEN not in repr(fleet.producer.records)
    assert DEVICE_TOKEN not in repr(outcome)
    assert not [
        each for each in caplog.records if not each.name.startswith("http") and DEVICE_TOKEN in each.getMessage()
    ]


async def test_the_things_stacks_downlink_key_is_never_kept(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a36
    live = "NNSXS.LIVE-KEY"
    headers = {
        "x-webhook-secret": SECRET,
        "X-Tts-Domain": "eu1.cloud.thethings.network",
        "X-Downlink-Apikey": live,
        "X-Downlink-Push": "https://eu1.cloud.thethings.network/api/v3/as/applications/a/webhooks/w/down/push",
        "X-Downlink-Replace": "https://eu1.cloud.thethings.network/api/v3/as/applications/a/webhooks/w/down/replace",
    }
    assert await post(client, BODIES["ttn"], "ttn", headers=headers) == 200
    ((_, _, _, stored),) = fleet.producer.records
    kept = {name: value.decode() for name, value in stored}
    assert kept["header.x-tts-domain"] == "eu1.cloud.thethings.network"
    assert live not in repr(stored)
    assert "x-downlink-apikey" not in repr(stored).lower()


@pytest.mark.parametrize("source", SOURCES)
async def test_a_secret_that_was_never_made_is_said_and_a_wrong_one_is_not(source: str) -> None:
    # AC-b08
    house = Fleet()
    house.add(Tenant(id="new", name="New"))
    async with house.client() as client:
        said = [await answer_of(client, source, tenant) for tenant in ("new", "no-such-tenant")]
        assert [each.status_code for each in said] == [401, 401]
        assert said[0].content == said[1].content  # nobody learns which tenants there are
        assert said[0].headers["content-type"] == "application/problem+json"
        assert "no webhook secret yet" in orjson.loads(said[0].content)["detail"]
        assert "fleetline tenant secret" in orjson.loads(said[0].content)["detail"]
        for tenant in (TENANT, ""):
            wrong = await answer_of(client, source, tenant)
            assert (wrong.status_code, wrong.content) == (401, b"")
        house.add(Credential(id=integration_id("new"), tenant_id="new", source=INTEGRATION, digest=digest("made")))
        wrong = await answer_of(client, source, "new")
        assert (wrong.status_code, wrong.content) == (401, b"")
        made = await answer_of(client, source, "new", "made")
        assert made.status_code == 200
    assert len(house.producer.records) == 1


async def test_with_a_secret_of_the_operators_no_tenant_needs_one() -> None:
    # AC-b08, AC-a24
    house = Fleet(integration_webhook_secret=SecretStr("ops"))
    async with house.client() as client:
        wrong = await answer_of(client, "ttn", "no-such-tenant")
    assert (wrong.status_code, wrong.content) == (401, b"")


async def answer_of(client: httpx.AsyncClient, source: str, tenant: str, secret: str = "wrong") -> httpx.Response:
    query = f"?tenantId={tenant}" if tenant else ""
    return await client.post(f"/in/{source}{query}", content=b"{}", headers={"x-webhook-secret": secret})
