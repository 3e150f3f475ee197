"""Any bytes, in any pieces: packets or a violation, always the same, never anything else."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingress.mqtt.codec import LARGEST_CONNECT, Decoder, UnsupportedVersion
from ingress.mqtt.packets import (
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Reason,
    Release,
    Subscribe,
    Unsubscribe,
    Violation,
    length,
)
from tests.ingress.mqtt import packets as client

LIMIT = 300_000
TOPIC_CHARACTERS = st.characters(exclude_characters="\0+#", codec="utf-8")
topics = st.text(TOPIC_CHARACTERS, min_size=1, max_size=30)
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
ids = st.integers(1, 65_535)
levels = st.sampled_from((3, 4, 5))


def decode(data: bytes, cuts: list[int] | None = None) -> tuple[list[Packet], Reason | None]:
    """Decode in the pieces that `cuts` makes; return the packets, and the reason of the violation that ended it."""
    decoder = Decoder(LIMIT)
    found: list[Packet] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or ())})
    try:
        for start, stop in pairwise(edges):
            decoder.feed(data[start:stop])
            while (packet := decoder.next()) is not None:
                found.append(packet)
    except Violation as violation:
        return found, violation.reason
    return found, None


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Packet]]:
    """A CONNECT and some packets, as bytes and as what they mean."""
    level = draw(levels)
    client_id, token, keep_alive = draw(texts), draw(texts), draw(st.integers(0, 65_535))
    clean, will = draw(st.booleans()), draw(st.none() | st.binary(max_size=20))
    data = client.connect(token, level=level, client_id=client_id, keep_alive=keep_alive, clean=clean, will=will)
    meant: list[Packet] = [
        Connect(level=level, clean=clean, keep_alive_s=keep_alive, client_id=client_id, username=token)
    ]
    for _ in range(draw(st.integers(0, 6))):
        more, packet = draw(st.one_of(_publishes(level), _releases(level), _subscriptions(level), _plain))
        data += more
        meant.append(packet)
    return data, meant


@st.composite
def _publishes(draw: st.DrawFn, level: int) -> tuple[bytes, Packet]:
    topic, payload, qos = draw(topics), draw(st.binary(max_size=300)), draw(st.integers(0, 2))
    packet_id = draw(ids) if qos else 0
    flags = draw(st.sampled_from((0, 1, 8, 9)))
    kind, extra = "", b""
    if level == 5 and draw(st.booleans()):
        kind = draw(texts)
        extra = b"\x03" + client.text(kind) + b"\x26" + client.text("a") + client.text("b") + b"\x02\0\0\0\1"
    data = client.publish(topic, payload, qos, packet_id, level=level, flags=flags, extra=extra)
    return data, Publish(topic, payload, qos, packet_id, kind)


@st.composite
def _releases(draw: st.DrawFn, level: int) -> tuple[bytes, Packet]:
    packet_id = draw(ids)
    rest = draw(st.sampled_from((b"", b"\x92", b"\x92\x00"))) if level == 5 else b""
    return client.release(packet_id, rest), Release(packet_id)


@st.composite
def _subscriptions(draw: st.DrawFn, level: int) -> tuple[bytes, Packet]:
    packet_id = draw(ids)
    names = draw(st.lists(texts, min_size=1, max_size=4))
    if draw(st.booleans()):
        return client.unsubscribe(packet_id, *names, level=level), Unsubscribe(packet_id, tuple(names))
    filters = tuple((name, draw(st.integers(0, 2))) for name in names)
    return client.subscribe(packet_id, *filters, level=level), Subscribe(packet_id, filters)


_plain: st.SearchStrategy[tuple[bytes, Packet]] = st.sampled_from(
    ((client.PING, Ping()), (client.DISCONNECT, Disconnect()))
)


@given(conversations(), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_a_client_means_is_read_however_the_bytes_are_cut(
    conversation: tuple[bytes, list[Packet]], cuts: list[int]
) -> None:
    data, meant = conversation
    assert decode(data, cuts) == (meant, None)


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5), st.booleans())
@example(b"\x30\xff\xff\xff\xff\x01", [], True)
@example(b"\x30\x00", [], True)
@example(b"\x82\x05\x00\x01\x00\x01a", [2], True)
def test_any_bytes_are_packets_or_a_violation_however_they_are_cut(data: bytes, cuts: list[int], greeted: bool) -> None:
    data = client.connect(level=5) + data if greeted else data
    assert decode(data, cuts) == decode(data)


@given(conversations(), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_conversation_is_packets_or_a_violation(
    conversation: tuple[bytes, list[Packet]], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(conversation[0])
    for place, value in damage:
        data[place % len(data)] = value
    assert decode(bytes(data), [3, 17, 40]) == decode(bytes(data))


@given(conversations(), st.data())
def test_a_conversation_that_breaks_off_is_what_came_completely(
    conversation: tuple[bytes, list[Packet]], data: st.DataObject
) -> None:
    sent, meant = conversation
    found, violation = decode(sent[: data.draw(st.integers(0, len(sent) - 1))])
    assert violation is None
    assert found == meant[: len(found)]


@given(st.integers(0, 268_435_455))
def test_lengths_are_written_as_the_standard_says(size: int) -> None:
    digits = length(size)
    assert len(digits) == next(each for each in (1, 2, 3, 4) if size < 128**each)
    assert sum((digit & 127) << 7 * at for at, digit in enumerate(digits)) == size


V5 = client.connect(level=5)
V4 = client.connect()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(client.PING, Reason.PROTOCOL_ERROR, id="no CONNECT first"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", Reason.PROTOCOL_ERROR, id="HTTP"),
        pytest.param(V4 + V4, Reason.PROTOCOL_ERROR, id="CONNECT twice"),
        pytest.param(client.connect(level=6), Reason.UNSUPPORTED_VERSION, id="MQTT 6"),
        pytest.param(client.packet(0x10, client.text("AMQP") + b"\4\2\0\0\0\0"), Reason.UNSUPPORTED_VERSION, id="AMQP"),
        pytest.param(V4 + b"\x36\x03\0\1a", Reason.MALFORMED, id="QoS 3"),
        pytest.param(V4 + client.publish("a/+/b"), Reason.TOPIC_NAME_INVALID, id="wildcard +"),
        pytest.param(V4 + client.publish("a/#"), Reason.TOPIC_NAME_INVALID, id="wildcard #"),
        pytest.param(V4 + client.publish("a\0b"), Reason.TOPIC_NAME_INVALID, id="null character"),
        pytest.param(V4 + client.packet(0x32, b"\0\1\xff\0\1"), Reason.MALFORMED, id="topic not UTF-8"),
        pytest.param(V4 + client.packet(0x30, b"\0\3\xed\xa0\x80"), Reason.MALFORMED, id="a lone surrogate"),
        pytest.param(V4 + client.publish(""), Reason.PROTOCOL_ERROR, id="empty topic"),
        pytest.param(V4 + client.publish("a", packet_id=0), Reason.PROTOCOL_ERROR, id="packet id 0"),
        pytest.param(V5 + client.publish("", level=5, extra=b"\x23\0\1"), Reason.TOPIC_ALIAS_INVALID, id="topic alias"),
        pytest.param(
            V5 + client.publish("a", level=5, extra=b"\x0b\1"), Reason.PROTOCOL_ERROR, id="property of another packet"
        ),
        pytest.param(V5 + client.publish("a", level=5, extra=b"\1\0\1\0"), Reason.PROTOCOL_ERROR, id="property twice"),
        pytest.param(V5 + client.publish("a", level=5, extra=b"\x02\0"), Reason.MALFORMED, id="property cut off"),
        pytest.param(client.connect(level=5, extra=b"\x21\0\0"), Reason.PROTOCOL_ERROR, id="receive maximum 0"),
        pytest.param(client.packet(0x10, client.text("MQTT") + b"\4\3\0\0\0\0"), Reason.MALFORMED, id="reserved flag"),
        pytest.param(client.connect(None, password=b"p"), Reason.MALFORMED, id="password without user name"),
        pytest.param(V4 + client.puback(1), Reason.PROTOCOL_ERROR, id="PUBACK of nothing"),
        pytest.param(V4 + b"\x60\2\0\1", Reason.PROTOCOL_ERROR, id="PUBREL without its flags"),
        pytest.param(V4 + client.subscribe(1), Reason.PROTOCOL_ERROR, id="SUBSCRIBE to nothing"),
        pytest.param(V4 + client.subscribe(1, ("a", 3)), Reason.MALFORMED, id="QoS 3 asked for"),
        pytest.param(V4 + client.packet(0xC0, b"x"), Reason.MALFORMED, id="a ping with content"),
        pytest.param(V4 + b"\xf0\0", Reason.PROTOCOL_ERROR, id="AUTH"),
        pytest.param(V4 + b"\x30\xff\xff\xff\xff\x7f", Reason.MALFORMED, id="a length of five digits"),
        pytest.param(V4 + b"\x30\xff\xff\x7f", Reason.PACKET_TOO_LARGE, id="a packet over the limit"),
        pytest.param(b"\x10" + length(LARGEST_CONNECT + 1), Reason.PACKET_TOO_LARGE, id="a huge CONNECT"),
    ],
)
def test_violations(data: bytes, reason: Reason) -> None:
    assert decode(data)[1] is reason


def test_a_level_nobody_speaks_is_told_apart_from_another_protocol() -> None:
    decoder = Decoder(LIMIT)
    decoder.feed(client.connect(level=7))
    with pytest.raises(UnsupportedVersion):
        decoder.next()


def test_nothing_a_client_sent_shows_in_logs_of_packets_or_violations() -> None:
    # AC-c07
    shown = [repr(packet) for packet in decode(client.connect("secret") + client.publish("devices/secret/x"))[0]]
    decoder = Decoder(LIMIT)
    decoder.feed(V4 + client.publish("devices/secret/#"))
    decoder.next()
    with pytest.raises(Violation) as raised:
        decoder.next()
    assert len(shown) == 2
    assert not [each for each in (*shown, str(raised.value), repr(raised.value)) if "secret" in each]


def test_a_large_packet_in_small_pieces_costs_no_more_than_its_size() -> None:
    sent = client.connect() + client.publish("t", b"x" * 8_000_000)
    decoder = Decoder(9_000_000)
    started = time.process_time()
    found = []
    for at in range(0, len(sent), 500):
        decoder.feed(sent[at : at + 500])
        while (packet := decoder.next()) is not None:
            found.append(packet)
    assert time.process_time() - started < 2  # quadratic, it would take minutes
    assert isinstance(found[1], Publish)
    assert len(found[1].payload) == 8_000_000
    assert decoder.held == 0
