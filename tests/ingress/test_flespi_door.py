"""flespi at the door: exactly 200, any header, any path, large and odd bodies, and TLS with a certificate of a private CA."""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.store import RegistryStore
from tests.ingress.loopback import Ingress, serving
from tests.support import child, read_all, running, until

MESSAGE = {"ident": "352625333222111", "timestamp": 1650636570.426424, "server.timestamp": 1650636570.5, "din": 1}
BODY = orjson.dumps([MESSAGE, MESSAGE | {"timestamp": 1650636571}])


@pytest.fixture
def ingress() -> Ingress:
    return Ingress(path_map={"/path-on-server": "flespi", "/": "flespi"})


@pytest.fixture
async def client(ingress: Ingress) -> AsyncIterator[httpx.AsyncClient]:
    async with ingress.client() as made:
        yield made


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.stack
def test_a_stream_posts_to_any_port_and_path(ingress: Ingress) -> None:
    # FL-a01, FL-a02, FL-a03
    sent = bearer(ingress.credential("flespi"))
    with serving(ingress) as address:
        for path in (
            "/path-on-server",
            "/path-on-server/",
            "/in/flespi",
            "/in/flespi/",
            "/",
            "/in/flespi?ident_prefix=x",
        ):
            ingress.producer.records.clear()
            request = urllib.request.Request(address + path, data=BODY, headers=sent)
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert (answer.status, answer.read(), answer.url) == (200, b"", address + path)
            assert [body for _, _, body, _ in ingress.producer.records] == [BODY]


