"""Which topic fills which table, and how Kafka records become its columns: integer ticks, no datetime objects."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from registry.audit import AuditRecord
from schemas import topics as names
from schemas.records import event_reader, telemetry_reader
from schemas.topics import Topics

ABSENT_E7 = -(2**31)
_RELEASED = 2**32 - 1
"""The version of a row that says a record was released: above every other."""
LATEST_US = 10_413_792_000_000_000
"""2300-01-01: DateTime64 ends there."""
_TICKS = "DateTime64(6, 'UTC')"
_TEXT = "String"
_LOW = "LowCardinality(String)"
_REAL = "Float64"

Columns = list[list[Any]]
Reader = Callable[[Any], Any]
"""Takes a Kafka record apart; raises on foreign bytes."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table and its columns. `read` turns one record into a row, `columns` a list of rows into lists by column.

    `transactional`: its topic is written in transactions, so not every offset is a record that counts.
    """

    name: str
    topic: str
    read: Reader
    columns: Callable[[list[Any], Sequence[Any]], Columns]
    column_names: tuple[str, ...]
    column_types: tuple[str, ...]
    transactional: bool = False


_KAFKA = (("kafka_topic", _LOW), ("kafka_partition", "Int32"), ("kafka_offset", "Int64"))
_TELEMETRY = (
    ("id", "FixedString(16)"), ("tenant_id", _LOW), ("device_id", _TEXT), ("source", _LOW), ("source_device", _TEXT),
    ("gateway_id", _TEXT), ("type", _LOW), ("observed_at", _TICKS), ("platform_at", _TICKS), ("received_at", _TICKS),
    ("sent_us", "Int64"), ("time_source", _LOW), ("latitude_e7", "Int32"), ("longitude_e7", "Int32"), ("altitude_m", _REAL),
    ("speed_kmh", _REAL), ("course_deg", _REAL), ("accuracy_m", _REAL), ("hdop", _REAL), ("pdop", _REAL),
    ("satellites", "Int32"), ("fix_at", _TICKS), ("fix_valid", "Int8"), ("numbers", "Map(LowCardinality(String), Float64)"),
    ("booleans", "Map(LowCardinality(String), Bool)"), ("texts", "Map(LowCardinality(String), String)"), ("event_type", _LOW),
    ("event_attributes", _TEXT), ("raw_topic", _LOW), ("raw_partition", "Int32"), ("raw_offset", "Int64"),
    ("raw_index", "Int32"), ("normalizer_version", _LOW), ("version", "UInt32"), *_KAFKA,
)  # fmt: skip
_VERSION = len(_TELEMETRY) - len(_KAFKA) - 1
_UNMAPPED = (*_TELEMETRY[:_VERSION], ("released_to", _TEXT), *_TELEMETRY[_VERSION:])
_EVENTS = (
    ("id", "FixedString(16)"), ("tenant_id", _LOW), ("device_id", _TEXT), ("type", _LOW), ("observed_at", _TICKS),
    ("received_at", _TICKS), ("sent_us", "Int64"), ("origin", _LOW), ("cause_id", "FixedString(16)"), ("source", _LOW),
    ("source_device", _TEXT), ("attributes", _TEXT), ("latitude_e7", "Int32"), ("longitude_e7", "Int32"),
    ("altitude_m", _REAL), ("speed_kmh", _REAL), ("course_deg", _REAL), ("accuracy_m", _REAL), ("fix_at", _TICKS),
    ("fix_valid", "Int8"), ("version", "UInt32"), *_KAFKA,
)  # fmt: skip
_QUARANTINE = (
    ("tenant_id", _LOW), ("source", _LOW), ("reason", _LOW), ("detail", _TEXT), ("stage", _LOW), ("item_index", "Int32"),
    ("body", _TEXT), ("headers", "Map(LowCardinality(String), String)"), ("received_at", _TICKS), ("origin_topic", _LOW),
    ("origin_partition", "Int32"), ("origin_offset", "Int64"), *_KAFKA,
)  # fmt: skip
_DELIVERIES = (
    ("id", _TEXT), ("task_id", _TEXT), ("destination_id", _LOW), ("tenant_id", _LOW), ("event_id", _TEXT), ("event_type", _LOW),
    ("url", _LOW), ("attempt", "Int32"), ("outcome", _LOW), ("status", "Int32"), ("error", _TEXT), ("latency_ms", _REAL),
    ("started_at", _TICKS), ("response_excerpt", _TEXT), ("txn_id", _TEXT), *_KAFKA,
)  # fmt: skip
_AUDIT = (
    ("id", _TEXT), ("at", _TICKS), ("actor", _LOW), ("action", _LOW), ("kind", _LOW), ("object_id", _TEXT), ("tenant_id", _LOW),
    ("version", "UInt32"), ("before", _TEXT), ("after", _TEXT), *_KAFKA,
)  # fmt: skip

_FIELD_OF = {
    "observed_at": "observed_us",
    "platform_at": "platform_us",
    "received_at": "received_us",
    "fix_at": "fix_us",
    "latitude_e7": "latitude",
    "longitude_e7": "longitude",
}


def _scaled(degrees: list[float]) -> list[int]:
    return [ABSENT_E7 if value != value else round(value * 1e7) for value in degrees]


def _kafka_columns(records: Sequence[Any]) -> Columns:
    return [
        [record.topic() for record in records],
        [record.partition() for record in records],
        [record.offset() for record in records],
    ]


def _avro_columns(declared: tuple[tuple[str, str], ...]) -> Callable[[list[Any], Sequence[Any]], Columns]:
    own = [name for name, _ in declared if name not in {"version", *(name for name, _ in _KAFKA)}]

    def columns(rows: list[Any], records: Sequence[Any]) -> Columns:
        made: Columns = []
        for name in own:
            field = _FIELD_OF.get(name, name)
            values = [row[field] for row in rows]
            made.append(_scaled(values) if name.endswith("_e7") else values)
        made.append([_richness(row) for row in rows])
        return [*made, *_kafka_columns(records)]

    return columns


def _richness(row: dict[str, Any]) -> int:
    """Count the values: of two copies of a message the richer one stays (FL-a10)."""
    if row.get("released_to"):
        return _RELEASED
    if "numbers" not in row:
        return 0
    return len(row["numbers"]) + len(row["booleans"]) + len(row["texts"])


def _read_unmapped(record: Any) -> dict[str, Any]:
    row: dict[str, Any] = {**telemetry_reader()(record.value()), "released_to": ""}
    for name, value in record.headers() or ():
        if name == names.RELEASED_TO:
            row["released_to"] = str(value or b"", "utf-8", "replace")
    return row


def _read_quarantine(record: Any) -> dict[str, Any]:
    headers = {name: str(value or b"", "utf-8", "replace") for name, value in record.headers() or ()}

    def number(name: str, otherwise: int) -> int:
        text = headers.get(name, "")
        return int(text) if text.lstrip("-").isdecimal() else otherwise

    own = {name: text for name, text in headers.items() if not name.startswith(("quarantine-", "origin-"))}
    return {
        "tenant_id": headers.get(names.TENANT, ""),
        "source": headers.get(names.QUARANTINE_SOURCE, ""),
        "reason": headers.get(names.QUARANTINE_REASON, ""),
        "detail": headers.get(names.QUARANTINE_DETAIL, ""),
        "stage": headers.get(names.QUARANTINE_STAGE, ""),
        "item_index": number(names.QUARANTINE_INDEX, -1),
        "body": record.value() or b"",
        "headers": own,
        "received_at": number(names.RECEIVED_US, record.timestamp()[1] * 1000),
        "origin_topic": headers.get(names.ORIGIN_TOPIC, ""),
        "origin_partition": number(names.ORIGIN_PARTITION, -1),
        "origin_offset": number(names.ORIGIN_OFFSET, -1),
    }


class _Attempt(msgspec.Struct):
    """What the delivery worker logs of one attempt."""

    id: str
    task_id: str
    destination_id: str
    tenant_id: str
    attempt: int
    outcome: str
    started_us: int
    event_id: str = ""
    event_type: str = ""
    url: str = ""
    status: int | None = None
    error: str | None = None
    latency_ms: float = 0.0
    response_excerpt: str = ""
    txn_id: str = ""


_decode_attempt = msgspec.json.Decoder(_Attempt).decode


def _read_attempt(record: Any) -> dict[str, Any]:
    attempt = msgspec.structs.asdict(_decode_attempt(record.value()))
    return {
        **attempt, "status": attempt["status"] or 0, "error": attempt["error"] or "", "started_at": attempt["started_us"]
    }  # fmt: skip


_decode_audit = msgspec.json.Decoder(AuditRecord).decode


def _read_audit(record: Any) -> dict[str, Any]:
    change = _decode_audit(record.value())
    if not 0 <= change.at_us < LATEST_US or not 0 <= change.version < 2**32:
        raise ValueError("its time or version fits no column")  # the whole batch would be refused, again and again
    return {**msgspec.structs.asdict(change), "at": change.at_us}


def _dict_columns(declared: tuple[tuple[str, str], ...]) -> Callable[[list[Any], Sequence[Any]], Columns]:
    own = [name for name, _ in declared[: -len(_KAFKA)]]

    def columns(rows: list[Any], records: Sequence[Any]) -> Columns:
        return [*([row[name] for row in rows] for name in own), *_kafka_columns(records)]

    return columns


def _avro(read: Callable[[bytes], Any]) -> Reader:
    return lambda record: read(record.value())


def tables(topics: Topics) -> dict[str, Table]:
    """Return the tables by the topic that fills them."""

    def table(
        name: str,
        topic: str,
        read: Reader,
        make: Any,
        declared: tuple[tuple[str, str], ...],
        *,
        transactional: bool = False,
    ) -> Table:
        return Table(
            name=name, topic=topic, read=read, columns=make(declared), transactional=transactional,
            column_names=tuple(column for column, _ in declared), column_types=tuple(kind for _, kind in declared),
        )  # fmt: skip

    telemetry, event = _avro(telemetry_reader()), _avro(event_reader())
    made = (
        table("telemetry_rows", topics.telemetry, telemetry, _avro_columns, _TELEMETRY),
        table("unmapped_rows", topics.unmapped, _read_unmapped, _avro_columns, _UNMAPPED),
        table("events_rows", topics.events, event, _avro_columns, _EVENTS),
        table("quarantine_rows", topics.quarantine, _read_quarantine, _dict_columns, _QUARANTINE),
        table("deliveries_rows", topics.delivery_attempts, _read_attempt, _dict_columns, _DELIVERIES),
        table("audit_rows", topics.audit, _read_audit, _dict_columns, _AUDIT, transactional=True),
    )
    return {each.topic: each for each in made}
