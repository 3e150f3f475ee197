"""Digital Matter at the door: its credentials wherever a connector can put them, exactly 200, and a fleet from one address."""

import asyncio
import base64
import datetime as dt
import logging
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import orjson
import pytest

from fleetline.settings import Settings
from ingress.app import build_app
from ingress.connection import Connection
from ingress.producer import MemoryProducer
from processors.limits import DefectLimits
from processors.normalize import Normalizer
from registry.model import Credential, Device, Entry, Tenant
from registry.secrets import digest
from registry.view import RegistryView, entry_key
from schemas.records import telemetry_reader
from schemas.topics import Topics
from sources.catalog import load_source, load_sources
from tests.sources.digital_matter_bodies import body, record

TENANT = "tenant-a"
CONNECTOR, KEY = "c0nnector-of-the-tests", "k3y-of-one-device"
BODY = orjson.dumps(body(record(), record(SeqNo=126)))
PATH = "/in/digital-matter"
PATHS = {"/devices/positions": "digital_matter", "/": "digital_matter", "/fleet/{serial}": "digital_matter"}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Everyone:
    """A registry with a connector's credential, a device and the device's own key."""

    def __init__(self) -> None:
        self.view = RegistryView()
        self.caught_up = True
        entries: Iterable[Entry] = (
            Tenant(id=TENANT, name="A"),
            Device(id="device-1", tenant_id=TENANT, name="Loader 7", attributes={"serial": "131693"}),
            Credential(id="connector", tenant_id=TENANT, source="digital_matter", digest=digest(CONNECTOR)),
            Credential(id="own", tenant_id=TENANT, source="digital_matter", digest=digest(KEY), device_id="device-1"),
        )
        for entry in entries:
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))


