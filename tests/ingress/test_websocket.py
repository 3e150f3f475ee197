"""The device WebSocket with a real client: rules of the first frame, acknowledgements in order, violations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fleetline.local.process import free_port
from fleetline.settings import Settings
from ingress import websocket
from ingress.intake import Intake
from ingress.producer import MemoryProducer
from ingress.websocket_server import WebSocketDoor
from registry.model import Credential, Tenant
from registry.secrets import digest, new_secret
from registry.store import RegistryStore
from registry.view import RegistryView, entry_key
from schemas import topics as headers
from sources.catalog import load_sources
from tests.support import child, read_all, running, until

pytestmark = pytest.mark.stack
TOKEN = new_secret()


class House:
    """A WebSocket port that stores into memory."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(websocket_port=free_port(), **settings)
        self.view = RegistryView()
        self.producer = MemoryProducer()
        for entry in (
            Tenant(id="t", name="T"),
            Credential(id="c", tenant_id="t", source="device", device_id="d", digest=digest(TOKEN)),
        ):
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))
        sources = load_sources()
        self.door = WebSocketDoor(self.settings, sources, Intake(self.settings, sources, self.view, self.producer))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.settings.websocket_port}/"

    @property
    def bodies(self) -> list[Any]:
        return [orjson.loads(record[2]) for record in self.producer.records]


@asynccontextmanager
async def house(**settings: Any) -> AsyncIterator[House]:
    made = House(**settings)
    async with await made.door.listen(lambda: True):
        yield made


async def say(client: ClientConnection, *frames: Any) -> None:
    for frame in frames:
        await client.send(frame if isinstance(frame, bytes | str) else orjson.dumps(frame).decode())


async def hear(client: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = orjson.loads(await asyncio.wait_for(client.recv(), 5))
    return heard


async def authenticated(client: ClientConnection, token: str = TOKEN) -> None:
    await say(client, {"type": "auth", "deviceToken": token})
    assert await hear(client) == {"type": "auth", "status": "ok"}


async def test_frames_are_acknowledged_in_order_once_they_are_durable() -> None:
    # AC-a12, AC-a13, AC-a15
    async with house() as door, connect(door.url) as client:
        await authenticated(client)
        door.producer.is_available = True
        for number in range(5):
            await say(client, {"type": "telemetry", "data": {"temperature": number}, "id": number})
        for number in range(5):
            assert await hear(client) == {"type": "ack", "id": number, "count": number + 1}
            assert door.bodies[number] == {"temperature": number}  # stored before the ack
        stored = dict(door.producer.records[0][3])
        assert (stored[headers.DEVICE], stored[headers.TRANSPORT]) == (b"d", b"websocket")
        assert TOKEN not in str(door.producer.records)


async def test_a_frame_is_not_acknowledged_before_the_broker_has_it() -> None:
    # AC-a15
    release = asyncio.Event()

    class Slow(MemoryProducer):
        async def append(self, *record: Any) -> None:
            await release.wait()
            await super().append(*record)

    made = House()
    made.producer = Slow()
    sources = load_sources()
    made.door = WebSocketDoor(made.settings, sources, Intake(made.settings, sources, made.view, made.producer))
    async with await made.door.listen(lambda: True), connect(made.url) as client:
        await authenticated(client)
        await say(client, {"type": "telemetry", "data": {"a": 1}})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.3)
        assert made.bodies == []
        release.set()
        assert (await hear(client))["type"] == "ack"


async def test_what_stands_beside_the_data_goes_with_it() -> None:
    # AC-a16, AC-a18
    async with house() as door, connect(door.url) as client:
        await authenticated(client)
        await say(
            client,
            {"type": "telemetry", "data": {"t": 1}, "ts": 1700000000000},
            {"type": "telemetry", "data": {"t": 2}, "childDeviceId": "kid"},
            {"type": "telemetry", "data": {"childDeviceId": "kid", "telemetry": {"t": 3}}},
        )
        assert [(await hear(client))["count"] for _ in range(3)] == [1, 2, 3]
        assert door.bodies == [
            {"ts": 1700000000000, "telemetry": {"t": 1}},
            {"childDeviceId": "kid", "telemetry": {"t": 2}},
            {"childDeviceId": "kid", "telemetry": {"t": 3}},
        ]


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        pytest.param([{"type": "telemetry", "data": {}}], "first frame", id="telemetry before auth"),
        pytest.param([{"type": "auth", "deviceToken": "wrong"}], "unknown device token", id="wrong token"),
        pytest.param([{"type": "auth", "deviceToken": ""}], "unknown device token", id="no token"),
        pytest.param(["ok", {"type": "auth", "deviceToken": TOKEN}], "already", id="second auth"),
        pytest.param(["ok", {"type": "switch", "data": {}}], "unknown type", id="unknown type"),
        pytest.param(["ok", {"type": "telemetry"}], "needs `data`", id="no data"),
        pytest.param(["ok", b"\x00\xff\x10"], "not binary", id="binary"),
        pytest.param(["ok", "{not json"], "not a frame", id="not json"),
        pytest.param(["ok", "[1]"], "not a frame", id="not an object"),
        pytest.param([b"\x00"], "not binary", id="binary before auth"),
    ],
)
async def test_a_violation_is_told_and_closes_with_1008(frames: list[Any], said: str) -> None:
    # AC-a14
    async with house() as door, connect(door.url) as client:
        if frames[0] == "ok":
            await authenticated(client)
            frames = frames[1:]
        await say(client, *frames)
        told = await hear(client)
        assert (told["type"], told["status"]) == ("error", 400)
        assert said in told["detail"]
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert door.bodies == []


