"""The front door through its real ASGI application: statuses, what is stored, and what never is."""

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import orjson
import pytest
from pydantic import SecretStr

from fleetline.settings import Settings
from ingress.app import build_app, templates
from ingress.producer import MemoryProducer
from registry.model import INTEGRATION, Credential, Entry, Tenant
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from sources.catalog import load_source, load_sources
from sources.samples import Sample, all_samples

SAMPLES = [pytest.param(source, sample, id=f"{source}-{name}") for source, name, sample in all_samples()]
TENANT, OTHER = "tenant-a", "tenant-b"
MESSAGE = b'[{"ident": "1", "timestamp": 1700000000}]'


class Door:
    """An ingress with a filled registry, and what it stored."""

    def __init__(self, settings: Settings) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        self.add(Tenant(id=TENANT, name="A"))
        self.add(Tenant(id=OTHER, name="B"))
        app: Any = build_app(settings, load_sources(), self, self.producer)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=True),
            base_url="http://ingress",
            follow_redirects=False,
        )

    def add(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def credential(self, source: str, device: str = "", tenant: str = TENANT) -> str:
        secret = new_secret()
        made = Credential(
            id=f"c-{secret[:6]}", tenant_id=tenant, source=source, digest=digest(secret), device_id=device
        )
        self.add(made)
        return secret

    async def flespi(self, body: bytes = MESSAGE, *, path: str = "/in/flespi", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.credential('flespi')}", **headers}
        return await self.http.post(path, content=body, headers={k.replace("_", "-"): v for k, v in sent.items()})


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door(
        Settings().model_copy(update={"max_body_bytes": 100_000, "path_map": {"/": "autopi", "/my/hook": "flespi"}})
    )
    yield made
    await made.http.aclose()


def headers_of(record: tuple[str, bytes, bytes, list[tuple[str, bytes]]]) -> dict[str, str]:
    return {name: value.decode() for name, value in record[3]}


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
async def test_every_sample_gets_its_status_and_is_stored_as_sent(name: str, sample: Sample, door: Door) -> None:
    device = sample.credential.get("device", "")
    opens = INTEGRATION if load_source(name).tenant_secret and not device else name
    secret = door.credential(opens, device)
    path, query, headers = sample.filled(secret, TENANT)
    for variant in (path.rstrip("/"), f"{path.rstrip('/')}/"):  # AP-a22: both, and never a redirect
        door.producer.records.clear()
        url = f"{variant}?{query}" if query else variant
        body = sample.request.body_bytes()
        answer = await door.http.request(sample.request.method, url, content=body, headers=headers)
        assert answer.status_code == sample.status
        if sample.status != 200:
            assert not door.producer.records
            continue
        assert answer.content == b""
        (record,) = door.producer.records
        assert record[0] == f"fleetline.raw.{name}"
        assert record[1].decode() == sample.key or device or record[1].startswith(b"c-")
        assert record[2] == body
        kept = headers_of(record)
        assert (kept["tenant"], kept.get("device", "")) == (TENANT, device)
        for value in kept.values():
            assert secret not in value  # AC-c07
            assert "NNSXS" not in value  # AC-a36


@pytest.mark.parametrize("name", list(load_sources()))
async def test_a_wrong_or_missing_credential_stores_nothing(name: str, door: Door) -> None:
    source = load_source(name)
    another = door.credential("ttn" if name == "flespi" else "flespi")
    for template in templates(source):
        path = template.replace("{deviceToken}", "wrong").replace("{serial}", "1").replace("{device}", "1")
        for authorization in ("", "Bearer wrong", f"Bearer {another}", "Bearer", "Basic !!!", "Bearer \xff\xfe"):
            answer = await door.http.request(
                source.methods[0], path, content=b"[]", headers=[(b"authorization", authorization.encode("latin-1"))]
            )
            assert (answer.status_code, answer.content) == (401, b"")  # AP-a11
    assert not door.producer.records


async def test_a_secret_opens_its_own_tenant_only(door: Door) -> None:
    secret = door.credential(INTEGRATION)
    url = "/api/v1/integrations/generic/telemetry"
    body = b'{"externalDeviceId": "1", "temperature": 1}'
    for tenant, status in ((TENANT, 200), (OTHER, 401)):  # AC-a23
        answer = await door.http.post(f"{url}?tenantId={tenant}", content=body, headers={"x-webhook-secret": secret})
        assert answer.status_code == status
    assert len(door.producer.records) == 1


@pytest.mark.parametrize(
    ("configured", "shown", "status"), [("ops", "ops", 200), ("", "", 401), ("ops", "", 401), ("", "ops", 401)]
)
async def test_the_operators_secret_opens_only_when_it_is_set(
    configured: str, shown: str, status: int
) -> None:  # AC-a24
    door = Door(Settings().model_copy(update={"integration_webhook_secret": SecretStr(configured)}))
    url = f"/api/v1/integrations/ttn/telemetry?tenantId={TENANT}"
    answer = await door.http.post(url, content=b"{}", headers={"x-webhook-secret": shown})
    assert answer.status_code == status
    await door.http.aclose()


async def test_too_large_is_413_however_it_comes(door: Door) -> None:
    assert (await door.flespi(b"x" * 100_001)).status_code == 413
    bomb = gzip.compress(b"0" * 10_000_000)
    assert (await door.flespi(bomb, content_encoding="gzip")).status_code == 413  # AP-a18

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 1_000

    headers = {"authorization": f"Bearer {door.credential('flespi')}"}
    assert (await door.http.post("/in/flespi", content=chunks(), headers=headers)).status_code == 413
    assert not door.producer.records


@pytest.mark.parametrize("damage", [slice(0, -4), slice(0, 20), slice(2, None)])
async def test_a_broken_stream_is_400(damage: slice, door: Door) -> None:
    broken = gzip.compress(MESSAGE * 50)[damage]
    assert (await door.flespi(broken, content_encoding="gzip")).status_code == 400
    assert not door.producer.records


async def test_a_wrong_checksum_is_400(door: Door) -> None:
    body = bytearray(gzip.compress(MESSAGE))
    body[-6] ^= 0xFF
    assert (await door.flespi(bytes(body))).status_code == 400
    assert not door.producer.records


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (MESSAGE, "gzip"),
        (gzip.compress(MESSAGE), ""),
        (gzip.compress(MESSAGE), "gzip"),
        (zlib.compress(MESSAGE), "deflate"),
        (MESSAGE, "identity"),
    ],
)
async def test_the_bytes_decide_not_the_header(body: bytes, encoding: str, door: Door) -> None:  # AP-a19
    headers = {"content_encoding": encoding} if encoding else {}
    assert (await door.flespi(body, **headers)).status_code == 200
    assert door.producer.records[0][2] == MESSAGE


