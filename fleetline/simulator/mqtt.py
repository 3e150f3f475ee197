"""MQTT as devices speak it: the client's half of 3.1, 3.1.1 and 5, as far as a device that publishes needs it.

Written from the standard and not with the server's code: a mistake in one does not hide in the other. The session is the
client's own: packet identifiers and how far QoS 2 got outlive the connection (MQTT-4.4.0-1).
"""

from collections.abc import Mapping, Sequence
from struct import pack, unpack_from

from fleetline.simulator.links import OPENING, Heard, Message
from fleetline.simulator.profile import Outgoing

LEVELS = (4, 5, 3)
"""Protocol levels of the devices in turn: 3.1.1, 5 and 3.1."""
V3_1, V5 = 3, 5
_KEPT_SESSION = b"\x05\x11\x00\x00\x0e\x10"
"""Properties of CONNECT: the session expires after an hour."""
_CONNACK, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 0x20, 0x40, 0x50, 0x62, 0x70
_UNAVAILABLE = {3, 0x88}
"""CONNACK: 3.1.1's and 5's word for it."""
_BAD = 0x80


class MqttConversation:
    """One device's session. Messages go to `Outgoing.path`, a token in it included, with `Outgoing.qos`."""

    def __init__(self, _: str, outgoing: Outgoing, before: int) -> None:
        self.level = LEVELS[before % len(LEVELS)]
        self._token = outgoing.token
        self._client_id = outgoing.sender.replace("-", "")[-20:]
        self._held = b""

    def open(self) -> bytes:
        """Return CONNECT: the session is to be kept, the token is the user name."""
        self._held = b""
        content = _text("MQIsdp" if self.level == V3_1 else "MQTT") + bytes((self.level, 0x80, 0, 0))
        if self.level == V5:
            content += _KEPT_SESSION
        return _packet(0x10, content + _text(self._client_id) + _text(self._token))

    def message(self, message: Message) -> bytes:
        """Return PUBLISH, marked when it is a repetition; or PUBREL when the server has the message already."""
        if message.is_received:
            return _release(message.key)
        outgoing = message.outgoing
        content = _text(outgoing.path.replace("{deviceToken}", self._token)) + pack(">H", message.key)
        if self.level == V5:
            content += b"\x00"
        return _packet(0x30 | message.is_repeated << 3 | outgoing.qos << 1, content + outgoing.body)

    def received(self, data: bytes, messages: Mapping[int, Message]) -> tuple[Sequence[Heard], bytes]:
        """Take packets. Raises ValueError for one that no server sends."""
        self._held += data
        heard: list[Heard] = []
        answers = b""
        while (packet := _first_packet(self._held)) is not None:
            kind, content, self._held = packet
            if kind == _CONNACK:
                heard.append(_welcome(content[1]))
            elif kind in {_PUBACK, _PUBREC, _PUBCOMP}:
                key, reason = unpack_from(">H", content)[0], content[2] if len(content) > 2 else 0
                if kind == _PUBREC and reason < _BAD:
                    if key in messages:
                        messages[key].is_received = True
                    answers += _release(key)
                else:
                    heard.append(_settled(kind, key, reason))
        return heard, answers


def _welcome(code: int) -> Heard:
    if not code:
        return Heard(OPENING, 200)
    return Heard(OPENING, 503 if code in _UNAVAILABLE else 401, f"CONNACK {code:#04x}")


def _settled(kind: int, key: int, reason: int) -> Heard:
    """Read PUBACK, PUBCOMP or a PUBREC that refuses. A PUBCOMP of an identifier the server forgot ends the handshake too."""
    name = {_PUBACK: "PUBACK", _PUBREC: "PUBREC", _PUBCOMP: "PUBCOMP"}[kind]
    if kind == _PUBCOMP or reason < _BAD:
        return Heard(key, 200, name)
    return Heard(key, 400, f"{name} {reason:#04x}")


def _release(key: int) -> bytes:
    return _packet(_PUBREL, pack(">H", key))


def _text(value: str) -> bytes:
    raw = value.encode()
    return pack(">H", len(raw)) + raw


def _packet(first: int, content: bytes) -> bytes:
    size, digits = len(content), bytearray()
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    digits.append(size)
    return bytes((first,)) + digits + content


def _first_packet(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first packet's kind and content, and what follows it; nothing when it is not complete."""
    size = 0
    for at, digit in enumerate(data[1:5], 1):
        size |= (digit & 127) << 7 * (at - 1)
        if digit < 128:
            stop = at + 1 + size
            return None if stop > len(data) else (data[0], data[at + 1 : stop], data[stop:])
    if len(data) >= 5:
        raise ValueError("a length of more than four digits")
    return None
