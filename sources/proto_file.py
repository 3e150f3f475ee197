"""Reads the `.proto` files of this project: proto3's messages, enums, oneofs, maps and `json_name`, and nothing more.

It stands for the compiler, which no installation has: a file changes, and there is nothing to generate.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WORDS = re.compile(r'//[^\n]*|("[^"]*"|[\w.]+|[^\s\w])')
WELL_KNOWN = ("any", "duration", "struct", "timestamp", "wrappers")


def well_known_files() -> Iterator[bytes]:
    """Return the serialized descriptors of the well-known types that every file may use."""
    from importlib import import_module

    for name in WELL_KNOWN:
        yield import_module(f"google.protobuf.{name}_pb2").DESCRIPTOR.serialized_pb


def parse(path: Path) -> bytes:
    """Read a `.proto` file into a serialized file descriptor. Raises ValueError on a mistake in it."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name=path.name, syntax="proto3")
    file.dependency.extend(f"google/protobuf/{name}.proto" for name in WELL_KNOWN)
    words = iter([word for word in _WORDS.findall(path.read_text(encoding="utf-8")) if word])
    for word in words:
        if word == "message":
            _message(words, file.message_type.add())
        elif word == "enum":
            _enum(words, file.enum_type.add())
        elif word == "package":
            file.package = next(words)
    return file.SerializeToString()


def _enum(words: Iterator[str], made: Any) -> None:
    made.name = next(words)
    _expect(words, "{")
    for name in words:
        if name == "}":
            return
        _expect(words, "=")
        made.value.add(name=name, number=int(next(words)))
        _expect(words, ";")
    raise ValueError(f"{made.name} has no end")


def _message(words: Iterator[str], made: Any) -> None:
    made.name = next(words)
    _expect(words, "{")
    inside = None
    for word in words:
        if word == "}":
            if inside is None:
                return
            inside = None
        elif word == "enum":
            _enum(words, made.enum_type.add())
        elif word == "oneof":
            inside = len(made.oneof_decl)
            made.oneof_decl.add(name=next(words))
            _expect(words, "{")
        else:
            member = _field(words, word, made)
            if inside is not None:
                member.oneof_index = inside
    raise ValueError(f"{made.name} has no end")


def _field(words: Iterator[str], word: str, made: Any) -> Any:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    member = made.field.add(label=Field.LABEL_REPEATED if word in {"repeated", "map"} else Field.LABEL_OPTIONAL)
    if word == "map":
        _expect(words, "<")
        key = next(words)
        _expect(words, ",")
        value = next(words)
        _expect(words, ">")
        member.name = next(words)
        entry = made.nested_type.add(name=f"{member.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            _typed(entry.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL), kind)
        member.type_name = entry.name
    else:
        _typed(member, next(words) if word == "repeated" else word)
        member.name = next(words)
    _expect(words, "=")
    member.number = int(next(words))
    word = next(words)
    if word == "[":
        _expect(words, "json_name")
        _expect(words, "=")
        member.json_name = next(words).strip('"')
        _expect(words, "]")
        word = next(words)
    if word != ";":
        raise ValueError(f"expected ; after {member.name}, found {word}")
    return member


def _typed(member: Any, kind: str) -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

    scalar = f"TYPE_{kind.upper()}"
    if scalar in Field.Type.keys():  # noqa: SIM118  an enum wrapper, not a mapping
        member.type = Field.Type.Value(scalar)
    else:
        member.type_name = kind


def _expect(words: Iterator[str], wanted: str) -> None:
    found = next(words, "")
    if found != wanted:
        raise ValueError(f"expected {wanted!r}, found {found!r}")