class Output:
    """What the normalizer produced."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []

    def produce(self, topic: str, _: bytes, value: bytes, __: Any = None) -> None:
        self.records.append((topic, value))


class Raw:
    """A stored record as the normalizer reads it."""

    def __init__(self, stored: tuple[str, bytes, bytes, list[tuple[str, bytes]]]) -> None:
        self.topic, self.key, self.value, self.headers = stored
        self.partition, self.offset = 0, 0


def application(producer: MemoryProducer, **settings: Any) -> Any:
    return build_app(Settings().model_copy(update=settings), load_sources(), Everyone(), producer)


@pytest.fixture
async def producer() -> MemoryProducer:
    return MemoryProducer()


@pytest.fixture
async def http(producer: MemoryProducer) -> AsyncIterator[httpx.AsyncClient]:
    app = application(producer, path_map=PATHS)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress", follow_redirects=False) as client:
        yield client


def stored_headers(producer: MemoryProducer) -> dict[str, str]:
    (stored,) = producer.records
    return {name: value.decode() for name, value in stored[3]}


CONNECTORS: list[tuple[str, dict[str, str]]] = [
    (PATH, {"Authorization": basic("oem", CONNECTOR)}),
    (f"{PATH}/", {"Authorization": basic("", CONNECTOR)}),
    (f"{PATH}/131693", {"Authorization": f"Bearer {CONNECTOR}"}),
    ("/in/digital_matter/131693", {"Authorization": f"token {CONNECTOR}"}),
    (PATH, {"Authorization": CONNECTOR}),
    (PATH, {"X-Api-Key": CONNECTOR}),
    (PATH, {"X-DM-Secret": CONNECTOR}),
]
DEVICES: list[tuple[str, dict[str, str]]] = [
    (PATH, {"X-Device-Key": KEY}),
    (PATH, {"Authorization": basic("131693", KEY)}),
    (f"{PATH}/131693?token={KEY}", {}),
    (f"{PATH}?key={KEY}&serial=131693", {}),
    (f"{PATH}/131693/{KEY}", {}),
    (f"{PATH}/131693/{KEY}/", {}),
    (f"/in/digital_matter/131693/{KEY}", {}),
    (f"{PATH}//{KEY}", {}),
    (PATH, {"Authorization": basic("oem", CONNECTOR), "X-Device-Key": KEY}),
    (f"{PATH}/131693/{KEY}", {"Authorization": f"Bearer {CONNECTOR}"}),
]


@pytest.mark.parametrize(("url", "headers"), CONNECTORS)
async def test_the_connectors_credential_opens_the_door(
    url: str, headers: dict[str, str], http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a02, DM-a07
    answer = await http.post(url, content=BODY, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    kept = stored_headers(producer)
    assert (kept["credential"], kept.get("device")) == ("connector", None)
    assert producer.records[0][1:3] == (b"131693", BODY)


@pytest.mark.parametrize(("url", "headers"), DEVICES)
async def test_a_devices_own_key_opens_it_for_that_device_and_is_never_stored(
    url: str,
    headers: dict[str, str],
    http: httpx.AsyncClient,
    producer: MemoryProducer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # DM-a08
    with caplog.at_level(logging.DEBUG):
        answer = await http.post(url, content=BODY, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    kept = stored_headers(producer)
    assert (kept["credential"], kept["device"]) == ("own", "device-1")
    logged = "".join(caplog.handler.format(each) for each in caplog.records if not each.name.startswith("http"))
    for secret in (KEY, CONNECTOR):
        assert secret not in repr(producer.records)
        assert secret not in logged


@pytest.mark.parametrize(
    "url", [PATH, f"{PATH}/", f"{PATH}/131693", f"{PATH}/131693/wrong", f"{PATH}?token=wrong", f"{PATH}//x"]
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": basic("oem", "wrong")}, {"X-Device-Key": ""}])
async def test_without_a_credential_it_is_401_at_once_with_nothing_to_answer_to(
    url: str, headers: dict[str, str], http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a09
    answer = await http.post(url, content=BODY, headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")
    assert "www-authenticate" not in answer.headers
    assert "location" not in answer.headers
    assert not producer.records


@pytest.mark.parametrize("url", ["/devices/positions", "/devices/positions/", "/", "http://ingress", PATH])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
async def test_any_url_can_be_posted_to(
    url: str, content_type: str, http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a01
    headers = {"Authorization": basic("oem", CONNECTOR)} | ({"Content-Type": content_type} if content_type else {})
    assert (await http.post(url, content=BODY, headers=headers)).status_code == 200
    assert producer.records[0][0] == "fleetline.raw.digital_matter"


async def test_a_url_of_any_shape_can_hold_the_serial(http: httpx.AsyncClient, producer: MemoryProducer) -> None:
    # DM-a04, DM-a06
    nameless = orjson.dumps({"Records": [record()]})
    for url in ("/fleet/131693", "/fleet/131693/", f"{PATH}/131693", f"{PATH}?serial=131693"):
        producer.records.clear()
        assert (await http.post(url, content=nameless, headers={"X-Api-Key": CONNECTOR})).status_code == 200
        ((topic, value),) = normalized(producer)
        assert (topic, telemetry_reader()(value)["device_id"]) == ("fleetline.telemetry", "device-1")


async def test_three_headers_of_any_name_are_let_in_and_the_known_ones_kept(
    http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a05, DM-a06, DM-a21
    headers = {"X-Api-Key": CONNECTOR, "X-Custom1": "PLANT-7", "Whatever-They-Like": "Ünïcode \x80", "X-Serial": ""}
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert (await http.post(f"{PATH}?rego=ABC+123&custom2=", content=BODY, headers=sent)).status_code == 200
    kept = stored_headers(producer)
    assert kept["header.x-custom1"] == "PLANT-7"
    assert "header.x-serial" not in kept
    first, _ = (telemetry_reader()(value) for _, value in normalized(producer))
    assert first["texts"]["digital_matter.custom1"] == "PLANT-7"
    assert first["texts"]["digital_matter.query.rego"] == "ABC 123"


def normalized(producer: MemoryProducer) -> list[tuple[str, bytes]]:
    """Run the real normalizer over what the door stored."""
    output: Any = Output()
    source = load_source("digital_matter")
    Normalizer(source, Topics("fleetline."), Everyone().view, output, DefectLimits()).take(map(Raw, producer.records))
    return list(output.records)


async def test_an_unknown_serial_is_stored_and_waits_for_its_device(
    http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a19, DM-a02
    unknown = orjson.dumps(body(record(), SerNo=999_999, IMEI=""))
    answer = await http.post(f"{PATH}/999999", content=unknown, headers={"X-Api-Key": CONNECTOR})
    assert answer.status_code == 200
    ((topic, value),) = normalized(producer)
    assert topic == "fleetline.unmapped"
    assert telemetry_reader()(value)["source_device"] == "999999"


async def test_on_a_mismatch_the_authenticated_device_wins_and_the_record_is_flagged(
    http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a18
    other = orjson.dumps(body(record(), SerNo=999_999))
    assert (await http.post(f"{PATH}/131693/{KEY}", content=other)).status_code == 200
    ((topic, value),) = normalized(producer)
    made = telemetry_reader()(value)
    assert (topic, made["device_id"], made["source_device"]) == ("fleetline.telemetry", "device-1", "999999")
    assert made["booleans"]["identity.mismatch"] is True


async def test_one_bad_record_or_a_broken_body_is_200_and_quarantined(
    http: httpx.AsyncClient, producer: MemoryProducer
) -> None:
    # DM-a17
    for content in (orjson.dumps(body(record(), 17)), b'{"SerNo": 131693, "Records": [{', b"\xff\xfe\x00"):
        assert (await http.post(PATH, content=content, headers={"X-Api-Key": CONNECTOR})).status_code == 200
    assert len(producer.records) == 3
    assert [topic for topic, _ in normalized(producer)] == ["fleetline.telemetry", *["fleetline.quarantine"] * 3]


@asynccontextmanager
async def served(producer: MemoryProducer, **tls: Any) -> AsyncIterator[int]:
    """Serve on a loopback port with the ingress's own HTTP protocol; yields the port."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            application(producer), host="127.0.0.1", port=0, http=Connection, ws="none", access_log=False,
            log_config=None, log_level="warning", **tls,
        )
    )  # fmt: skip
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


