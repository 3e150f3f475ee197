"""AutoPi at the door: what a device may send, what it is told, and what is stored of it."""

import asyncio
import gzip
import http.client
import importlib
import urllib.request
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.ingress.loopback import Ingress, serving

POSITION = {
    "@t": "track.pos", "@ts": "2020-09-03T12:38:24.374314", "utc": "06:02:24", "cog": 140.22, "nsat": 9, "alt": 34,
    "sog": 0, "loc": {"lat": 57.02241, "lon": 9.89919},
}  # fmt: skip
BATCH = [POSITION, {"@t": "obd.rpm", "@ts": "2020-09-03T12:38:25", "value": 900, "unit": "rpm"}]
BODY = orjson.dumps(BATCH)


@pytest.fixture
def ingress() -> Ingress:
    return Ingress(path_map={"/": "autopi", "/cloud/v2/data": "autopi", "/fleet/{device}/up": "autopi"})


@pytest.fixture
async def client(ingress: Ingress) -> AsyncIterator[httpx.AsyncClient]:
    async with ingress.client() as made:
        yield made


def headers(secret: str, **more: str) -> dict[str, str]:
    return {"authorization": f"token {secret}", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


@pytest.mark.parametrize(
    "path", ["/", "/in/autopi", "/in/autopi/", "/cloud/v2/data", "/cloud/v2/data/", "/fleet/u-1/up", "/fleet/u-1/up/"]
)
async def test_a_device_posts_to_whatever_path_its_setting_holds(
    path: str, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # AP-a01, AP-a02
    answer = await client.post(path, content=BODY, headers=headers(ingress.credential("autopi")))
    assert (answer.status_code, answer.content) == (200, b"")
    records, defects = ingress.made("autopi")
    assert ([each.record["type"] for each in records], defects) == (["track.pos", "obd.rpm"], [])
    assert records[0].record["source_device"] == ("u-1" if "u-1" in path else "")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "token", "Token", "TOKEN"])
