"""A client's half of the protocol, written from the standard and not from the server's code."""

from struct import pack


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return pack(">H", len(raw)) + raw


def packet(first: int, content: bytes) -> bytes:
    size, digits = len(content), b""
    while size > 127:
        digits += bytes((size & 127 | 128,))
        size >>= 7
    return bytes((first,)) + digits + bytes((size,)) + content


def properties(content: bytes = b"") -> bytes:
    return packet(0, content)[1:]


def connect(
    token: str | None = "t",
    *,
    level: int = 4,
    client_id: str = "c",
    keep_alive: int = 60,
    clean: bool = True,
    will: bytes | None = None,
    password: bytes | None = None,
    extra: bytes = b"",
) -> bytes:
    flags = (2 if clean else 0) | (4 if will is not None else 0)
    flags |= (128 if token is not None else 0) | (64 if password is not None else 0)
    name = text("MQIsdp" if level == 3 else "MQTT")
    content = name + bytes((level, flags)) + pack(">H", keep_alive)
    if level == 5:
        content += properties(extra)
    content += text(client_id)
    if will is not None:
        content += (properties() if level == 5 else b"") + text("will/topic") + text(will)
    if token is not None:
        content += text(token)
    if password is not None:
        content += text(password)
    return packet(0x10, content)


def publish(
    topic: str,
    payload: bytes = b"{}",
    qos: int = 1,
    packet_id: int = 1,
    *,
    level: int = 4,
    flags: int = 0,
    extra: bytes = b"",
) -> bytes:
    content = text(topic) + (pack(">H", packet_id) if qos else b"")
    if level == 5:
        content += properties(extra)
    return packet(0x30 | qos << 1 | flags, content + payload)


def release(packet_id: int, rest: bytes = b"") -> bytes:
    return packet(0x62, pack(">H", packet_id) + rest)


def subscribe(packet_id: int, *filters: tuple[str, int], level: int = 4) -> bytes:
    content = pack(">H", packet_id) + (properties() if level == 5 else b"")
    return packet(0x82, content + b"".join(text(name) + bytes((options,)) for name, options in filters))


def unsubscribe(packet_id: int, *filters: str, level: int = 4) -> bytes:
    content = pack(">H", packet_id) + (properties() if level == 5 else b"")
    return packet(0xA2, content + b"".join(text(name) for name in filters))


PING = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def puback(packet_id: int, reason: int = 0, kind: int = 0x40) -> bytes:
    return packet(kind, pack(">H", packet_id) + (bytes((reason,)) if reason else b""))
