"""From an accepted request to canonical records: the same few lines for every source.

Pure: the same request gives the same records and the same defects, in the order of the batch, whoever runs it
(the normalizer agent, the command line, a replay).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from schemas.ids import content_id
from schemas.records import NAN, Telemetry
from schemas.times import EARLIEST_US, FUTURE_TOLERANCE_US, format_us
from sources.contract import Identity, Reading, Request, Source
from sources.errors import Unreadable

NORMALIZER_ERROR = "normalizer_error"
TOO_DEEP = "too_deep"
"""The sender's doing, not the normalizer's: it must not count towards the limits that stop an agent."""


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """A piece that could not be read: why, where in the batch (None: the whole body) and its bytes."""

    reason: str
    detail: str
    index: int | None
    piece: bytes


class Canonical(msgspec.Struct, frozen=True, kw_only=True):
    """A canonical record without its device yet, and how to find the device."""

    record: Telemetry
    identities: tuple[Identity, ...]
    child: str


def canonicalize(source: Source, request: Request) -> Iterator[Canonical | Defect]:
    """Read one request. Never raises: whatever cannot be read becomes a Defect, and the rest goes on."""
    try:
        items = source.split(request)
    except Exception as error:  # noqa: BLE001  a normalizer's mistake must cost one body, not the agent
        yield _defect(error, None, request.body)
        return
    for index, item in enumerate(items):
        try:
            made = []
            for reading in source.read(item, request):
                made.append(_canonical(source, request, item, index, reading))  # noqa: PERF401  one call fewer
        except Exception as error:  # noqa: BLE001  ... and here one item, not its batch
            yield _defect(error, index, _bytes_of(item))
        else:
            yield from made


def _defect(error: Exception, index: int | None, piece: bytes) -> Defect:
    if isinstance(error, Unreadable):
        return Defect(reason=error.reason, detail=error.detail, index=index, piece=piece)
    if isinstance(error, orjson.JSONEncodeError | RecursionError):
        return Defect(reason=TOO_DEEP, detail="nested deeper than can be written again", index=index, piece=piece)
    detail = f"{type(error).__name__}: {error}"[:500]
    return Defect(reason=NORMALIZER_ERROR, detail=detail, index=index, piece=piece)


def _bytes_of(item: Any) -> bytes:
    if isinstance(item, bytes):
        return item
    try:
        return orjson.dumps(item, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except (orjson.JSONEncodeError, RecursionError):
        pass
    try:
        return repr(item).encode("utf-8", "replace")
    except RecursionError:  # the raw record still has it
        return b"nested deeper than can be written again"


def record_id(source: Source, request: Request, item: Any, index: int, reading: Reading) -> bytes:
    """Compute the deterministic id from the tenant, the source, who sent it, its natural key and its content.

    Key order and white space do not matter. A message with neither a time nor a natural key of its own cannot be
    told from the next one that reads the same, so its reception time and place in the batch count too.
    """
    sender = reading.source_device or request.device_id or request.credential_id
    if reading.child:  # two gateways may call a child by the same name
        sender = f"{sender}\0{request.device_id or request.credential_id}"
    arrival = b"" if reading.sent_us or reading.natural_key else b"%d:%d" % (request.received_us, index)
    return content_id(
        f"{request.tenant_id}\0{source.name}\0{sender}\0{reading.child}\0{reading.natural_key}".encode(
            "utf-8", "replace"
        ),
        _sorted_json(item if reading.content is None else reading.content),
        arrival,
    )


def _sorted_json(content: Any) -> bytes:
    try:
        return orjson.dumps(content, default=str, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # keys that are no text: CBOR has them
        return orjson.dumps(content, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def _canonical(source: Source, request: Request, item: Any, index: int, reading: Reading) -> Canonical:
    received = request.received_us
    sent, platform = reading.sent_us, reading.platform_us
    latest = received + FUTURE_TOLERANCE_US
    platform_plausible = EARLIEST_US <= platform <= latest
    if EARLIEST_US <= sent <= latest:
        observed, time_source = sent, "device"
    else:
        observed, time_source = (platform, "platform") if platform_plausible else (received, "received")
        if sent:
            reading.texts["timestamp.sent"] = format_us(sent)
    latitude, longitude = reading.latitude, reading.longitude
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180) and (latitude == latitude or longitude == longitude):
        latitude, longitude = _no_position(source, reading)
    record: Telemetry = {
        "id": record_id(source, request, item, index, reading),
        "tenant_id": request.tenant_id,
        "device_id": request.device_id,
        "source": source.name,
        "source_device": reading.source_device,
        "gateway_id": reading.gateway,
        "type": reading.type,
        "observed_us": observed,
        "platform_us": platform if platform_plausible else 0,
        "received_us": received,
        "sent_us": sent or (platform if platform_plausible else 0) or (0 if reading.natural_key else received),
        "time_source": time_source,
        "latitude": latitude,
        "longitude": longitude,
        "altitude_m": reading.altitude_m,
        "speed_kmh": reading.speed_kmh,
        "course_deg": reading.course_deg,
        "accuracy_m": reading.accuracy_m,
        "hdop": reading.hdop,
        "pdop": reading.pdop,
        "satellites": reading.satellites,
        "fix_us": reading.fix_us if EARLIEST_US <= reading.fix_us <= latest else 0,
        "fix_valid": reading.fix_valid,
        "numbers": reading.numbers,
        "booleans": reading.booleans,
        "texts": reading.texts,
        "event_type": reading.event_type,
        "event_attributes": orjson.dumps(reading.event_attributes, default=str).decode()
        if reading.event_attributes
        else "",
        "raw_topic": request.topic,
        "raw_partition": request.partition,
        "raw_offset": request.offset,
        "raw_index": index,
        "normalizer_version": source.version_tag,
    }
    return Canonical(record=record, identities=reading.identities, child=reading.child)


def _no_position(source: Source, reading: Reading) -> tuple[float, float]:
    """Drop a position that lies nowhere on Earth, keeping the numbers the sender gave."""
    for name, value in (("latitude", reading.latitude), ("longitude", reading.longitude)):
        if value == value and abs(value) < float("inf"):
            reading.numbers[f"{source.name}.{name}"] = value
    return NAN, NAN
