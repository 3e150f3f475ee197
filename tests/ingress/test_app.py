"""The front door through its real ASGI application: statuses, what is stored, and what never is."""

import gzip
import logging
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import orjson
import pytest
from pydantic import SecretStr

from fleetline.settings import Settings
from ingress.app import build_app
from ingress.producer import MemoryProducer
from registry.model import INTEGRATION, Credential, Entry, Tenant, integration_id
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from sources.catalog import load_source, load_sources
from sources.routes import routes
from sources.samples import Sample, all_samples

SAMPLES = [pytest.param(source, sample, id=f"{source}-{name}") for source, name, sample in all_samples()]
TENANT, OTHER = "tenant-a", "tenant-b"
MESSAGE = b'[{"ident": "1", "timestamp": 1700000000}]'


def latin_1(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Encode header values as they go over the wire; httpx itself takes ASCII only."""
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


class Door:
    """An ingress with a filled registry, and what it stored."""

    def __init__(self, settings: Settings) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        self.credential_ids: dict[str, str] = {}
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
            id=integration_id(tenant) if source == INTEGRATION else f"c-{len(self.credential_ids)}",
            tenant_id=tenant,
            source=source,
            digest=digest(secret),
            device_id=device,
        )
        self.add(made)
        self.credential_ids[secret] = made.id
        return secret

    async def send(self, sample: Sample, secret: str, tenant: str = TENANT) -> httpx.Response:
        """Send a sample with `secret` wherever its sender puts the credential."""
        path, query, headers = sample.filled(secret, tenant)
        url = f"{path}?{query}" if query else path
        return await self.http.request(
            sample.request.method, url, content=sample.request.body_bytes(), headers=latin_1(headers)
        )

    async def flespi(self, body: bytes = MESSAGE, *, path: str = "/in/flespi", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.credential('flespi')}", **headers}
        return await self.http.post(
            path, content=body, headers=latin_1({k.replace("_", "-"): v for k, v in sent.items()})
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door(
        Settings().model_copy(update={"max_body_bytes": 100_000, "path_map": {"/": "autopi", "/my/hook": "flespi"}})
    )
    yield made
    await made.http.aclose()


def headers_of(record: tuple[str, bytes, bytes, list[tuple[str, bytes]]]) -> dict[str, str]:
    return {name: value.decode() for name, value in record[3]}


def opens(name: str, device: str) -> str:
    return INTEGRATION if load_source(name).tenant_secret and not device else name


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
async def test_every_sample_gets_its_status_and_is_stored_as_sent(name: str, sample: Sample, door: Door) -> None:
    device = sample.credential.get("device", "")
    secret = door.credential(opens(name, device), device)
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
        assert record[1].decode() == (sample.key or device or door.credential_ids[secret])
        assert record[2] == body
        kept = headers_of(record)
        assert (kept["tenant"], kept.get("device", "")) == (TENANT, device)
        assert kept["credential"] == door.credential_ids[secret]


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
async def test_no_secret_of_any_sample_is_stored_or_logged(
    name: str, sample: Sample, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    device = sample.credential.get("device", "")
    secret = door.credential(opens(name, device), device)
    live = "NNSXS.LIVE-DOWNLINK-KEY"
    headers = {**sample.request.headers, "X-Downlink-Apikey": live, "Cookie": f"session={live}"}
    sent = msgspec.structs.replace(sample, request=msgspec.structs.replace(sample.request, headers=headers))
    with caplog.at_level(logging.DEBUG):
        answer = await door.send(sent, secret)
    assert answer.status_code == sample.status
    assert len(door.producer.records) == (1 if sample.status == 200 else 0)
    stored = repr(door.producer.records)
    logged = "".join(caplog.handler.format(each) for each in caplog.records if not each.name.startswith("http"))
    for hidden in (secret, digest(secret), live, "NNSXS.SECRET"):
        assert hidden not in stored  # AC-c07, AC-a36
        assert hidden not in logged
        assert hidden not in answer.text


async def test_what_is_stored_of_a_secret_in_the_url_is_its_name(door: Door) -> None:  # AC-c07
    token = door.credential("device", "device-1")
    await door.http.post(f"/api/v1/{token}/telemetry", content=b'{"telemetry": {"n": 1}}')
    digital_matter, traccar = door.credential("digital_matter"), door.credential("traccar")
    await door.http.post(f"/in/digital-matter/7?token={digital_matter}&a=b", content=b"{}")
    await door.http.get(f"/in/traccar?id=1&token={traccar}&lat=1&lon=2")
    paths = [headers_of(record)["path"] for record in door.producer.records]
    assert paths == ["/api/v1/{deviceToken}/telemetry", "/in/digital-matter/{serial}", "/in/traccar"]
    queries = [headers_of(record).get("query") for record in door.producer.records]
    assert queries == [None, "token=redacted&a=b", "id=1&token=redacted&lat=1&lon=2"]
    for secret in (token, digital_matter, traccar):
        assert secret not in repr(door.producer.records)


@pytest.mark.parametrize(("name", "sample"), SAMPLES)
async def test_a_wrong_secret_where_the_right_one_stands_stores_nothing(name: str, sample: Sample, door: Door) -> None:
    door.credential(opens(name, ""))
    others = [door.credential(other) for other in load_sources() if other != name]
    foreign = [] if load_source(name).tenant_secret else [door.credential(INTEGRATION)]
    for secret in ("", "wrong", "w\xf6rng", *others, *foreign):
        if not secret and "deviceToken" in "".join(load_source(name).paths) and "/api/v1/$" in sample.request.path:
            continue  # without its token the path is another one
        answer = await door.send(sample, secret)
        assert (answer.status_code, answer.content) == (401, b"")  # AP-a11
    assert not door.producer.records


@pytest.mark.parametrize("name", list(load_sources()))
async def test_a_wrong_or_missing_credential_stores_nothing(name: str, door: Door) -> None:
    source = load_source(name)
    for template in routes(source):
        path = template.replace("{deviceToken}", "wrong").replace("{serial}", "1").replace("{device}", "1")
        for authorization in (None, "", "Bearer wrong", "Bearer", "Basic !!!", "Basic /w==", "Bearer \xff\xfe"):
            headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
            for method in source.methods:
                answer = await door.http.request(method, path, content=b"[]", headers=headers)
                assert (answer.status_code, answer.content) == (401, b"")  # AP-a11
    assert not door.producer.records


@pytest.mark.parametrize("name", [name for name, source in load_sources().items() if source.tenant_secret])
async def test_a_secret_opens_its_own_tenant_only(name: str, door: Door) -> None:
    url = f"/api/v1/integrations/{name}/telemetry"
    body = b'{"externalDeviceId": "1", "temperature": 1}'
    for secret in (door.credential(INTEGRATION), door.credential(name)):
        for tenant, status in ((TENANT, 200), (OTHER, 401), ("nobody", 401), ("", 401)):  # AC-a23
            answer = await door.http.post(
                f"{url}?tenantId={tenant}", content=body, headers={"x-webhook-secret": secret}
            )
            assert answer.status_code == status
    assert [headers_of(record)["tenant"] for record in door.producer.records] == [TENANT, TENANT]


@pytest.mark.parametrize(
    ("configured", "shown", "status"), [("ops", "ops", 200), ("", "", 401), ("ops", "", 401), ("", "ops", 401)]
)
async def test_the_operators_secret_opens_only_when_it_is_set(
    configured: str, shown: str, status: int
) -> None:  # AC-a24
    door = Door(Settings().model_copy(update={"integration_webhook_secret": SecretStr(configured)}))
    url = "/api/v1/integrations/ttn/telemetry"
    shown_as = {"x-webhook-secret": shown, "authorization": f"Bearer {shown}"}
    for header, value in shown_as.items():
        answer = await door.http.post(f"{url}?tenantId={OTHER}", content=b"{}", headers={header: value})
        assert answer.status_code == status
    assert [headers_of(record)["tenant"] for record in door.producer.records] == ([OTHER] * 2 if status == 200 else [])
    unnamed = ("", "?tenantId=", "?tenantId=nobody")
    for query in unnamed:  # it is nobody's in particular: without a tenant it opens nothing
        assert (await door.http.post(url + query, content=b"{}", headers=shown_as)).status_code == 401
    assert (await door.http.post("/in/flespi", content=b"[]", headers=shown_as)).status_code == 401
    await door.http.aclose()


async def test_too_large_is_413_however_it_comes(door: Door) -> None:
    assert (await door.flespi(b"x" * 100_000)).status_code == 200
    door.producer.records.clear()
    assert (await door.flespi(b"x" * 100_001)).status_code == 413
    assert (await door.flespi(b"[]", content_length="100001")).status_code == 413  # before a byte is read
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
    body = bytearray(gzip.compress(MESSAGE, mtime=0))
    body[-6] ^= 0xFF
    assert (await door.flespi(bytes(body))).status_code == 400
    assert not door.producer.records


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (MESSAGE, "gzip"),
        (gzip.compress(MESSAGE, mtime=0), ""),
        (gzip.compress(MESSAGE, mtime=0), "gzip"),
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
    assert (await door.flespi(b"\x99abc", content_encoding="gz\xefp")).status_code == 415
    assert not door.producer.records


async def test_without_a_broker_it_is_503_with_retry_after(door: Door) -> None:
    door.producer.is_available = False
    answer = await door.flespi()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert not door.producer.records
    assert (await door.http.get("/readyz")).status_code == 503
    door.producer.is_available = True
    assert (await door.flespi()).status_code == 200
    assert len(door.producer.records) == 1


async def test_methods_and_paths(door: Door) -> None:
    for source in load_sources().values():
        for path in routes(source):
            for method in {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "POST"} - set(source.methods):
                answer = await door.http.request(method, path.replace("{", "").replace("}", ""))
                assert (answer.status_code, answer.headers["allow"]) == (405, ", ".join(source.methods))  # FL-a23
    for path in ("/in/nobody", "/in/nobody/", "/in", "/api/v1/telemetry", "/in/flespi/1/2", "//in/flespi", "/healthz/"):
        for method in ("POST", "GET"):
            assert (await door.http.request(method, path)).status_code == 404  # AP-a22: a redirect loses data
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
    assert (await door.flespi(path="/my/hook/")).status_code == 200  # AP-a22
    assert (await door.flespi(path="/")).status_code == 401  # the root is AutoPi's
    assert [record[0] for record in door.producer.records] == [
        "fleetline.raw.autopi", "fleetline.raw.flespi", "fleetline.raw.flespi",
    ]  # fmt: skip


async def test_a_batch_of_100_is_taken_and_101_are_refused_whole(door: Door) -> None:  # AC-a04
    secret = door.credential("device", "device-1")
    for count, status in ((100, 200), (101, 413)):
        body = orjson.dumps({"items": [{"telemetry": {"n": n}} for n in range(count)]})
        answer = await door.http.post(f"/api/v1/{secret}/telemetry/batch", content=body)
        assert answer.status_code == status
    assert len(door.producer.records) == 1


@pytest.mark.parametrize("body", [b"{", b"", b"nothing", b'{"telemetry": ', b"\xff\xfe", b"7"])
async def test_a_device_is_told_that_its_body_is_broken(body: bytes, door: Door) -> None:  # AC-c01
    secret = door.credential("device", "device-1")
    for path in (f"/api/v1/{secret}/telemetry", f"/api/v1/{secret}/telemetry/batch"):
        assert (await door.http.post(path, content=body)).status_code == 400
    assert not door.producer.records


async def test_requests_are_counted(door: Door) -> None:
    await door.flespi()
    await door.http.post("/in/flespi")
    text = (await door.http.get("/metrics")).text
    assert 'fleetline_ingress_requests_total{source="flespi",status="200"} 1.0' in text
    assert 'fleetline_ingress_requests_total{source="flespi",status="401"} 1.0' in text
    assert 'fleetline_ingress_acknowledgement_seconds_count{source="flespi"} 1.0' in text


async def test_a_good_credential_is_not_called_wrong_while_the_registry_is_being_read() -> None:
    door = Door(Settings())
    door.caught_up = False
    answer = await door.http.post("/in/flespi", content=MESSAGE, headers={"Authorization": "Bearer of tomorrow"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    secret = door.credential("flespi")
    answer = await door.http.post("/in/flespi", content=MESSAGE, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200  # what is known already is known
