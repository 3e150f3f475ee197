"""Bytes to packets, incrementally: what a client of MQTT 3.1, 3.1.1 or 5 may send to a server. Pure, no sockets, no clock.

Strict where the standard says MUST and a server could be misled; lenient where real devices are (DUP with QoS 0, lengths
written with more digits than needed).
"""

from struct import Struct

from ingress.mqtt.packets import (
    V3_1,
    V3_1_1,
    V5,
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
)
from ingress.mqtt.reader import (
    IN_CONNECT,
    IN_DISCONNECT,
    IN_PUBLISH,
    IN_PUBREL,
    IN_SUBSCRIBE,
    IN_UNSUBSCRIBE,
    IN_WILL,
    Reader,
)

LARGEST_CONNECT = 128 * 1024
"""Room for a will of 64 KiB beside the rest; before it is known who speaks, nobody may fill more memory."""
_U16 = Struct(">H").unpack_from
_PING, _BYE = Ping(), Disconnect()
_NAMES = {b"MQIsdp": (V3_1,), b"MQTT": (V3_1_1, V5)}


class UnsupportedVersion(Violation):
    """A protocol level nobody here speaks: told so in the form of 3.1.1, which every client understands (3.1.2.2)."""


class Decoder:
    """One connection's bytes. `feed` what came, then take packets with `next` until there is none.

    Taking is up to the caller, so that it can stop at a limit and leave the rest where it is.
    """

    __slots__ = ("_at", "_data", "level", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.level = 0
        """0 until CONNECT."""
        self._data: bytes | bytearray = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        held = self._data
        if self._at == len(held):
            self._data, self._at = data, 0
            return
        if isinstance(held, bytes):
            held = self._data = bytearray(memoryview(held)[self._at :])
        else:
            del held[: self._at]
        held += data
        self._at = 0

    @property
    def held(self) -> int:
        """Bytes that are not taken yet."""
        return len(self._data) - self._at

    def next(self) -> Packet | None:
        """Return the next packet, or nothing when its end has not come yet. Raises Violation; then all is over."""
        data, at = self._data, self._at
        if len(data) - at < 2:
            return None
        first, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            header = _long_size(data, at, size & 0x7F)
            if header is None:
                return None
            size, at = header
        if not self.level and first != 0x10:
            raise Violation(Reason.PROTOCOL_ERROR, "the first packet is no CONNECT")
        if size > (self.limit if self.level else min(self.limit, LARGEST_CONNECT)):
            raise Violation(Reason.PACKET_TOO_LARGE, f"a packet of {size} bytes")
        stop = at + size
        if stop > len(data):
            return None
        self._at = stop
        if first & 0xF0 == 0x30:
            packet: Packet = self._publish(data, first >> 1 & 3, at, stop)
        else:
            packet = self._other(first, Reader(bytes(data[at:stop])))
        if stop == len(data):
            self._data, self._at = b"", 0
        return packet

    def _publish(self, data: bytes | bytearray, qos: int, at: int, stop: int) -> Publish:
        """Read PUBLISH without a Reader, as far as it has no properties: nearly every packet is one."""
        start = at + 2
        at = start + _U16(data, at)[0] if start <= stop else stop + 1
        packet_id = 0
        if qos and at + 2 <= stop:
            packet_id = _U16(data, at)[0]
        payload = at + 2 if qos else at
        if payload > stop or qos == 3:
            raise Violation(Reason.MALFORMED, "a PUBLISH that ends within its header, or with QoS 3")
        topic = _topic(data[start:at])
        if qos and not packet_id:
            raise Violation(Reason.PROTOCOL_ERROR, "packet identifier 0")
        content_type = ""
        if self.level == V5:
            content_type, payload = _publish_properties(data, payload, stop)
        if not topic:  # MQTT 5 allows it with a topic alias, which is never granted
            raise Violation(Reason.PROTOCOL_ERROR, "an empty topic")
        return Publish(topic, bytes(data[payload:stop]), qos, packet_id, content_type)

    def _other(self, first: int, reader: Reader) -> Packet:
        if first == 0x10:
            if self.level:
                raise Violation(Reason.PROTOCOL_ERROR, "a second CONNECT")
            connect = _connect(reader)
            self.level = connect.level
            return connect
        packet: Packet
        v5 = self.level == V5
        if first == 0x62:
            packet = _release(reader, v5)
        elif first == 0xC0:
            packet = _PING
        elif first == 0x82:
            packet = _subscribe(reader, v5)
        elif first == 0xA2:
            packet = _unsubscribe(reader, v5)
        elif first == 0xE0:
            packet = _disconnect(reader, v5)
        else:  # acknowledgements of what was never sent, the server's packets, AUTH, reserved kinds and flags
            raise Violation(Reason.PROTOCOL_ERROR, f"a packet that begins with {first:#04x}")
        reader.end()
        return packet


def _long_size(data: bytes | bytearray, at: int, size: int) -> tuple[int, int] | None:
    """Read the other digits of a length; nothing when they have not come yet."""
    for shift in (7, 14, 21):
        if at == len(data):
            return None
        digit = data[at]
        at += 1
        size |= (digit & 0x7F) << shift
        if digit < 0x80:
            return size, at
    raise Violation(Reason.MALFORMED, "a length of more than four digits")


def _topic(raw: bytes | bytearray) -> str:
    try:
        topic = str(raw, "utf-8")
    except UnicodeDecodeError:
        raise Violation(Reason.MALFORMED, "a topic that is not UTF-8") from None
    if "+" in topic or "#" in topic or "\0" in topic:
        raise Violation(Reason.TOPIC_NAME_INVALID, "a topic with wildcards or a null character")
    return topic


def _publish_properties(data: bytes | bytearray, at: int, stop: int) -> tuple[str, int]:
    """Return the content type, and where the payload begins."""
    if at < stop and not data[at]:
        return "", at + 1
    reader = Reader(bytes(data[at:stop]))
    properties = reader.properties(IN_PUBLISH)
    if 0x23 in properties:
        raise Violation(Reason.TOPIC_ALIAS_INVALID, "a topic alias")
    return str(properties.get(0x03, "")), at + reader.at


def _connect(reader: Reader) -> Connect:
    levels = _NAMES.get(reader.binary())
    if levels is None:
        raise Violation(Reason.UNSUPPORTED_VERSION, "another protocol")
    level = reader.u8()
    if level not in levels:
        raise UnsupportedVersion(Reason.UNSUPPORTED_VERSION, f"protocol level {level}")
    flags = reader.u8()
    has_will, will_qos = flags & 0x04, flags >> 3 & 3
    if flags & 0x01 or will_qos == 3 or (not has_will and flags & 0x38):
        raise Violation(Reason.MALFORMED, "reserved flags in CONNECT")
    if level < V5 and flags & 0xC0 == 0x40:
        raise Violation(Reason.MALFORMED, "a password without a user name")
    keep_alive_s = reader.u16()
    properties = reader.properties(IN_CONNECT) if level == V5 else {}
    for name in (0x21, 0x27):
        if properties.get(name) == 0:
            raise Violation(Reason.PROTOCOL_ERROR, "a maximum of 0")
    client_id = reader.text()
    if has_will:
        if level == V5:
            reader.properties(IN_WILL)
        reader.text()
        reader.binary()
    username = reader.text() if flags & 0x80 else ""
    if flags & 0x40:
        reader.binary()
    reader.end()
    return Connect(
        level=level,
        clean=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        client_id=client_id,
        username=username,
        authentication_method=str(properties.get(0x15, "")),
        wants_session=bool(properties.get(0x11)),
    )


def _release(reader: Reader, v5: bool) -> Release:
    packet_id = reader.packet_id()
    if v5 and reader.left:
        reader.u8()
        if reader.left:
            reader.properties(IN_PUBREL)
    return Release(packet_id)


def _subscribe(reader: Reader, v5: bool) -> Subscribe:
    packet_id = reader.packet_id()
    if v5:
        reader.properties(IN_SUBSCRIBE)
    filters = []
    while reader.left:
        name = reader.text()
        options = reader.u8()
        if options & 3 == 3 or options & (0xC0 if v5 else 0xFC) or options >> 4 & 3 == 3:
            raise Violation(Reason.MALFORMED, "reserved options in SUBSCRIBE")
        filters.append((name, options & 3))
    if not filters:
        raise Violation(Reason.PROTOCOL_ERROR, "a SUBSCRIBE without filters")
    return Subscribe(packet_id, tuple(filters))


def _unsubscribe(reader: Reader, v5: bool) -> Unsubscribe:
    packet_id = reader.packet_id()
    if v5:
        reader.properties(IN_UNSUBSCRIBE)
    filters = []
    while reader.left:
        filters.append(reader.text())
    if not filters:
        raise Violation(Reason.PROTOCOL_ERROR, "an UNSUBSCRIBE without filters")
    return Unsubscribe(packet_id, tuple(filters))


def _disconnect(reader: Reader, v5: bool) -> Disconnect:
    if v5 and reader.left:
        reader.u8()
        if reader.left:
            reader.properties(IN_DISCONNECT)
    return _BYE