async def test_an_unknown_encoding_is_415(door: Door) -> None:  # AP-c06
    assert (await door.flespi(b"\x99abc", content_encoding="br")).status_code == 415


async def test_without_a_broker_it_is_503_with_retry_after(door: Door) -> None:
    door.producer.is_available = False
    answer = await door.flespi()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await door.http.get("/readyz")).status_code == 503
    door.producer.is_available = True
    assert (await door.flespi()).status_code == 200
    assert len(door.producer.records) == 1


async def test_methods_and_paths(door: Door) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = await door.http.request(method, "/in/flespi")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")  # FL-a23
    assert (await door.http.post("/in/nobody")).status_code == 404
    assert (await door.http.get("/healthz")).status_code == 200
    assert (await door.http.get("/readyz")).status_code == 200
    door.caught_up = False
    assert (await door.http.get("/readyz")).status_code == 503


async def test_any_path_can_be_a_source(door: Door) -> None:  # AP-a01
    secret = door.credential("autopi", "device-1")
    body = b'[{"@t": "obd.bat", "@ts": "2026-01-01T00:00:00Z", "voltage": 12}]'
    answer = await door.http.post("/", content=body, headers={"authorization": f"token {secret}"})
    assert answer.status_code == 200
    assert (await door.flespi(path="/my/hook")).status_code == 200
    assert [record[0] for record in door.producer.records] == ["fleetline.raw.autopi", "fleetline.raw.flespi"]


async def test_a_batch_of_100_is_taken_and_101_are_refused_whole(door: Door) -> None:  # AC-a04
    secret = door.credential("device", "device-1")
    for count, status in ((100, 200), (101, 413)):
        body = orjson.dumps({"items": [{"telemetry": {"n": n}} for n in range(count)]})
        answer = await door.http.post(f"/api/v1/{secret}/telemetry/batch", content=body)
        assert answer.status_code == status
    assert len(door.producer.records) == 1


async def test_requests_are_counted(door: Door) -> None:
    await door.flespi()
    await door.http.post("/in/flespi")
    text = (await door.http.get("/metrics")).text
    assert 'fleetline_ingress_requests_total{source="flespi",status="200"} 1.0' in text
    assert 'fleetline_ingress_requests_total{source="flespi",status="401"} 1.0' in text
    assert 'fleetline_ingress_acknowledgement_seconds_count{source="flespi"} 1.0' in text
