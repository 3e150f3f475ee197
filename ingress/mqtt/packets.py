"""What clients send, as values, and what the server answers, as bytes. Section numbers are those of the MQTT 5 standard."""

from collections.abc import Sequence
from enum import IntEnum
from struct import pack

import msgspec

V3_1, V3_1_1, V5 = 3, 4, 5
"""Protocol levels. 3.1 differs from 3.1.1 in its name alone, and is what many cellular modems speak unless told otherwise."""


class Reason(IntEnum):
    """Reason codes of MQTT 5 (2.4) that are used here; `connack` maps the ones of CONNACK to 3.1.1."""

    SUCCESS = 0x00
    UNSPECIFIED = 0x80
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_ERROR = 0x83
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    NOT_AUTHORIZED = 0x87
    UNAVAILABLE = 0x88
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    PAYLOAD_FORMAT_INVALID = 0x99
    SHARED_SUBSCRIPTIONS_UNSUPPORTED = 0x9E


class Violation(Exception):
    """The client broke the protocol: its connection is closed. The text never quotes what it sent."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Quiet(msgspec.Struct, frozen=True, gc=False):
    """Shows its kind only: user names, topics and filters hold tokens."""

    def __repr__(self) -> str:
        return type(self).__name__


class Connect(_Quiet, frozen=True, gc=False):
    """CONNECT (3.1). The will and the password are read and forgotten."""

    level: int
    clean: bool
    keep_alive_s: int
    client_id: str
    username: str = ""
    authentication_method: str = ""
    wants_session: bool = False
    """Asked to have its session kept (MQTT 5: session expiry above 0)."""


class Publish(_Quiet, frozen=True, gc=False):
    """PUBLISH (3.3). `packet_id` is 0 for QoS 0."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    content_type: str = ""


class Release(_Quiet, frozen=True, gc=False):
    """PUBREL (3.6)."""

    packet_id: int


class Subscribe(_Quiet, frozen=True, gc=False):
    """SUBSCRIBE (3.8): topic filters with the QoS asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Unsubscribe(_Quiet, frozen=True, gc=False):
    """UNSUBSCRIBE (3.10)."""

    packet_id: int
    filters: tuple[str, ...]


class Ping(_Quiet, frozen=True, gc=False):
    """PINGREQ (3.12)."""


class Disconnect(_Quiet, frozen=True, gc=False):
    """DISCONNECT (3.14)."""


Packet = Connect | Publish | Release | Subscribe | Unsubscribe | Ping | Disconnect

PUBACK, PUBREC, PUBCOMP = 0x40, 0x50, 0x70
PINGRESP = b"\xd0\x00"

_CONNACK_3_1_1 = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_VERSION: 1,
    Reason.CLIENT_ID_NOT_VALID: 2,
    Reason.UNAVAILABLE: 3,
    Reason.NOT_AUTHORIZED: 5,
}
_REFUSED_3_1_1 = 0x80


def acknowledgement(kind: int, packet_id: int, reason: int = 0) -> bytes:
    """Encode PUBACK, PUBREC or PUBCOMP. A `reason` other than 0 exists in MQTT 5 only."""
    return pack(">BBHB", kind, 3, packet_id, reason) if reason else pack(">BBH", kind, 2, packet_id)


def connack(level: int, reason: Reason, properties: bytes = b"") -> bytes:
    """Encode CONNACK. The session is never present (3.1.1 as 5). A reason that 3.1.1 lacks reads 3, server unavailable."""
    if level < V5:
        return bytes((0x20, 2, 0, _CONNACK_3_1_1.get(reason, 3)))
    return bytes((0x20, 3 + len(properties), 0, reason, len(properties))) + properties


def connack_properties(receive_maximum: int, largest_packet: int, client_id: str, ends_session: bool) -> bytes:
    """Encode what a client of MQTT 5 may rely on (3.2.2.3); everything else is the standard's default, topic aliases 0."""
    fields = [
        pack(">BH", 0x21, receive_maximum),
        pack(">BI", 0x27, largest_packet),
        b"\x29\x00",  # no subscription identifiers
        b"\x2a\x00",  # no shared subscriptions
    ]
    if ends_session:
        fields.append(pack(">BI", 0x11, 0))
    if client_id:
        assigned = client_id.encode()
        fields.append(pack(">BH", 0x12, len(assigned)) + assigned)
    return b"".join(fields)


def disconnect(reason: Reason) -> bytes:
    """Encode DISCONNECT from the server, which exists in MQTT 5 only."""
    return bytes((0xE0, 1, reason))


def suback(level: int, packet_id: int, codes: Sequence[int]) -> bytes:
    """Encode SUBACK: per filter the QoS granted, or a reason from 0x80 on (3.1.1 knows just 0x80)."""
    known = bytes(codes) if level >= V5 else bytes(min(code, _REFUSED_3_1_1) for code in codes)
    return _listed(0x90, level, packet_id, known)


def unsuback(level: int, packet_id: int, count: int) -> bytes:
    """Encode UNSUBACK."""
    return _listed(0xB0, level, packet_id, bytes(count) if level >= V5 else b"")


def _listed(kind: int, level: int, packet_id: int, codes: bytes) -> bytes:
    content = pack(">H", packet_id) + (b"\x00" if level >= V5 else b"") + codes
    return bytes((kind,)) + length(len(content)) + content


def length(size: int) -> bytes:
    """Encode a variable byte integer (1.5.5)."""
    digits = bytearray()
    while True:
        size, digit = size >> 7, size & 0x7F
        digits.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(digits)