async def test_both_schemes_open_in_any_case(scheme: str, ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a11, AP-a12, AP-c01
    secret = ingress.credential("autopi")
    answer = await client.post("/", content=BODY, headers={"authorization": f"{scheme} {secret}"})
    assert (answer.status_code, len(ingress.producer.records)) == (200, 1)
    for wrong in (f"{scheme} {secret}x", f"{scheme}", f"{scheme}{secret}", f"Basic {secret}", secret, ""):
        refused = await client.post("/", content=BODY, headers={"authorization": wrong})
        assert (refused.status_code, refused.content) == (401, b"")
    assert (await client.post("/", content=BODY)).status_code == 401
    assert len(ingress.producer.records) == 1


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "", "x"]
)
async def test_the_body_is_json_whatever_its_content_type(
    content_type: str, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # AP-a16
    sent = headers(ingress.credential("autopi"), content_type=content_type)
    answer = await client.post("/", content=BODY, headers=sent)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    assert len(ingress.made("autopi")[0]) == 2


async def test_the_unit_id_names_the_device_and_keeps_its_order(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a17, AP-a29, AP-c02
    secret = ingress.credential("autopi")
    for unit in ("unit-1", "unit-2", "unit-1"):
        assert (await client.post("/", content=BODY, headers=headers(secret, unit_id=unit))).status_code == 200
    assert [key for _, key, _, _ in ingress.producer.records] == [b"unit-1", b"unit-2", b"unit-1"]
    records, _ = ingress.made("autopi")
    assert [each.record["source_device"] for each in records[::2]] == ["unit-1", "unit-2", "unit-1"]
    assert len({each.record["id"] for each in records}) == 4  # another unit's record is another record


async def test_concurrent_posts_of_one_device_share_a_key(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a29
    secret = ingress.credential("autopi", "device-1")
    await asyncio.gather(*(client.post("/", content=BODY, headers=headers(secret)) for _ in range(5)))
    assert [key for _, key, _, _ in ingress.producer.records] == [b"device-1"] * 5


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "lzma", ""])
@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY, mtime=0)])
async def test_the_magic_decides_and_not_the_header(
    body: bytes, encoding: str, ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # AP-a18, AP-a19, AP-c06
    answer = await client.post(
        "/", content=body, headers=headers(ingress.credential("autopi"), content_encoding=encoding)
    )
    if encoding == "lzma" and body == BODY:
        assert (answer.status_code, ingress.producer.records) == (415, [])
    else:
        assert answer.status_code == 200
        assert ingress.producer.records[0][2] == BODY


async def test_a_bomb_is_413(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a18
    secret = ingress.credential("autopi")
    for bomb in (gzip.compress(b"[" + b" " * 50_000_000), gzip.compress(b" " * 8_400_000)):
        assert (await client.post("/", content=bomb, headers=headers(secret))).status_code == 413
    assert not ingress.producer.records


@pytest.mark.parametrize("size", [100, 1_000, 8_000])
async def test_large_batches_are_taken_whole(size: int, ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a20
    items = [POSITION | {"@ts": f"2020-09-03T12:38:24.{n:06}", "note": "x" * 500} for n in range(size)]
    body = orjson.dumps(items)
    assert size < 8_000 or len(body) > 5 * 1024 * 1024
    sent = headers(ingress.credential("autopi"), content_encoding="gzip")
    assert (await client.post("/", content=gzip.compress(body, 1), headers=sent)).status_code == 200
    assert ingress.producer.records[0][2] == body
    if size <= 1_000:
        records, defects = ingress.made("autopi")
        assert (len(records), defects) == (size, [])


@pytest.mark.parametrize(
    ("body", "records", "reasons"),
    [
        (b"[]", 0, []),
        (b"", 0, []),
        (orjson.dumps(POSITION), 1, []),
        (b'[ // ...\n {"@t": "obd.bat",}]', 0, ["not_json"]),
        (BODY[:-1], 0, ["not_json"]),
        (b"\x00\xff\xfe", 0, ["not_json"]),
        (
            orjson.dumps([POSITION, 7, {}, {"@t": 5}, [POSITION]]),
            1,
            ["not_an_object", "no_type", "no_type", "not_an_object"],
        ),
        (orjson.dumps([{"@t": "my.thing", "@ts": "never", "x": None}]), 1, []),
    ],
)
async def test_no_content_is_ever_refused(
    body: bytes, records: int, reasons: list[str], ingress: Ingress, client: httpx.AsyncClient
) -> None:
    # AP-a26, AP-a27, AP-c05, AP-c07
    answer = await client.post("/", content=body, headers=headers(ingress.credential("autopi")))
    assert (answer.status_code, answer.content) == (200, b"")
    made, defects = ingress.made("autopi")
    assert (len(made), [each.reason for each in defects]) == (records, reasons)


async def test_what_was_refused_can_be_sent_again(ingress: Ingress, client: httpx.AsyncClient) -> None:
    # AP-a14, AP-a15
    secret = ingress.credential("autopi", "device-1")
    ingress.producer.is_available = False
    assert (await client.post("/", content=BODY, headers=headers(secret))).status_code == 503
    assert not ingress.producer.records
    ingress.producer.is_available = True
    for items in (
        BATCH,
        BATCH,
        [BATCH[1]],
        [*BATCH, POSITION | {"alt": 35}],
    ):  # our 200 was lost; the batch was topped up
        assert (await client.post("/", content=orjson.dumps(items), headers=headers(secret))).status_code == 200
    assert len({each.record["id"] for each in ingress.made("autopi")[0]}) == 3


async def test_plain_http_can_be_switched_off_for_the_source() -> None:
    # AP-a28
    ingress = Ingress(https_only=frozenset({"autopi"}))
    sent = headers(ingress.credential("autopi"))
    app = httpx.ASGITransport(app=ingress.app)
    async with httpx.AsyncClient(transport=app, base_url="http://x") as plain:
        assert (await plain.post("/in/autopi", content=BODY, headers=sent)).status_code == 403
        assert not ingress.producer.records
        flespi = {"authorization": f"Bearer {ingress.credential('flespi')}"}
        assert (await plain.post("/in/flespi", content=b"[]", headers=flespi)).status_code == 200
    async with httpx.AsyncClient(transport=app, base_url="https://x") as safe:
        assert (await safe.post("/in/autopi", content=BODY, headers=sent)).status_code == 200


def by_requests(url: str, sent: dict[str, str]) -> int:
    """Post like the device does, whose client turns a redirected POST into a GET and so loses the body."""
    client: Any = importlib.import_module("requests")
    answer = client.post(url, data=BODY, headers=sent, timeout=10)
    assert not answer.history
    return int(answer.status_code)


def by_urllib(url: str, sent: dict[str, str]) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, data=BODY, headers=sent), timeout=10) as answer:
        assert answer.url == url
        return int(answer.status)


def by_bare_http(url: str, sent: dict[str, str]) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("POST", parts.path, BODY, sent)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.stack
@pytest.mark.parametrize("post", [by_requests, by_urllib, by_bare_http])
def test_every_form_of_the_path_ends_in_exactly_one_stored_batch(post: Any, ingress: Ingress) -> None:
    # AP-a22, AP-a28
    sent = headers(ingress.credential("autopi"))
    with serving(ingress) as address:
        for path in ("/in/autopi", "/in/autopi/", "/", "/cloud/v2/data", "/cloud/v2/data/", "/in/autopi/unit-1/"):
            ingress.producer.records.clear()
            assert post(address + path, sent) == 200
            assert [body for _, _, body, _ in ingress.producer.records] == [BODY]