async def test_who_does_not_authenticate_in_time_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    # AC-a14
    assert websocket.AUTH_LIMIT_S == 10
    monkeypatch.setattr(websocket, "AUTH_LIMIT_S", 0.2)
    async with house() as door, connect(door.url) as client:
        assert "10 s" in (await hear(client))["detail"]
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_a_frame_that_cannot_be_stored_is_told_and_the_connection_goes_on() -> None:
    async with house() as door, connect(door.url) as client:
        await authenticated(client)
        door.producer.is_available = False
        await say(client, {"type": "telemetry", "data": {"a": 1}, "id": "x"})
        refused = await hear(client)
        assert (refused["type"], refused["id"], refused["status"]) == ("error", "x", 503)
        door.producer.is_available = True
        await say(client, {"type": "telemetry", "data": {"a": 2}, "id": "y"})
        assert await hear(client) == {"type": "ack", "id": "y", "count": 1}
        await say(client, {"type": "telemetry", "data": "no object"})
        assert (await hear(client))["status"] == 400
        assert door.bodies == [{"a": 2}]


async def test_a_revoked_token_stores_nothing_more() -> None:
    async with house() as door, connect(door.url) as client:
        await authenticated(client)
        door.view.apply("credential/c", None)
        await say(client, {"type": "telemetry", "data": {"a": 1}})
        assert (await hear(client))["status"] == 401
        assert door.bodies == []


async def test_a_sudden_end_leaves_no_gap_and_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "ANSWER_LIMIT_S", 0.2)
    async with house() as door:
        for connection in range(3):
            async with connect(door.url) as client:
                await authenticated(client)
                for number in range(200):
                    await say(client, {"type": "telemetry", "data": {"c": connection, "n": number}})
        async with asyncio.timeout(10):
            while door.door._open:
                await asyncio.sleep(0.01)
        for connection in range(3):
            numbers = [body["n"] for body in door.bodies if body["c"] == connection]
            assert numbers == list(range(len(numbers)))


async def test_a_frame_over_the_limit_closes_the_connection_and_too_many_devices_are_turned_away() -> None:
    async with house(max_body_bytes=1000, websocket_max_connections=1) as door, connect(door.url) as client:
        await authenticated(client)
        with pytest.raises(InvalidStatus):
            await connect(door.url)
        await say(client, {"type": "telemetry", "data": {"a": "x" * 2000}})
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_the_served_port_takes_a_devices_frames_into_kafka(settings: Settings) -> None:
    # AC-a12, AC-a13
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        device = store.create_device(tenant, "D")
        _, token = store.create_credential(tenant, "device", device)
    port = free_port()
    process = child(settings, "websocket", "-m", "fleetline", "serve", "websocket")
    process._environment["FLEETLINE_WEBSOCKET_PORT"] = str(port)

    async def publish() -> list[dict[str, Any]]:
        async with connect(f"ws://127.0.0.1:{port}/") as client:
            await authenticated(client, token)
            for number in range(20):
                await say(client, {"type": "telemetry", "data": {"n": number}, "id": number})
            return [await hear(client) for _ in range(20)]

    def ready() -> bool:
        try:
            return len(asyncio.run(publish())) == 20
        except (OSError, ConnectionClosed, AssertionError):
            return False

    with running(process):
        until(ready, 40, process.log_tail())
        acknowledged = asyncio.run(publish())
        assert [frame["type"] for frame in acknowledged] == ["ack"] * 20
        stored = [orjson.loads(record.value())["n"] for record in read_all(settings, settings.topics.raw("device"))]
        assert stored[-20:] == list(range(20))
        process.signal_stop()
        until(lambda: process.exit_status is not None, 10, "the end after SIGTERM")
        assert process.exit_status == 0


async def test_a_good_token_is_not_called_wrong_while_the_registry_is_being_read() -> None:
    made = House()
    sources = load_sources()
    intake = Intake(made.settings, sources, made.view, made.producer, caught_up=lambda: False)
    made.door = WebSocketDoor(made.settings, sources, intake)
    async with await made.door.listen(lambda: False), connect(made.url) as client:
        await say(client, {"type": "auth", "deviceToken": "not known yet"})
        assert (await hear(client))["status"] == 503
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
