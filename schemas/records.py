"""The canonical records as Python sees them, and their bytes: Avro single-object encoding.

A record is a plain dict in the shape of `avro/telemetry.avsc` or `avro/event.avsc`: nothing is written faster.
Single-object encoding (Avro 1.12 specification) is the marker C3 01, the schema's 8-byte fingerprint, then the body:
a reader finds the writer's schema by the fingerprint, so no schema registry has to run.
"""

import io
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict, cast

import orjson

from schemas.encoder import record_encoder

NAN = float("nan")
MARKER = b"\xc3\x01"
HEADER_BYTES = 10


class Telemetry(TypedDict):
    """One canonical record; see `avro/telemetry.avsc` for what each field means. Times in µs, absent = 0."""

    id: bytes
    tenant_id: str
    device_id: str
    source: str
    source_device: str
    gateway_id: str
    type: str
    observed_us: int
    platform_us: int
    received_us: int
    sent_us: int
    time_source: str
    latitude: float
    longitude: float
    altitude_m: float
    speed_kmh: float
    course_deg: float
    accuracy_m: float
    hdop: float
    pdop: float
    satellites: int
    fix_us: int
    fix_valid: int
    numbers: dict[str, float]
    booleans: dict[str, bool]
    texts: dict[str, str]
    event_type: str
    event_attributes: str
    raw_topic: str
    raw_partition: int
    raw_offset: int
    raw_index: int
    normalizer_version: str


class Event(TypedDict):
    """One canonical event; see `avro/event.avsc`."""

    id: bytes
    tenant_id: str
    device_id: str
    type: str
    observed_us: int
    received_us: int
    sent_us: int
    origin: str
    cause_id: bytes
    source: str
    source_device: str
    attributes: str
    latitude: float
    longitude: float
    altitude_m: float
    speed_kmh: float
    course_deg: float
    accuracy_m: float
    fix_us: int
    fix_valid: int


class UnknownSchema(ValueError):
    """The bytes name a schema this version does not have. Upgrade the reader before the writers."""


@cache
def schema(name: str) -> dict[str, Any]:
    """Load `avro/<name>.avsc` as published."""
    loaded: dict[str, Any] = orjson.loads(files("schemas").joinpath("avro", f"{name}.avsc").read_bytes())
    return loaded


def _plain(declared: Any) -> Any:
    """Drop logical types: with them fastavro would build a datetime for every time."""
    if isinstance(declared, dict):
        return {key: _plain(value) for key, value in declared.items() if key != "logicalType"}
    if isinstance(declared, list):
        return [_plain(each) for each in declared]
    return declared


@cache
def _parsed(name: str) -> Any:
    from fastavro import parse_schema

    return parse_schema(_plain(schema(name)))


@cache
def _header(name: str) -> bytes:
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    rabin = fingerprint(to_parsing_canonical_form(schema(name)), "CRC-64-AVRO")
    return MARKER + bytes.fromhex(rabin)


def _writer(name: str) -> Callable[[Any], bytes]:
    return record_encoder(schema(name), _header(name))


def _reader(name: str) -> Callable[[bytes], Any]:
    from fastavro import schemaless_reader

    expected, parsed = _header(name), _parsed(name)

    def read(value: bytes) -> Any:
        if value[:HEADER_BYTES] != expected:
            raise UnknownSchema(f"not a {name} record of a known schema: {value[:HEADER_BYTES].hex()}")
        body = io.BytesIO(value)
        body.seek(HEADER_BYTES)
        return schemaless_reader(body, parsed, None)

    return read


@cache
def telemetry_writer() -> Callable[[Telemetry], bytes]:
    """Return the function that turns one record into its bytes (fetch it once, outside the loop)."""
    return _writer("telemetry")


@cache
def telemetry_reader() -> Callable[[bytes], Telemetry]:
    """Return the function that reads one record. It raises UnknownSchema on a foreign schema."""
    return cast("Callable[[bytes], Telemetry]", _reader("telemetry"))


@cache
def event_writer() -> Callable[[Event], bytes]:
    """Return the function that turns one event into its bytes."""
    return _writer("event")


@cache
def event_reader() -> Callable[[bytes], Event]:
    """Return the function that reads one event. It raises UnknownSchema on a foreign schema."""
    return cast("Callable[[bytes], Event]", _reader("event"))