@pytest.mark.parametrize(
    ("sent", "query"),
    [
        ({"authorization": "Bearer $"}, ""),
        ({"authorization": "FlespiToken $"}, ""),
        ({"authorization": "$"}, ""),
        ({"authorization": "Basic " + base64.b64encode(b"flespi:$").decode()}, ""),
        ({"x-flespi-token": "$"}, ""),
        ({"x-my-header": "$"}, "?auth_header=X-My-Header"),
        ({"authorization": "Bearer other", "x-key": "$"}, "?auth_header=x-key"),
    ],
)
async def test_any_custom_header_may_hold_the_secret(
    sent: dict[str, str], query: str, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # FL-a11
    secret = ingress.credential("flespi")

    def filled(value: str) -> dict[str, str]:
        basic = base64.b64encode(b"flespi:$").decode()
        with_value = base64.b64encode(f"flespi:{value}".encode()).decode()
        return {name: text.replace(basic, with_value).replace("$", value) for name, text in sent.items()}

    answer = await client.post(f"/in/flespi{query}", content=BODY, headers=filled(secret))
    assert (answer.status_code, len(ingress.producer.records)) == (200, 1)
    for wrong in ("wrong", secret[:-1], f"{secret} x"):
        refused = await client.post(f"/in/flespi{query}", content=BODY, headers=filled(wrong))
        assert (refused.status_code, refused.content) == (401, b"")
    assert len(ingress.producer.records) == 1
    assert secret not in repr(ingress.producer.records)


async def test_a_header_that_the_url_does_not_name_opens_nothing(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # FL-a11
    secret = ingress.credential("flespi")
    for query in ("", "?auth_header=", "?auth_header=x-other", "?auth_header=%ff%00"):
        answer = await client.post(f"/in/flespi{query}", content=BODY, headers={"x-my-header": secret})
        assert answer.status_code == 401
    assert not ingress.producer.records


@pytest.mark.parametrize(
    ("body", "records", "reasons"),
    [
        (BODY, 2, []),
        (b"", 0, []),
        (b"[]", 0, []),
        (orjson.dumps(MESSAGE), 1, []),
        (orjson.dumps({"result": [MESSAGE]}), 1, []),
        (b"not json", 0, ["not_json"]),
        (BODY[:-1], 0, ["not_json"]),
        (orjson.dumps([MESSAGE, 7, {"timestamp": 1}, MESSAGE | {"ident": "a/b"}]), 1, ["not_an_object", "no_ident", "bad_ident"]),
        (orjson.dumps([MESSAGE] * 5_000), 5_000, []),
    ],
)  # fmt: skip
async def test_the_answer_is_exactly_200_whatever_the_messages_are(
    body: bytes, records: int, reasons: list[str], ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # FL-a03, FL-a14, FL-a15, FL-a20
    answer = await client.post("/in/flespi", content=body, headers=bearer(ingress.credential("flespi")))
    assert (answer.status_code, answer.content) == (200, b"")
    made, defects = ingress.made("flespi")
    assert (len(made), [each.reason for each in defects]) == (records, reasons)
    assert [each.piece for each in defects if each.index is None] == ([body] if reasons == ["not_json"] else [])


@pytest.mark.parametrize("mebibytes", [3.5, 7.9])
async def test_a_body_of_several_mebibytes_is_stored_whole(
    mebibytes: float, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # FL-a14, FL-a15
    one = orjson.dumps(MESSAGE | {"note": "x" * 1_000}) + b","
    body = b"[" + (one * int(mebibytes * 1024 * 1024 // len(one)))[:-1] + b"]"
    assert (
        await client.post("/in/flespi", content=body, headers=bearer(ingress.credential("flespi")))
    ).status_code == 200
    assert [value for _, _, value, _ in ingress.producer.records] == [body]


async def test_the_settings_in_the_url_travel_with_the_batch(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # FL-a09, FL-a13, FL-a21
    sent = {"data": {"list": [{"vehicle_id": "fl-605630", "position_speed": 55, "timestamp": "2022-04-22T14:09:30"}]}}
    query = "ident_prefix=fl-&notation=snake&messages=data.list&rename=vehicle_id:ident"
    answer = await client.post(
        f"/in/flespi?{query}", content=orjson.dumps(sent), headers=bearer(ingress.credential("flespi"))
    )
    assert answer.status_code == 200
    ((only,), defects) = ingress.made("flespi")
    assert not defects
    assert (only.record["source_device"], only.record["speed_kmh"]) == ("605630", 55)


async def test_a_batch_repeated_after_a_lost_200_has_the_same_ids(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # FL-a22
    sent = bearer(ingress.credential("flespi"))
    for _ in range(3):
        assert (await client.post("/in/flespi", content=BODY, headers=sent)).status_code == 200
    records, _ = ingress.made("flespi")
    assert (len(records), len({each.record["id"] for each in records})) == (6, 2)
    assert len({each.record["received_us"] for each in records}) == 3


async def test_one_stream_keeps_one_key(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # FL-a19
    secrets = [ingress.credential("flespi"), ingress.credential("flespi")]
    for secret in [*secrets, *secrets]:
        await client.post("/in/flespi", content=BODY, headers=bearer(secret))
    keys = [key for _, key, _, _ in ingress.producer.records]
    assert (keys[:2], len(set(keys))) == (keys[2:], 2)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/in/flespi", "/in/flespi/", "/path-on-server", "/"])
async def test_another_method_is_405_and_says_which_is_right(
    method: str, path: str, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # FL-a23
    for sent in ({}, bearer(ingress.credential("flespi"))):
        answer = await client.request(method, path, headers=sent)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert not ingress.producer.records


async def test_without_a_broker_it_is_503_at_once(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # FL-a24
    ingress.producer.is_available = False
    answer = await client.post("/in/flespi", content=BODY, headers=bearer(ingress.credential("flespi")))
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert answer.elapsed < timedelta(seconds=1)


# --- a certificate of a private CA -----------------------------------------------------------------------------------


class PrivateCa:
    """A certification authority nobody knows, and a chain of key, certificate and intermediate for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        root_key, middle_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        root = _certificate("Root", root_key, "Root", root_key, authority=True)
        middle = _certificate("Middle", middle_key, "Root", root_key, authority=True)
        own = _certificate("ingress", own_key, "Middle", middle_key, authority=False)
        self.ca, self.chain, self.key = (folder / name for name in ("ca.pem", "chain.pem", "key.pem"))
        self.ca.write_bytes(_pem(root))
        self.chain.write_bytes(_pem(own) + _pem(middle))
        self.key.write_bytes(
            own_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(subject: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if authority:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(address, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture
def over_tls(topics: Settings, tmp_path: Path) -> Iterator[tuple[Settings, PrivateCa, str]]:
    """The real ingress process with a certificate of a private CA, its settings and a credential of flespi and AutoPi."""
    ca = PrivateCa(tmp_path)
    settings = topics.model_copy(update={"ingress_port": free_port()})
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        secrets = [store.create_credential(tenant, source)[1] for source in ("flespi", "autopi")]
    process = child(settings, "ingress", "-m", "fleetline", "serve", "ingress")
    process._environment.update(
        FLEETLINE_INGRESS_PORT=str(settings.ingress_port),
        FLEETLINE_TLS_CERTIFICATE=str(ca.chain),
        FLEETLINE_TLS_KEY=str(ca.key),
        FLEETLINE_HTTPS_ONLY='["autopi", "flespi"]',
    )
    with running(process):
        until(lambda: _ask(settings, "/readyz", ca) == 200, 40, process.log_tail())
        yield settings, ca, " ".join(secrets)


def _ask(
    settings: Settings,
    path: str,
    ca: PrivateCa | None,
    body: bytes | None = None,
    secret: str = "",
    scheme: str = "https",
) -> int:
    """Return the status; 0 when there was no connection. Without a `ca` the system's are trusted."""
    context = ssl.create_default_context(cafile=str(ca.ca) if ca else None)
    url = f"{scheme}://127.0.0.1:{settings.ingress_port}{path}"
    request = urllib.request.Request(url, data=body, headers=bearer(secret) if secret else {})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.stack
def test_the_real_ingress_speaks_tls_with_a_certificate_of_a_private_ca(
    over_tls: tuple[Settings, PrivateCa, str],
) -> None:
    # FL-a01, FL-a12, AP-a22, AP-a28, DM-a10
    settings, ca, secrets = over_tls
    flespi, autopi = secrets.split()
    item = b'[{"@t": "obd.rpm", "@ts": "2022-04-22T14:09:30", "value": 900}]'
    until(lambda: _ask(settings, "/in/flespi", ca, b"[]", flespi) == 200, 20)
    until(lambda: _ask(settings, "/in/autopi", ca, b"[]", autopi) == 200, 20)
    for path in ("/in/flespi", "/in/flespi/"):
        assert _ask(settings, path, ca, BODY, flespi) == 200
    for path in ("/in/autopi", "/in/autopi/"):
        assert _ask(settings, path, ca, item, autopi) == 200
    assert _ask(settings, "/in/flespi", ca, BODY, "wrong") == 401
    assert _ask(settings, "/in/flespi", None, BODY, flespi) == 0  # who does not know the CA does not connect
    assert _ask(settings, "/in/flespi", ca, BODY, flespi, scheme="http") == 0
    kept = [record.value() for record in read_all(settings, settings.topics.raw("flespi"))]
    assert kept.count(BODY) == 2
    assert [record.value() for record in read_all(settings, settings.topics.raw("autopi"))].count(item) == 2
