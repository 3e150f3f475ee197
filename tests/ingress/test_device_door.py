"""The device API through the real application: paths, bodies, batches, gateways, tokens, and what is refused."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import cbor2
import httpx
import orjson
import pytest

from schemas.times import format_us
from tests.ingress.fleet import (
    CHILD,
    DEVICE,
    DEVICE_TOKEN,
    FOREIGN_CHILD,
    GATEWAY,
    GATEWAY_TOKEN,
    SECRET,
    Fleet,
)

TS = 1_767_322_800_000
AT = "2026-01-02T03:00:00.000000Z"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with fleet.client() as made:
        yield made


async def post(
    client: httpx.AsyncClient, body: Any, *, path: str = "", token: str = DEVICE_TOKEN, **headers: str
) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await client.post(f"/api/v1/{token}/telemetry{path}", content=encoded, headers=sent)
    assert answer.status_code != 200 or answer.content == b""
    return answer.status_code


async def test_a_device_posts_a_flat_object_to_its_token(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a01
    assert await post(client, {"temperature": 24.5, "humidity": 61}, content_type="application/json") == 200
    (record,) = fleet.telemetry()
    assert (record["device_id"], record["gateway_id"]) == (DEVICE, "")
    assert record["numbers"] == {"temperature": 24.5, "humidity": 61}
    assert record["time_source"] == "received"


async def test_the_same_as_cbor_is_the_same_record(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a02
    body = {"temperature": 24.5, "humidity": 61, "ts": TS}
    assert await post(client, body, content_type="application/json") == 200
    assert await post(client, cbor2.dumps(body), content_type="application/cbor") == 200
    as_json, as_cbor = fleet.telemetry()
    assert (as_cbor["id"], as_cbor["numbers"]) == (as_json["id"], {"temperature": 24.5, "humidity": 61})


@pytest.mark.parametrize("encode", [orjson.dumps, cbor2.dumps])
async def test_a_batch_keeps_the_time_of_every_item(encode: Any, fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a03, AC-a05
    items = [{"telemetry": {"n": 1}, "ts": TS}, {"telemetry": {"n": 2}}, {"telemetry": {"n": 3}, "ts": TS // 1000 + 1}]
    assert await post(client, encode({"items": items}), path="/batch") == 200
    first, second, third = fleet.telemetry()
    assert [record["numbers"]["device.n"] for record in (first, second, third)] == [1, 2, 3]
    assert (format_us(first["observed_us"]), first["time_source"]) == (AT, "device")
    assert (second["observed_us"], second["time_source"]) == (second["received_us"], "received")
    assert format_us(third["observed_us"]) == "2026-01-02T03:00:01.000000Z"


@pytest.mark.parametrize("encode", [orjson.dumps, cbor2.dumps])
@pytest.mark.parametrize("path", ["", "/batch", "/batch/"])
async def test_100_items_are_taken_and_of_101_nothing_is_kept(
    path: str, encode: Any, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a04
    items = [{"telemetry": {"n": n}, "ts": TS + n} for n in range(101)]
    assert await post(client, encode({"items": items}), path=path) == 413
    assert not fleet.producer.records
    assert await post(client, encode({"items": items[:100]}), path=path) == 200
    assert len({record["id"] for record in fleet.telemetry()}) == 100


async def test_an_unknown_token_is_401_wherever_it_stands(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a41
    for token in ("unknown", SECRET, DEVICE_TOKEN[:-1], f"{DEVICE_TOKEN}x", "%00", "t%C3%B6ken"):
        for path in ("", "/batch", "/batch/"):
            assert await post(client, {"n": 1}, token=token, path=path) == 401
    for headers in (
        {"authorization": "Bearer unknown"},
        {"x-device-token": "unknown"},
        {"x-webhook-secret": SECRET},
        {},
    ):
        assert (await client.post("/in/device", content=b'{"n": 1}', headers=headers)).status_code == 401
    assert not fleet.producer.records


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {DEVICE_TOKEN}"}, {"x-device-token": DEVICE_TOKEN}])
async def test_the_token_may_stand_in_a_header(headers: Any, fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-c07
    for path in ("/in/device", "/in/device/"):
        assert (await client.post(path, content=b'{"n": 1}', headers=headers)).status_code == 200
    assert [record["device_id"] for record in fleet.telemetry()] == [DEVICE, DEVICE]


GATEWAY_BODIES: list[tuple[str, Any]] = [
    ("", {"childDeviceId": CHILD, "telemetry": {"temperature": 24.5}}),
    ("", {"childDeviceId": "c-1", "temperature": 24.5}),
    ("", {"childDeviceId": "Child", "ts": TS, "values": {"temperature": 24.5}}),
    ("", [{"childDeviceId": CHILD, "telemetry": {"temperature": 24.5}}]),
    ("", {"Child": [{"ts": TS, "values": {"temperature": 24.5}}]}),
    ("/batch", {"items": [{"childDeviceId": CHILD, "telemetry": {"temperature": 24.5}}]}),
    ("/batch", {"childDeviceId": CHILD, "items": [{"telemetry": {"temperature": 24.5}}]}),
]


@pytest.mark.parametrize(("path", "body"), GATEWAY_BODIES)
@pytest.mark.parametrize("encode", [orjson.dumps, cbor2.dumps])
async def test_a_gateways_reading_is_stored_for_its_child(
    encode: Any, path: str, body: Any, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a16, AC-a18
    assert await post(client, encode(body), path=path, token=GATEWAY_TOKEN) == 200
    (record,) = fleet.telemetry()
    assert (record["device_id"], record["gateway_id"]) == (CHILD, GATEWAY)
    assert record["numbers"] == {"temperature": 24.5}


@pytest.mark.parametrize("child", ["nobody", FOREIGN_CHILD, DEVICE, GATEWAY, "theirs", "Foreign child"])
async def test_what_is_no_child_of_this_gateway_is_nobodys(child: str, fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a17
    for path, body in (
        ("", {"childDeviceId": child, "telemetry": {"temperature": 24.5}}),
        ("/batch", {"items": [{"childDeviceId": child, "telemetry": {"temperature": 24.5}}]}),
        ("", {child: [{"values": {"temperature": 24.5}}]}),
    ):
        assert await post(client, body, path=path, token=GATEWAY_TOKEN) == 200
    outcome = fleet.outcome()
    assert not outcome["telemetry"]
    assert [record["device_id"] for record in outcome["unmapped"]] == [""] * 3


async def test_a_device_that_is_no_gateway_relays_for_nobody(fleet: Fleet, client: httpx.AsyncClient) -> None:
    # AC-a17: one level only; a child is no gateway for others
    assert await post(client, {"childDeviceId": CHILD, "telemetry": {"n": 1}}) == 200
    assert not fleet.outcome()["telemetry"]


async def test_a_batch_of_a_gateway_is_sorted_by_device_and_bad_items_cost_themselves_only(
    fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-a18, AC-c08
    items = [
        {"childDeviceId": CHILD, "telemetry": {"n": 1}},
        {"telemetry": {"n": 2}},
        {"childDeviceId": "nobody", "telemetry": {"n": 3}},
        {"telemetry": {"n": 4}, "ts": "yesterday"},
        7,
    ]
    assert await post(client, {"items": items}, path="/batch", token=GATEWAY_TOKEN) == 200
    outcome = fleet.outcome()
    assert [record["device_id"] for record in outcome["telemetry"]] == [CHILD, GATEWAY]
    assert [record["source_device"] for record in outcome["unmapped"]] == ["nobody"]
    assert outcome["quarantine"] == ["bad_time", "not_an_object"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b"7",
        b"{}",
        b'{"telemetry": ',
        b'{"n": 1, "ts": "yesterday"}',
        b'{"n": 1, "childDeviceId": {}}',
        b"\xa1\x61a",
        b"\xff\xfe",
        b"[" * 5000 + b"]" * 5000,
        b'{"n":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
async def test_a_body_that_cannot_be_read_is_400_and_nothing_is_kept(
    body: bytes, fleet: Fleet, client: httpx.AsyncClient
) -> None:
    # AC-c01
    assert await post(client, body) == 400
    assert await post(client, body, content_type="application/cbor") == 400
    assert not fleet.producer.records


async def test_the_batch_path_takes_batches_only(fleet: Fleet, client: httpx.AsyncClient) -> None:
    bodies: list[dict[str, Any]] = [{"temperature": 1}, {"item": []}, {"items": {}}]
    for body in bodies:
        assert await post(client, body, path="/batch") == 400
    assert not fleet.producer.records


async def test_a_repeated_request_with_its_key_is_the_same_record(fleet: Fleet, client: httpx.AsyncClient) -> None:
    for key in ("k-1", "k-1", "k-2"):
        assert await post(client, {"n": 1}, idempotency_key=key) == 200
    ids = [record["id"] for record in fleet.telemetry()]
    assert ids[0] == ids[1] != ids[2]


async def test_no_token_is_stored_or_logged_wherever_a_client_writes_it(
    fleet: Fleet, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    # AC-c07
    item = {"deviceToken": DEVICE_TOKEN, "telemetry": {"n": 1}}
    bodies = [orjson.dumps(item), cbor2.dumps(item), orjson.dumps({"items": [item]}), cbor2.dumps([item])]
    bodies.append(orjson.dumps(item).replace(b"Token", b"\\u0054oken", 1))
    with caplog.at_level(logging.DEBUG):
        for body in bodies:
            assert await post(client, body, x_device_token=DEVICE_TOKEN, authorization=f"Bearer {DEVICE_TOKEN}") == 200
        assert await post(client, b'{"deviceToken": "' + DEVICE_TOKEN.encode()) == 400
    assert [record["numbers"] for record in fleet.telemetry()] == [{"device.n": 1}] * len(bodies)
    assert DEVICE_TOKEN not in repr(fleet.producer.records)
    assert not [
        each for each in caplog.records if not each.name.startswith("http") and DEVICE_TOKEN in each.getMessage()
    ]
