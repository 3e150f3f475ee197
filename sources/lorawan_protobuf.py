"""Protobuf bodies of LoRaWAN networks, decoded into the JSON that the same network writes for the same message.

So one `read` serves both, and a network that is switched from JSON to protobuf gives the same records. The messages are
stated in `.proto` files of our own (the published field numbers), read here when the first such body comes: no compiler
and no generated code. What a newer protocol adds is kept as `field_<number>`.
"""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import Any

from schemas.times import SECOND_US, format_us
from sources.contract import Request
from sources.errors import Unreadable
from sources.proto_file import parse, well_known_files
from sources.values import json_items

NOT_PROTOBUF = "not_protobuf"
LARGEST = 1 << 20
"""A frame is at most 242 bytes and heard by some tens of gateways; beyond this a body is made to cost memory."""
_EARLIEST_S, _LATEST_S = -62_135_596_800, 253_402_300_799
_NANO = 1_000_000_000


def is_protobuf(content_type: str) -> bool:
    """Tell whether a content type announces protobuf: both networks say `application/octet-stream` (AC-a34)."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/octet-stream" or kind.endswith("protobuf")


def items(request: Request, decode: Callable[[bytes], dict[str, Any] | None]) -> list[Any]:
    """Split a body that is JSON or protobuf, whatever its content type says; that only decides what is tried first.

    Raises Unreadable("not_protobuf") when it is neither and was announced as protobuf, else Unreadable("not_json").
    """
    body = request.body
    announced = body[:1] != b"{" and is_protobuf(request.content_type)
    if announced and body and not body.isspace():
        found = decode(body) if len(body) <= LARGEST else None
        if found is not None:
            return [found]
    try:
        return json_items(request)
    except Unreadable:
        found = decode(body) if not announced and len(body) <= LARGEST else None
        if found is not None:
            return [found]
        if announced or is_protobuf(request.content_type):
            raise Unreadable(NOT_PROTOBUF, "neither JSON nor a message of this network that names a device") from None
        raise


def first_field(body: bytes, number: int) -> bytes:
    """Return the first length-delimited field called `number` of a message, without decoding it; never raises.

    For the edge, which only needs to know whose message it is (the ordering key).
    """
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(body, at)
        elif kind == 2:
            length, at = _varint(body, at)
            if tag >> 3 == number:
                return body[at : at + length]
            at += length
        elif kind in {1, 5}:
            at += 8 if kind == 1 else 4
        else:
            break
    return b""


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 64:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, len(body)


@dataclass(frozen=True)
class Dialect:
    """How a network writes its protobuf messages as JSON."""

    camel_case: bool
    zone: str
    """`+00:00` or `Z`, at the end of times."""
    whole_numbers: bool
    """Go writes the double 21 as `21`, Rust as `21.0`."""
    complete: Callable[[str], bool]
    """Tells of which messages the absent fields are written too, as their zero."""
    hex_fields: frozenset[str] = frozenset()
    """Bytes written as upper-case hex; all others are base64."""


@dataclass
class _Shape:
    """How to write one message: its fields, and what stands for those that are absent."""

    members: dict[Any, tuple[str, Callable[[Any], Any]]] = field(default_factory=dict)
    zeros: dict[str, Any] = field(default_factory=dict)
    collections: list[tuple[str, type[list[Any]] | type[dict[str, Any]]]] = field(default_factory=list)


class Schema:
    """The messages of one `.proto` file, and their JSON in one dialect."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        """Read the file. Raises ValueError or TypeError on a mistake in it."""
        from google.protobuf import descriptor_pool, message_factory
        from google.protobuf.unknown_fields import UnknownFieldSet

        pool = descriptor_pool.DescriptorPool()
        for serialized in well_known_files():
            pool.AddSerializedFile(serialized)
        self.package = pool.AddSerializedFile(parse(path)).package
        self._pool, self._factory = pool, message_factory
        self._unknown: Any = UnknownFieldSet
        self._dialect = dialect
        self._shapes: dict[type, _Shape] = {}

    def message(self, name: str) -> Any:
        """Return the class of a message."""
        return self._factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{self.package}.{name}"))

    def parse(self, name: str, body: bytes) -> Any | None:
        """Parse a body as a message; None when it is none."""
        from google.protobuf.message import DecodeError

        try:
            return self.message(name).FromString(body)
        except (DecodeError, ValueError):
            return None

    def as_json(self, message: Any) -> dict[str, Any]:
        """Write a message as the network's JSON would say it, parsed. Parsing has limited its depth already.

        What the schema does not know is `field_<number>`, bytes of it in base64; groups, which no protocol uses, are left out.
        """
        shape = self._shapes.get(message.__class__) or self._shape(message)
        made = shape.zeros.copy()
        for name, empty in shape.collections:
            made[name] = empty()
        members = shape.members
        for each, value in message.ListFields():
            name, convert = members[each]
            made[name] = convert(value)
        for unknown in self._unknown(message):
            if unknown.wire_type != 3:
                data = unknown.data
                made[f"field_{unknown.field_number}"] = _base64(data) if data.__class__ is bytes else data
        return made

    def _shape(self, message: Any) -> _Shape:
        shape = self._shapes[message.__class__] = _Shape()
        descriptor = message.DESCRIPTOR
        complete = self._dialect.complete(descriptor.name)
        for each in descriptor.fields:
            name = intern(each.json_name if self._dialect.camel_case else each.name)
            convert = self._converter(each)
            shape.members[each] = (name, self._collection(each, convert))
            if complete and each.containing_oneof is None:
                if _is_repeated(each):
                    shape.collections.append((name, dict if _is_map(each) else list))
                elif each.message_type is None:
                    shape.zeros[name] = convert(each.default_value)
        return shape

    def _collection(self, each: Any, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if _is_map(each):
            inner = self._converter(each.message_type.fields_by_name["value"])
            return lambda values: {str(key): inner(values[key]) for key in values}
        return (lambda values: [convert(value) for value in values]) if _is_repeated(each) else convert

    def _converter(self, each: Any) -> Callable[[Any], Any]:
        if each.message_type is not None:
            return self._special(each.message_type.full_name) or self.as_json
        if each.enum_type is not None:
            names = {number: value.name for number, value in each.enum_type.values_by_number.items()}
            return lambda number: names.get(number, number)
        by_type: dict[int, Callable[[Any], Any]] = {
            each.CPPTYPE_FLOAT: lambda value: self._number(_shortest(value)),
            each.CPPTYPE_DOUBLE: self._number,
            each.CPPTYPE_INT64: str,
            each.CPPTYPE_UINT64: str,
        }
        if each.type == each.TYPE_BYTES:
            return _hex if each.name in self._dialect.hex_fields else _base64
        return by_type.get(each.cpp_type, _itself)

    def _special(self, name: str) -> Callable[[Any], Any] | None:
        """Return how a well-known type is written."""
        short = name.removeprefix("google.protobuf.")
        if short == name:
            return None
        if short.endswith("Value") and short not in {"Value", "ListValue", "NullValue"}:
            return self._wrapped
        known: dict[str, Callable[[Any], Any]] = {
            "Timestamp": self._time,
            "Duration": _duration,
            "Struct": self._struct,
            "Value": self._value,
            "ListValue": lambda values: [self._value(value) for value in values.values],
            "Any": lambda any_: {"@type": any_.type_url, "value": _base64(any_.value)},
        }
        return known.get(short)

    def _wrapped(self, message: Any) -> Any:
        return self._converter(message.DESCRIPTOR.fields_by_name["value"])(message.value)

    def _number(self, value: float) -> Any:
        if value - value != 0:  # protobuf's JSON writes NaN and the infinities as text
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        return int(value) if self._dialect.whole_numbers and value.is_integer() and abs(value) < 1e21 else value

    def _struct(self, message: Any) -> dict[str, Any]:
        fields = message.fields
        return {key: self._value(fields[key]) for key in fields}

    def _value(self, message: Any) -> Any:
        kind = message.WhichOneof("kind")
        if kind == "number_value":
            return self._number(message.number_value)
        if kind == "struct_value":
            return self._struct(message.struct_value)
        if kind == "list_value":
            return [self._value(value) for value in message.list_value.values]
        return None if kind in {None, "null_value"} else getattr(message, kind)

    def _time(self, message: Any) -> str:
        seconds, nanos = message.seconds, message.nanos
        if not (_EARLIEST_S <= seconds <= _LATEST_S and 0 <= nanos < _NANO):
            return f"{seconds}.{nanos}"
        minute, second = divmod(seconds, 60)
        return f"{_minute(minute)}{second:02}{_fraction(nanos)}{self._dialect.zone}"


def unknown_count(value: Any) -> int:
    """Count what `as_json` could not name, at every level: 0 when the message is of the kind it was parsed as."""
    if isinstance(value, Mapping):
        return sum(name.startswith("field_") or unknown_count(inner) for name, inner in value.items())
    return sum(map(unknown_count, value)) if isinstance(value, list) else 0


def _is_repeated(each: Any) -> bool:
    """Tell it in every protobuf 6 and 7: the older ones know only `label`."""
    return bool(each.is_repeated if hasattr(each, "is_repeated") else each.label == each.LABEL_REPEATED)


def _is_map(each: Any) -> bool:
    return each.message_type is not None and bool(each.message_type.GetOptions().map_entry)


def _itself(value: Any) -> Any:
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _hex(value: bytes) -> str:
    return value.hex().upper()


def _shortest(value: float) -> float:
    """Return the shortest decimal that is this 32-bit float: what JSON writes for it."""
    for digits in (6, 7, 8, 9):
        rounded = float(f"{value:.{digits}g}")
        if abs(rounded) <= 3.4028235e38 and struct.unpack("<f", struct.pack("<f", rounded))[0] == value:
            return rounded
    return value


@lru_cache(maxsize=1024)
def _minute(minutes: int) -> str:
    return format_us(minutes * 60 * SECOND_US)[:17]


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    digits = f".{nanos:09}"
    return digits.removesuffix("000").removesuffix("000")


def _duration(message: Any) -> str:
    sign = "-" if message.seconds < 0 or message.nanos < 0 else ""
    return f"{sign}{abs(message.seconds)}{_fraction(abs(message.nanos) % _NANO)}s"
