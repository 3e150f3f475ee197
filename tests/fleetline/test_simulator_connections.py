"""What simulated devices with a connection of their own do with an answer, against small servers that fail when told to."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from fleetline.simulator.account import Account
from fleetline.simulator.catalog import load_profiles
from fleetline.simulator.doors import open_wire
from fleetline.simulator.faults import Fate, Fault, Faults
from fleetline.simulator.fleet import new_fleet
from fleetline.simulator.outbox import Item, Outbox
from fleetline.simulator.profile import Outgoing, Profile, SimDevice
from fleetline.simulator.road import Drive
from fleetline.simulator.transmit import Transmitter
from fleetline.simulator.wire import Wire
from ingress.mqtt.codec import Decoder
from ingress.mqtt.packets import PUBACK, PUBCOMP, PUBREC, Connect, Publish, Reason, Release, acknowledgement, connack
from schemas.times import now_us

pytestmark = pytest.mark.stack

ACK, LEAVE, HUSH, REFUSE = "acknowledge", "close without an answer", "say nothing", "answer with an error"


@dataclass
class Door:
    """What a server does with the messages, one entry each, then acknowledges; and what it saw."""

    script: list[str] = field(default_factory=list)
    url: str = ""
    welcome: Reason = Reason.SUCCESS
    connects: list[Any] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    repeated: list[bool] = field(default_factory=list)
    broken_off: int = 0

    def next(self) -> str:
        return self.script.pop(0) if self.script else ACK

    async def serve_mqtt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder(1_000_000)
        while data := await reader.read(65_536):
            first = data[0]
            decoder.feed(data)
            while (packet := decoder.next()) is not None:
                if isinstance(packet, Connect):
                    self.connects.append(packet)
                    writer.write(connack(packet.level, self.welcome, b""))
                    continue
                assert isinstance(packet, Publish | Release)
                self.seen.append(packet)
                self.repeated.append(bool(first & 8))
                if not self._answered(packet, writer):
                    return
        self.broken_off += bool(decoder.held)

    def _answered(self, packet: Publish | Release, writer: asyncio.StreamWriter) -> bool:
        what = self.next()
        kind = PUBCOMP if isinstance(packet, Release) else PUBACK if packet.qos == 1 else PUBREC
        if what in {ACK, REFUSE}:
            writer.write(acknowledgement(kind, packet.packet_id, Reason.QUOTA_EXCEEDED if what == REFUSE else 0))
        return what != LEAVE

    async def serve_websocket(self, connection: ServerConnection) -> None:
        self.connects.append(orjson.loads(await connection.recv()))
        if self.welcome is not Reason.SUCCESS:
            await connection.send('{"type":"error","status":400,"detail":"unknown device token"}')
            await connection.close(1008)
            return
        await connection.send('{"type":"auth","status":"ok"}')
        async for text in connection:
            frame = orjson.loads(text)
            self.seen.append(frame)
            what = self.next()
            if what == LEAVE:
                connection.transport.abort()
            elif what == REFUSE:
                await connection.send(orjson.dumps({"type": "error", "id": frame["id"], "status": 503}).decode())
            elif what == ACK:
                await connection.send(orjson.dumps({"type": "ack", "id": frame["id"], "count": 1}).decode())


@asynccontextmanager
async def mqtt_door(*script: str) -> AsyncIterator[Door]:
    door = Door(list(script))
    open_: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        try:
            await door.serve_mqtt(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    door.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield door
    finally:
        server.close()
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)


@asynccontextmanager
async def websocket_door(*script: str) -> AsyncIterator[Door]:
    door = Door(list(script))
    async with serve(door.serve_websocket, "127.0.0.1", 0) as server:
        door.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield door


@dataclass
class Client:
    """One simulated device."""

    profile: Profile
    device: SimDevice
    account: Account
    outbox: Outbox
    wire: Wire
    task: asyncio.Task[None]
    chance: random.Random
    drive: Drive

    def readings(self, count: int) -> list[Any]:
        return [self.profile.write(self.device, self.drive.at(now_us()), self.chance) for _ in range(count)]

    def put(self, *readings: Any) -> None:
        for reading in readings:
            self.outbox.put(Item(self.device, reading))

    async def finish(self) -> None:
        self.outbox.close()
        await asyncio.wait_for(self.task, 20)


@asynccontextmanager
async def client(
    to: Door, *faults: Fault, share: float = 1.0, number: int = 0, qos: int = 0, **changed: Any
) -> AsyncIterator[Client]:
    transport = to.url.partition(":")[0].replace("ws", "websocket")
    profile = load_profiles()[f"device-{transport}"]
    request = profile.request
    forced = (lambda device, items: replace(request(device, items), qos=qos)) if qos else request
    profile = replace(profile, request=forced, behaviour=replace(profile.behaviour, **changed))
    device = new_fleet((profile,), 1).devices[profile.name][number]
    account, chance, wire = Account(profile.name, "device"), random.Random(5), open_wire(profile.transport, to.url)
    transmitter = Transmitter(profile, account, wire, Faults(frozenset(faults), share, chance))
    outbox = Outbox(profile, account, transmitter.post, 0.05)
    task = asyncio.create_task(outbox.run())
    try:
        yield Client(profile, device, account, outbox, wire, task, chance, Drive(chance))
    finally:
        outbox.abort()
        await asyncio.gather(task, *transmitter.busy, return_exceptions=True)
        wire.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_publish_without_an_acknowledgement_comes_again_on_a_new_connection_as_a_repetition(qos: int) -> None:
    async with mqtt_door(LEAVE, LEAVE) as to, client(to, qos=qos) as device:
        device.put(*device.readings(1))
        await device.finish()
    published = [packet for packet in to.seen if isinstance(packet, Publish)]
    assert len({(packet.packet_id, packet.payload, packet.qos) for packet in published}) == 1
    assert to.repeated[:3] == [False, True, True]
    assert len(to.connects) == 3
    assert device.account.answers == {"connection lost": 2, "PUBACK" if qos == 1 else "PUBCOMP": 1}
    assert len(device.account.acknowledged) == 1


async def test_qos_2_goes_on_with_the_release_when_the_server_has_the_message() -> None:
    async with mqtt_door(ACK, LEAVE) as to, client(to, qos=2) as device:
        device.put(*device.readings(1))
        await device.finish()
    assert [type(packet) for packet in to.seen] == [Publish, Release, Release]
    assert {packet.packet_id for packet in to.seen} == {1}
    assert len(to.connects) == 2
    assert len(device.account.acknowledged) == 1


async def test_messages_are_pipelined_and_all_of_them_come_again_when_the_connection_ends() -> None:
    async with mqtt_door(*[HUSH] * 7, LEAVE) as to, client(to, qos=1, batch=1) as device:
        device.put(*device.readings(8))
        await device.finish()
    assert len(to.seen) == 16
    assert {each.payload for each in to.seen[:8]} == {each.payload for each in to.seen[8:]}
    assert (len(to.connects), len(device.account.acknowledged)) == (2, 8)
    assert set(device.account.transmissions.values()) == {2}


async def test_a_gateway_publishes_for_its_children_under_their_names() -> None:
    # AC-a11
    async with mqtt_door() as to, client(to, number=1, qos=1) as gateway:
        gateway.put(*gateway.readings(20))
        await gateway.finish()
    assert {packet.topic for packet in to.seen} == {"v1/gateway/telemetry"}
    names = {name for packet in to.seen for name in orjson.loads(packet.payload)}
    assert names == set(gateway.device.children)
    assert len(gateway.account.acknowledged) == 20


async def test_a_device_uses_every_topic_of_its_own_and_both_qualities() -> None:
    async with mqtt_door() as to, client(to, batch=1) as device:
        device.put(*device.readings(12))
        await device.finish()
    token = device.device.secret
    published = [packet for packet in to.seen if isinstance(packet, Publish)]
    assert {packet.topic for packet in published} == {
        "v1/devices/me/telemetry", f"v1/devices/{token}/telemetry", f"devices/{token}/telemetry",
    }  # fmt: skip
    assert {packet.qos for packet in published} == {1, 2}
    assert to.connects[0].username == token


async def test_devices_speak_all_versions_of_mqtt_each_on_a_connection_of_its_own() -> None:
    profile = load_profiles()["device-mqtt"]
    fleet = new_fleet((profile,), 3)
    async with mqtt_door() as to:
        wire, chance = open_wire("mqtt", to.url), random.Random(1)
        for device in fleet.devices[profile.name]:
            message = profile.request(device, [profile.write(device, Drive(chance).at(now_us()), chance)])
            assert (await wire.exchange(message, 5)).status == 200
        wire.close()
    assert {connect.level for connect in to.connects} == {3, 4, 5}
    assert len({connect.client_id for connect in to.connects}) == len(to.connects) == 4


@pytest.mark.parametrize("door", [mqtt_door, websocket_door])
async def test_an_acknowledgement_that_is_lost_lets_the_message_come_again(door: Any) -> None:
    async with door() as to, client(to, Fault.LOST_ACK, share=0.5, batch=1, in_flight=1) as device:
        device.put(*device.readings(20))
        await device.finish()
    answers = device.account.answers
    assert answers[Fate.DEAF.value] > 0
    assert answers[Fate.GONE.value] > 0
    assert len(to.connects) > 1
    assert device.account.transmissions.total() > 20
    assert len(device.account.acknowledged) == 20


@pytest.mark.parametrize("door", [mqtt_door, websocket_door])
async def test_an_acknowledged_message_is_sent_once_more_as_a_new_one(door: Any) -> None:
    async with door() as to, client(to, Fault.DUPLICATE, qos=1) as device:
        device.put(*device.readings(1))
        await device.finish()
        await until(lambda: len(to.seen) == 2)
        await until(lambda: device.account.answers.total() == 2)
    assert to.repeated in ([], [False, False])
    assert set(device.account.transmissions.values()) == {2}
    assert device.account.answers.keys() <= {"PUBACK", "ack"}


async def test_a_message_that_is_cut_is_broken_off_in_the_middle_of_its_packet() -> None:
    async with mqtt_door() as to:
        wire = open_wire("mqtt", to.url)
        message = Outgoing(path="a", headers={"authorization": "Bearer t"}, body=b"x" * 1000, sender="d")
        assert (await wire.exchange(message, 5, Fate.CUT)).silence == Fate.CUT.value
        await until(lambda: to.broken_off == 1)
        assert not to.seen
        slow = await wire.exchange(message, 5, Fate.SLOW)
        wire.close()
    assert (slow.status, len(to.seen)) == (200, 1)
    assert slow.took_s > 0.5


async def test_a_frame_that_is_cut_never_arrives() -> None:
    async with websocket_door() as to:
        wire = open_wire("websocket", to.url)
        message = Outgoing(
            path="/", headers={"authorization": "Bearer t"}, body=b'{"ts":1,"telemetry":{"a":1}}', sender="d"
        )
        assert (await wire.exchange(message, 5, Fate.CUT)).status == 0
        assert (await wire.exchange(message, 5, Fate.SLOW)).status == 200
        wire.close()
    assert [frame["id"] for frame in to.seen] == [1]
    assert len(to.connects) == 2


@pytest.mark.parametrize("failure", [LEAVE, REFUSE])
async def test_a_frame_without_an_ack_comes_again_on_a_new_connection(failure: str) -> None:
    async with websocket_door(HUSH, HUSH, failure) as to, client(to) as device:
        device.put(*device.readings(3))
        await device.finish()
    frames = [(frame["id"], frame["ts"], str(frame["data"])) for frame in to.seen]
    assert len(frames) == 6
    assert set(frames[:3]) == set(frames[3:])
    assert to.connects == [{"type": "auth", "deviceToken": device.device.secret}] * 2
    assert len(device.account.acknowledged) == 3


async def test_an_acknowledgement_that_refuses_is_no_success_and_the_message_stays_with_the_device() -> None:
    async with mqtt_door(REFUSE) as to, client(to, qos=1) as device:
        device.put(*device.readings(1))
        await device.finish()
    assert device.account.answers == {"PUBACK 0x97": 1, "PUBACK": 1}
    assert len(device.account.acknowledged) == 1


@pytest.mark.parametrize("door", [mqtt_door, websocket_door])
async def test_a_credential_that_is_not_known_yet_is_told_from_nobody_listening(door: Any) -> None:
    async with door() as to, client(to) as device:
        probe = device.profile.request(device.device, device.readings(1))
        to.welcome = Reason.NOT_AUTHORIZED
        assert (await device.wire.probe(probe)).status == 401
        assert (await device.wire.exchange(probe, 5)).status == 401
        to.welcome = Reason.SUCCESS
        assert (await device.wire.probe(probe)).status == 200
    assert not to.seen
    assert (await open_wire(device.profile.transport, to.url).probe(probe)).silence == "ConnectionRefusedError"


async def test_a_server_that_says_nothing_is_given_up_and_the_message_is_kept() -> None:
    async with mqtt_door(HUSH) as to, client(to, qos=1, timeout_s=0.2) as device:
        device.put(*device.readings(1))
        await device.finish()
    assert device.account.answers == {"timeout": 1, "PUBACK": 1}
    assert to.repeated == [False, True]
