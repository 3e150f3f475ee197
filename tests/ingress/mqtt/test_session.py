"""The protocol without sockets: the server's sessions before a broker that answers when the test says so."""

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from fleetline.settings import Settings
from ingress.errors import NotDurable
from ingress.metrics import IngressMetrics
from ingress.mqtt import session as limits
from ingress.mqtt.gate import Gate
from ingress.mqtt.metrics import MqttCounts
from ingress.mqtt.packets import Reason
from ingress.mqtt.server import MqttServer
from ingress.mqtt.session import Session
from registry.model import Credential, Device, Entry, Tenant
from registry.secrets import digest
from registry.view import RegistryView, entry_key
from sources.catalog import load_sources
from tests.ingress.mqtt import packets as client

ME = "v1/devices/me/telemetry"
OK, CONNACK = b"\x20\x02\0\0", 0x20


class Broker:
    """Takes records and acknowledges them when told to, in any order."""

    def __init__(self) -> None:
        self.is_available = True
        self.records: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.holds = False

    async def append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        self.records.append((topic, key, value, dict(headers)))
        if self.holds:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(answer)
            await answer

    async def answer(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self.waiting[number].set_result(None)
        else:
            self.waiting[number].set_exception(error)
        await settle()

    @property
    def bodies(self) -> list[bytes]:
        return [value for _, _, value, _ in self.records]

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def is_reachable(self) -> bool:
        return True


class FakeLink:
    """What a session does to its socket."""

    def __init__(self) -> None:
        self.sent = b""
        self.reading = True
        self.closed = self.aborted = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class House:
    """A server with a registry: device `d`, stranger `s`, gateway `g` with child `c`; each token is `token-<id>`."""

    def __init__(self, **more: Any) -> None:
        self.now = 1000.0
        self.view = RegistryView()
        self.broker = Broker()
        self.settings = Settings().model_copy(update=more)
        self.add(Tenant(id="T", name="T"))
        self.add(Tenant(id="U", name="U"))
        for name, extra in (("d", {}), ("s", {}), ("g", {"gateway": True}), ("c", {"parent_id": "g"})):
            self.add(Device(id=name, tenant_id="T", name=name, **extra))
            self.credential(name)
        self.add(Device(id="other", tenant_id="U", name="other"))
        self.credential("other", tenant="U")
        gate = Gate(self.settings, load_sources(), self.view, self.broker)
        self.metrics = IngressMetrics(gate.intake)
        self.server = MqttServer(self.settings, gate, MqttCounts(self.metrics))

    def add(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def credential(self, device: str, *, name: str = "", tenant: str = "T") -> None:
        made = f"c-{name or device}"
        token = digest(f"token-{name or device}")
        self.add(Credential(id=made, tenant_id=tenant, source="device", digest=token, device_id=device))

    def revoke(self, device: str) -> None:
        self.view.apply(f"credential/c-{device}", None)

    def enter(self) -> tuple[Session, FakeLink]:
        link = FakeLink()
        session = self.server.enter(link)  # type: ignore[arg-type]
        assert session is not None
        return session, link

    def connect(self, device: str = "d", **more: Any) -> tuple[Session, FakeLink]:
        session, link = self.enter()
        session.received(client.connect(f"token-{device}", **more))
        assert link.take()[3] == 0
        return session, link

    def pass_time(self, seconds: float) -> None:
        for now in (self.now, self.now + seconds):
            for session in tuple(self.server._sessions):
                session.tick(now)
        self.now += seconds

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


@pytest.fixture
async def house() -> House:
    return House()


# --- connecting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [3, 4])
async def test_the_user_name_is_the_token_and_the_password_does_not_matter(house: House, level: int) -> None:
    # AC-a08, AC-a09
    for password in (None, b"", b"anything"):
        session, link = house.enter()
        session.received(client.connect("token-d", level=level, password=password, client_id=f"c{password!r}"))
        assert link.take() == OK
        assert not link.closed


@pytest.mark.parametrize("token", ["wrong", "", None], ids=["wrong", "empty", "none"])
@pytest.mark.parametrize(("level", "answer"), [(3, b"\x20\x02\0\5"), (4, b"\x20\x02\0\5"), (5, b"\x20\x03\0\x87\0")])
async def test_an_unknown_token_is_not_authorised(house: House, level: int, answer: bytes, token: str | None) -> None:
    # AC-a09
    session, link = house.enter()
    session.received(client.connect(token, level=level, password=b"token-d" if token else None) + client.publish(ME))
    await settle()
    assert link.take() == answer
    assert link.closed
    assert house.broker.records == []


async def test_mqtt_5_is_told_the_limits(house: House) -> None:
    session, link = house.enter()
    session.received(client.connect("token-d", level=5, client_id="", extra=b"\x11\0\0\0\x3c"))
    told = link.take()
    assert told[0] == CONNACK
    assert told[2:4] == b"\0\0"  # no session, success
    assert b"\x21\0\x40" in told  # receive maximum
    assert b"\x27\0\x80\0\0" in told  # maximum packet size
    assert b"\x11\0\0\0\0" in told  # the session ends with the connection
    assert b"\x12\0\x24" in told  # an assigned client identifier
    assert b"\x22" not in told[5:9]  # topic alias maximum: absent means 0


async def test_connects_that_cannot_be_served_are_told_why(house: House) -> None:
    session, link = house.enter()
    session.received(client.connect("token-d", level=9))
    assert (link.take(), link.closed) == (b"\x20\x02\0\1", True)
    session, link = house.enter()
    session.received(client.connect("token-d", client_id="", clean=False))
    assert (link.take(), link.closed) == (b"\x20\x02\0\2", True)
    session, link = house.enter()
    session.received(client.connect("token-d", level=5, extra=b"\x15" + client.text("SCRAM")))
    assert (link.take(), link.closed) == (b"\x20\x03\0\x8c\0", True)


async def test_a_second_connection_of_a_client_takes_the_place_of_the_first(house: House) -> None:
    _, first = house.connect(client_id="x", level=5)
    _, second = house.connect(client_id="x", level=5)
    assert (first.take(), first.closed, second.closed) == (b"\xe0\x01\x8e", True, False)


async def test_knowing_a_client_id_is_not_enough_to_throw_its_owner_out(house: House) -> None:
    _, first = house.connect(client_id="x")
    house.connect("s", client_id="x")
    assert not first.closed


async def test_one_more_than_the_places_is_turned_away() -> None:
    house = House(mqtt_max_connections=2)
    house.connect(client_id="1")
    first, _ = house.connect(client_id="2")
    late = FakeLink()
    assert house.server.enter(late) is None  # type: ignore[arg-type]
    assert late.aborted
    house.server.leave(first)
    house.connect(client_id="3")


# --- publishing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "template"),
    [
        ("devices/token-d/telemetry", "devices/{deviceToken}/telemetry"),  # AC-a06
        ("v1/devices/token-d/telemetry", "v1/devices/{deviceToken}/telemetry"),  # AC-a07
        (ME, ME),
        ("v1/gateway/telemetry", "v1/gateway/telemetry"),
    ],
)
@pytest.mark.parametrize("level", [3, 4, 5])
async def test_every_topic_is_stored_without_its_token(house: House, topic: str, template: str, level: int) -> None:
    # AC-a06, AC-a07, AC-a08, AC-a11, AC-c07
    session, link = house.connect(level=level)
    session.received(client.publish(topic, b'{"a":1}', level=level))
    await settle()
    assert link.take() == client.puback(1)
    topic_name, key, body, headers = house.broker.records[0]
    assert (topic_name, key, body) == ("fleetline.raw.device", b"d", b'{"a":1}')
    named = {name: value.decode() for name, value in headers.items()}
    assert [value for value in named.values() if "token-" in value] == []
    assert {template, "mqtt", "PUBLISH", "T", "c-d", "d"} <= set(named.values())


@pytest.mark.parametrize("level", [4, 5])
async def test_a_puback_waits_for_the_broker_and_keeps_the_order_of_receipt(house: House, level: int) -> None:
    # AC-c10
    house.broker.holds = True
    session, link = house.connect(level=level)
    session.received(b"".join(client.publish(ME, b'{"n":%d}' % n, 1, n, level=level) for n in (1, 2, 3)))
    await settle()
    assert house.broker.bodies == [b'{"n":1}', b'{"n":2}', b'{"n":3}']  # handed over in order, all at once
    assert link.take() == b""
    await house.broker.answer(2)
    await house.broker.answer(1)
    assert link.take() == b""  # MQTT-4.6.0-2: not before the first
    await house.broker.answer(0)
    assert link.take() == client.puback(1) + client.puback(2) + client.puback(3)


async def test_qos_2_is_received_once_whatever_comes_again(house: House) -> None:
    # AC-c10
    house.broker.holds = True
    session, link = house.connect()
    session.received(client.publish(ME, b"x", 2, 7))
    session.received(client.publish(ME, b"x", 2, 7, flags=8))
    await settle()
    assert (link.take(), house.broker.bodies) == (b"", [b"x"])
    await house.broker.answer(0)
    assert link.take() == client.puback(7, kind=0x50)
    session.received(client.publish(ME, b"x", 2, 7, flags=8))
    await settle()
    assert (link.take(), house.broker.bodies) == (client.puback(7, kind=0x50), [b"x"])
    session.received(client.release(7))
    assert link.take() == client.puback(7, kind=0x70)
    session.received(client.publish(ME, b"y", 2, 7))
    await settle()
    assert house.broker.bodies == [b"x", b"y"]  # released, the number means another message


async def test_a_release_of_nothing_is_answered_so_that_the_client_can_forget_it(house: House) -> None:
    session, link = house.connect()
    session.received(client.release(9))
    assert link.take() == client.puback(9, kind=0x70)
    session, link = house.connect(level=5, client_id="5")
    session.received(client.release(9))
    assert link.take() == client.puback(9, Reason.PACKET_ID_NOT_FOUND, kind=0x70)


async def test_qos_2_without_releases_ends_the_connection(house: House) -> None:
    session, link = house.connect(level=5)
    for number in range(1, limits.UNRELEASED + 2):
        session.received(client.publish(ME, b'{"a":1}', 2, number, level=5))
        await settle()
    assert link.closed
    assert link.sent.endswith(bytes((0xE0, 1, Reason.RECEIVE_MAXIMUM_EXCEEDED)))


async def test_qos_0_is_stored_and_not_answered_even_if_the_client_leaves_at_once(house: House) -> None:
    # AC-c10
    session, link = house.connect()
    session.received(client.publish(ME, b"0", 0) + client.publish(ME, b"1", 0, flags=1) + client.DISCONNECT)
    house.server.leave(session)
    session.lost()
    await settle()
    assert (link.take(), house.broker.bodies, link.closed) == (b"", [b"0", b"1"], True)


async def test_what_came_before_the_connection_was_lost_is_stored(house: House) -> None:
    house.broker.holds = True
    session, _ = house.connect()
    count = limits.IN_FLIGHT + 5
    session.received(b"".join(client.publish(ME, b"%d" % n, 0) for n in range(count)))
    await settle()
    assert len(house.broker.records) == limits.IN_FLIGHT
    house.server.leave(session)
    session.lost()
    for number in range(count):
        await house.broker.answer(number)
    assert len(house.broker.records) == count


@pytest.mark.parametrize(("level", "goodbye"), [(4, b""), (5, bytes((0xE0, 1, Reason.QUOTA_EXCEEDED)))])
async def test_what_cannot_be_durable_is_never_acknowledged_and_ends_the_connection(
    house: House, level: int, goodbye: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AC-c10
    monkeypatch.setattr(limits, "_COME_BACK_S", (0.01, 0.02))
    house.broker.holds = True
    session, link = house.connect(level=level)
    session.received(b"".join(client.publish(ME, b'{"n":%d}' % n, 1, n, level=level) for n in (1, 2, 3)))
    await settle()
    await house.broker.answer(0)
    await house.broker.answer(2)
    await house.broker.answer(1, NotDurable("the broker is away"))
    assert link.take() == client.puback(1)  # the third is durable, but its place is behind the second
    assert not link.reading
    await asyncio.sleep(0.05)
    assert (link.take(), link.closed) == (goodbye, True)
    assert house.count("fleetline_mqtt_publishes_total", qos="1", outcome="not_durable") == 1


# --- bodies --------------------------------------------------------------------------------------------------------------


async def test_a_body_nobody_can_read_is_kept_for_quarantine_where_no_answer_could_say_so(house: House) -> None:
    session, link = house.connect()
    session.received(client.publish(ME, b"no json", 1) + client.publish(ME, b"nor this", 0))
    await settle()
    assert (link.take(), house.broker.bodies) == (client.puback(1), [b"no json", b"nor this"])


async def test_mqtt_5_is_told_that_a_body_cannot_be_read(house: House) -> None:
    session, link = house.connect(level=5)
    batch = b"[" + b",".join([b'{"a":1}'] * 101) + b"]"
    session.received(client.publish(ME, b"no json", 1, 1, level=5) + client.publish(ME, batch, 2, 2, level=5))
    await settle()
    bad, many = Reason.PAYLOAD_FORMAT_INVALID, Reason.QUOTA_EXCEEDED
    assert link.take() == client.puback(1, bad) + client.puback(2, many, kind=0x50)
    assert (house.broker.records, link.closed) == ([], False)


async def test_the_content_type_of_mqtt_5_counts(house: House) -> None:
    session, link = house.connect(level=5)
    kind = b"\x03" + client.text("application/cbor")
    session.received(client.publish(ME, b"\xa1aa\x01", 1, 1, level=5, extra=kind))
    await settle()
    assert link.take() == client.puback(1)
    assert b"application/cbor" in house.broker.records[0][3].values()


# --- whose topic ---------------------------------------------------------------------------------------------------------

FOREIGN = ["devices/token-s/telemetry", "v1/devices/token-other/telemetry", "v1/devices/nobody/telemetry"]
UNKNOWN = ["v1/devices/token-d/attributes", "some/where", "devices/token-d/telemetry/x", "devices//telemetry", "$SYS/x"]


@pytest.mark.parametrize("topic", FOREIGN + UNKNOWN)
@pytest.mark.parametrize("level", [4, 5])
async def test_a_foreign_or_unknown_topic_is_refused_and_logged_without_tokens(
    house: House, topic: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    # AC-a10, AC-c07
    caplog.set_level(logging.DEBUG)
    session, link = house.connect(level=level)
    session.received(client.publish(topic, level=level))
    await settle()
    assert house.broker.records == []
    if level == 5:
        assert (link.take(), link.closed) == (client.puback(1, Reason.NOT_AUTHORIZED), False)
    else:
        assert (link.take(), link.closed) == (b"", True)
    said = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(said) == 1
    assert "c-d" in said[0]
    assert "token" not in said[0].replace("{deviceToken}", "")
    assert "nobody" not in said[0]


async def test_a_client_cannot_fill_the_log_with_refusals(house: House, caplog: pytest.LogCaptureFixture) -> None:
    session, link = house.connect(level=5)
    for number in range(1, 100):
        session.received(client.publish("some/where", b"{}", 1, number, level=5))
    assert len(link.take()) == 99 * 5
    assert len(caplog.records) == limits.REFUSALS_LOGGED
    assert house.count("fleetline_mqtt_publishes_total", qos="1", outcome="forbidden") == 99


async def test_another_token_of_the_same_device_is_no_foreign_one(house: House) -> None:
    # AC-a10
    house.credential("d", name="second")
    session, link = house.connect()
    session.received(client.publish("devices/token-second/telemetry"))
    await settle()
    assert link.take() == client.puback(1)


async def test_a_gateway_publishes_to_the_topic_of_its_child_in_the_childs_name(house: House) -> None:
    # AC-a10
    session, link = house.connect("g")
    session.received(client.publish("devices/token-c/telemetry"))
    await settle()
    assert link.take() == client.puback(1)
    assert house.broker.records[0][1] == b"c"
    session.received(client.publish("devices/token-s/telemetry"))
    assert link.closed


async def test_a_child_cannot_speak_for_its_gateway(house: House) -> None:
    # AC-a10
    session, link = house.connect("c")
    session.received(client.publish("devices/token-g/telemetry"))
    await settle()
    assert (link.closed, house.broker.records) == (True, [])


async def test_a_revoked_token_is_refused_at_its_next_publish(house: House) -> None:
    session, link = house.connect(level=5)
    session.received(client.publish(ME, b'{"a":1}', level=5))
    await settle()
    house.revoke("d")
    assert link.take() == client.puback(1)
    assert not link.closed
    session.received(client.publish(ME, b'{"a":1}', 1, 2, level=5))
    await settle()
    assert (link.take(), link.closed) == (bytes((0xE0, 1, Reason.NOT_AUTHORIZED)), True)  # it keeps its message
    assert len(house.broker.records) == 1


async def test_subscriptions_beside_ones_own_topics_are_granted_and_others_are_not(house: House) -> None:
    session, link = house.connect()
    mine = [("v1/devices/me/attributes", 1), ("v1/devices/me/rpc/request/+", 0), ("devices/token-d/#", 2)]
    foreign = [
        ("#", 0),
        ("devices/+/telemetry", 1),
        ("devices/token-s/#", 1),
        ("$share/g/v1/devices/me/x", 0),
        ("a#", 0),
    ]
    session.received(client.subscribe(3, *mine, *foreign))
    assert link.take() == client.packet(0x90, b"\0\3\1\0\2" + b"\x80" * 5)
    session.received(client.unsubscribe(4, "v1/devices/me/attributes"))
    assert link.take() == b"\xb0\2\0\4"
    session, link = house.connect(level=5, client_id="5")
    session.received(client.subscribe(3, *mine, *foreign, level=5) + client.unsubscribe(4, "a", "b", level=5))
    answer = client.packet(0x90, b"\0\3\0\1\0\2\x87\x87\x87\x9e\x8f")
    assert link.take() == answer + client.packet(0xB0, b"\0\4\0\0\0")


# --- limits --------------------------------------------------------------------------------------------------------------


async def test_a_client_that_sends_faster_than_the_broker_takes_is_not_read(house: House) -> None:
    house.broker.holds = True
    session, link = house.connect()
    count = limits.IN_FLIGHT + 10
    session.received(b"".join(client.publish(ME, b"%d" % n, 1, n + 1) for n in range(count)) + client.PING)
    await settle()
    assert (len(house.broker.records), link.reading) == (limits.IN_FLIGHT, False)
    for number in range(count):
        await house.broker.answer(number)
    assert link.reading
    expected = b"".join(client.puback(n + 1) for n in range(count))
    assert link.sent.count(b"\xd0\0") == 1
    assert link.sent.replace(b"\xd0\0", b"") == expected


async def test_large_publishes_count_by_their_bytes(house: House) -> None:
    house.broker.holds = True
    session, link = house.connect()
    session.received(client.publish(ME, b"x" * limits.IN_FLIGHT_BYTES, 0) + client.publish(ME, b"y", 0))
    await settle()
    assert (len(house.broker.records), link.reading) == (1, False)
    await house.broker.answer(0)
    assert (house.broker.bodies[1:], link.reading) == ([b"y"], True)


async def test_all_connections_together_wait_before_the_durable_log_would_refuse() -> None:
    house = House(max_in_flight_bytes=10_000)
    house.broker.holds = True
    first, _ = house.connect(client_id="1")
    second, link = house.connect(client_id="2")
    first.received(b"".join(client.publish(ME, b"%d" % n, 0) for n in range(10)))
    second.received(client.publish(ME, b"late", 1, 9))
    await settle()
    assert len(house.broker.records) == 4  # 40 % of the bytes, at 1 KiB each
    assert not link.reading
    for number in range(11):
        await house.broker.answer(number)
    assert len(house.broker.records) == 11
    assert (link.take(), link.reading) == (client.puback(9), True)


async def test_a_packet_over_the_limit_ends_the_connection() -> None:
    house = House(max_body_bytes=1000)
    session, link = house.connect(level=5)
    session.received(client.publish(ME, b"x" * 1000, level=5)[:20])  # known by its header already
    assert (link.take(), link.closed) == (bytes((0xE0, 1, Reason.PACKET_TOO_LARGE)), True)


async def test_packets_that_do_not_end_fill_a_bounded_part_of_the_memory() -> None:
    house = House(max_in_flight_bytes=1_000_000, max_body_bytes=300_000)
    half = client.publish(ME, b"x" * 299_000)[:210_000]
    links = []
    for number in range(3):
        session, link = house.connect(client_id=str(number))
        session.received(half)
        links.append(link)
    assert [link.closed for link in links] == [False, True, True]  # 400 kB may be held


async def test_a_client_over_its_rate_waits_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(rate_limit_credential=50.0, rate_limit_credit_s=0.0)
    session, link = house.connect()
    session.received(client.publish(ME, b"1", 1, 1) + client.publish(ME, b"2", 1, 2))
    await settle()
    assert (house.broker.bodies, link.reading) == ([], False)  # CONNECT was the first request
    for _ in range(300):
        if len(house.broker.records) == 2:
            break
        await asyncio.sleep(0.02)
    await settle()
    assert link.take() == client.puback(1) + client.puback(2)
    assert link.reading


async def test_a_client_that_does_not_read_its_answers_is_not_read_either(house: House) -> None:
    session, link = house.connect()
    session.writable(False)
    assert not link.reading
    session.writable(True)
    assert link.reading


async def test_silence_beyond_one_and_a_half_keep_alives_ends_the_connection(house: House) -> None:
    session, link = house.connect(level=5, keep_alive=10)
    house.pass_time(14)
    session.received(client.PING)
    assert link.take() == b"\xd0\0"
    house.pass_time(14)
    assert not link.closed
    house.pass_time(2)
    assert (link.take(), link.closed) == (bytes((0xE0, 1, Reason.KEEP_ALIVE_TIMEOUT)), True)


async def test_no_keep_alive_means_for_ever_and_while_nobody_reads_no_clock_runs(house: House) -> None:
    _, silent = house.connect(keep_alive=0)
    house.pass_time(1e6)
    assert not silent.closed
    house.broker.holds = True
    session, link = house.connect(keep_alive=1, client_id="2")
    session.received(b"".join(client.publish(ME, b"{}", 0) for _ in range(limits.IN_FLIGHT)))
    await settle()
    house.pass_time(5)
    assert not link.closed


async def test_connect_must_come_soon_and_packets_must_end(house: House) -> None:
    session, link = house.enter()
    house.pass_time(limits.CONNECT_WITHIN_S - 1)
    session.received(client.connect("token-d")[:5])
    too_soon = link.closed
    house.pass_time(2)
    assert (too_soon, link.closed) == (False, True)
    session, link = house.connect(keep_alive=0)
    for _ in range(8):
        session.received(b"\x30\x7f\0\1"[:1] if not session._decoder.held else b"x")
        house.pass_time(9)
    assert link.closed


async def test_a_socket_that_does_not_close_is_torn_down(house: House) -> None:
    session, link = house.connect()
    session.received(client.DISCONNECT)
    too_soon = link.aborted
    house.pass_time(60)
    assert (too_soon, link.closed, link.aborted) == (False, True, True)


# --- stopping ------------------------------------------------------------------------------------------------------------


async def test_the_server_stops_after_what_is_in_flight_is_acknowledged(house: House) -> None:
    house.broker.holds = True
    five, link = house.connect(level=5)
    four, other = house.connect(client_id="4")
    five.received(client.publish(ME, b'{"n":1}', 1, 1, level=5))
    await settle()
    stopping = asyncio.ensure_future(house.server.stop())
    await settle()
    assert (link.reading, link.closed) == (False, False)
    five.received(client.publish(ME, b'{"n":2}', 1, 2, level=5))  # was in the socket already
    await house.broker.answer(0)
    for session in (five, four):
        house.server.leave(session)
    await asyncio.wait_for(stopping, 5)
    assert link.take() == client.puback(1) + bytes((0xE0, 1, Reason.SERVER_SHUTTING_DOWN))
    assert (link.closed, other.take(), other.closed) == (True, b"", True)
    assert house.broker.bodies == [b'{"n":1}']
