"""The fields packets are made of (MQTT 5, 1.5 and 2.2.2), read in order. Reading beyond the end raises Violation."""

from collections.abc import Callable
from struct import Struct
from typing import Any

from ingress.mqtt.packets import Reason, Violation

_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from


class Reader:
    """Reads one packet's content."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.at

    def _take(self, count: int) -> int:
        at = self.at
        if at + count > len(self._data):
            raise Violation(Reason.MALFORMED, "a packet that ends within a field")
        self.at = at + count
        return at

    def u8(self) -> int:
        """Read one byte."""
        return self._data[self._take(1)]

    def u16(self) -> int:
        """Read two bytes."""
        return int(_U16(self._data, self._take(2))[0])

    def u32(self) -> int:
        """Read four bytes."""
        return int(_U32(self._data, self._take(4))[0])

    def varint(self) -> int:
        """Read a variable byte integer of up to four digits."""
        value = 0
        for shift in (0, 7, 14, 21):
            digit = self.u8()
            value |= (digit & 0x7F) << shift
            if digit < 0x80:
                return value
        raise Violation(Reason.MALFORMED, "a number of more than four digits")

    def binary(self) -> bytes:
        """Read length-prefixed bytes."""
        size = self.u16()
        at = self._take(size)
        return self._data[at : at + size]

    def text(self) -> str:
        """Read length-prefixed UTF-8 without null characters (1.5.4)."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise Violation(Reason.MALFORMED, "a text that is not UTF-8") from None
        if "\0" in text:
            raise Violation(Reason.MALFORMED, "a null character in a text")
        return text

    def pair(self) -> tuple[str, str]:
        """Read a name and a value."""
        return self.text(), self.text()

    def packet_id(self) -> int:
        """Read a packet identifier, which is never 0 (2.2.1)."""
        found = self.u16()
        if not found:
            raise Violation(Reason.PROTOCOL_ERROR, "packet identifier 0")
        return found

    def properties(self, allowed: frozenset[int]) -> dict[int, Any]:
        """Read properties by identifier. One that does not belong here, or comes twice, is a Violation (2.2.2.2)."""
        size = self.varint()
        stop = self.at + size
        if size > self.left:
            raise Violation(Reason.MALFORMED, "properties longer than their packet")
        found: dict[int, Any] = {}
        while self.at < stop:
            name = self.varint()
            if name not in allowed:
                raise Violation(Reason.PROTOCOL_ERROR, "a property that does not belong here")
            value = _READ[name](self)
            if name == _USER:
                continue
            if name in found:
                raise Violation(Reason.PROTOCOL_ERROR, "a property that comes twice")
            found[name] = value
        if self.at != stop:
            raise Violation(Reason.MALFORMED, "a property longer than all of them")
        return found

    def end(self) -> None:
        """Raise Violation when something is left."""
        if self.left:
            raise Violation(Reason.MALFORMED, "more bytes than the packet has fields")


_USER = 0x26
_READ: dict[int, Callable[[Reader], Any]] = {
    **dict.fromkeys((0x01, 0x17, 0x19), Reader.u8),
    **dict.fromkeys((0x21, 0x22, 0x23), Reader.u16),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), Reader.u32),
    **dict.fromkeys((0x03, 0x08, 0x15, 0x1F), Reader.text),
    **dict.fromkeys((0x09, 0x16), Reader.binary),
    0x0B: Reader.varint,
    _USER: Reader.pair,
}

IN_CONNECT = frozenset((0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x27, _USER))
IN_WILL = frozenset((0x01, 0x02, 0x03, 0x08, 0x09, 0x18, _USER))
IN_PUBLISH = frozenset((0x01, 0x02, 0x03, 0x08, 0x09, 0x23, _USER))
IN_PUBREL = frozenset((0x1F, _USER))
IN_SUBSCRIBE = frozenset((0x0B, _USER))
IN_UNSUBSCRIBE = frozenset((_USER,))
IN_DISCONNECT = frozenset((0x11, 0x1F, _USER))