class Meeting(MemoryProducer):
    """Acknowledges nothing until `count` records wait for it at the same time."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(count)

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Wait for all the others, then keep the record."""
        await self.barrier.wait()
        await super().append(topic, key, value, headers)


async def answered(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"content-length: 0" in head.lower()
    return head


def request_bytes() -> bytes:
    lines = (
        f"POST {PATH}/131693 HTTP/1.1",
        "host: x",
        f"x-api-key: {CONNECTOR}",
        f"content-length: {len(BODY)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + BODY


@pytest.mark.stack
async def test_a_whole_fleet_comes_over_a_hundred_connections_from_one_address() -> None:
    # DM-a20
    connections, rounds = 100, 3
    producer = Meeting(connections)
    async with served(producer) as port, asyncio.timeout(60):
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
        for _ in range(rounds):  # keep-alive: the same connections again
            for _, writer in streams:
                writer.write(request_bytes())
            heads = await asyncio.gather(*(answered(reader) for reader, _ in streams))
            assert {head.split(b"\r\n")[0] for head in heads} == {b"HTTP/1.1 200 OK"}
            assert not [head for head in heads if b"connection: close" in head.lower()]
        for _, writer in streams:
            writer.close()
    assert len(producer.records) == connections * rounds


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret


@pytest.mark.stack
async def test_the_same_door_over_https(tmp_path: Path) -> None:
    # DM-a01, DM-a10
    chain, secret = certificate(tmp_path)
    producer = MemoryProducer()
    trusted = ssl.create_default_context(cafile=str(chain))
    async with served(producer, ssl_certfile=str(chain), ssl_keyfile=str(secret)) as port:
        async with httpx.AsyncClient(verify=trusted) as client:
            url, headers = f"https://127.0.0.1:{port}{PATH}/131693", {"Authorization": basic("oem", CONNECTOR)}
            assert (await client.post(url, content=BODY, headers=headers)).status_code == 200
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.TransportError):
                await client.post(f"http://127.0.0.1:{port}{PATH}", content=BODY, headers=headers)
    assert [stored[2] for stored in producer.records] == [BODY]
