"""What the device API and the generic webhook share: reserved keys, times, the telemetry forms and what becomes of them."""

from collections.abc import Mapping
from typing import Any

from schemas.times import DAY_US, format_us, parse_us
from sources.common_names import place
from sources.contract import Reading, Request
from sources.errors import Unreadable
from sources.values import number_or, put, put_all

RESERVED = frozenset(("deviceToken", "externalDeviceId", "tenantId", "childDeviceId", "ts", "timestamp"))
"""Top-level keys that are never telemetry (AC-a27)."""
IDEMPOTENCY_KEY = "idempotency-key"
"""Header by which a client tells a repetition of a request without times from a new one."""
DEEPEST = 32
"""Levels of nesting; nobody's readings are deeper, and what is cannot be written as JSON again."""
_METADATA = "metadata"
_LATEST_US = 253_402_300_799_000_000 - DAY_US
"""Just before the year 10000: later times cannot be printed."""


def telemetry_reading(source: str, item: Mapping[str, Any], request: Request) -> Reading:
    """Read one item: its telemetry, its time and the child it is about; whose gateway or device it is, the source knows.

    `content` is the telemetry and the time alone, so that the same reading has the same id in every form it is sent in.
    Raises Unreadable: bad_time, bad_child, too_deep, or no_telemetry when nothing could be kept.
    """
    telemetry, beside = telemetry_of(item)
    _require_telemetry(telemetry)
    reading = Reading(type="telemetry", child=child_of(item), sent_us=time_of(item))
    place(reading, source, telemetry)
    if beside:
        _metadata(reading, source, beside)
    if _is_empty(reading):
        raise Unreadable("no_telemetry", "there is no telemetry in it")
    if not reading.sent_us:
        _without_time(reading, item)
        reading.natural_key = request.header(IDEMPOTENCY_KEY)
    reading.content = {"telemetry": telemetry, "ts": reading.sent_us}
    if beside.keys() - {_METADATA}:  # the metadata of a repetition are others
        reading.content["beside"] = {key: value for key, value in beside.items() if key != _METADATA}
    return reading


def require_readable(item: Mapping[str, Any]) -> None:
    """Raise Unreadable for an item that `telemetry_reading` could not read: what the edge can tell without reading it."""
    telemetry, _ = telemetry_of(item)
    child_of(item)
    time_of(item)
    _require_telemetry(telemetry)


def _require_telemetry(telemetry: Mapping[str, Any]) -> None:
    """Refuse what says nothing; what stands beside `values` is not telemetry."""
    if all(value is None for value in telemetry.values()):
        raise Unreadable("no_telemetry", "there is no telemetry in it")


def telemetry_of(item: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return an item's telemetry, and what ThingsBoard's envelope holds beside it.

    `telemetry` is the nested form only when it is an object and everything else is reserved (AC-c04). An object with
    both a time and an object `values` is always an envelope, as in ThingsBoard. All else is flat.
    """
    telemetry, values = item.get("telemetry"), item.get("values")
    beside: Mapping[str, Any] = {}
    if values.__class__ is dict and ("ts" in item or "timestamp" in item):
        telemetry = values
        beside = {key: value for key, value in item.items() if key != "values" and key not in RESERVED}
        _require_shallow(beside)
    elif telemetry.__class__ is not dict or not item.keys() - {"telemetry"} <= RESERVED:
        telemetry = {key: value for key, value in item.items() if key not in RESERVED}
    for value in telemetry.values():
        if value.__class__ is dict or value.__class__ is list:
            _require_shallow(value)
    return telemetry, beside


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for each in level:
            below.extend(each.values() if each.__class__ is dict else each)
        level = [each for each in below if each.__class__ is dict or each.__class__ is list]
        if not level:
            return
    raise Unreadable("too_deep", f"nested deeper than {DEEPEST} levels")


def time_of(item: Mapping[str, Any]) -> int:
    """Return the item's time in µs, 0 when it gives none or one of a clock that was never set; `ts` counts more (AC-c02).

    Raises Unreadable("bad_time"): a reading at an unknown moment must not pass for one of now.
    """
    stated = _stated_time(item)
    if stated is None or _is_zero(stated):
        return 0
    try:
        ticks = parse_us(stated)
    except (ValueError, OverflowError) as error:
        raise Unreadable("bad_time", str(error)) from None
    if ticks > _LATEST_US:
        raise Unreadable("bad_time", "later than the year 9999")
    return max(ticks, 0)


def _stated_time(item: Mapping[str, Any]) -> Any:
    stated = item.get("ts")
    return item.get("timestamp") if stated is None else stated


def _is_zero(stated: Any) -> bool:
    return stated is not False and number_or(stated, 1) == 0


def _without_time(reading: Reading, item: Mapping[str, Any]) -> None:
    """Keep the time a device without a clock gave, as the engine does with any other it cannot believe."""
    stated = _stated_time(item)
    if stated is not None:
        reading.texts["timestamp.sent"] = format_us(0) if _is_zero(stated) else str(stated)


def child_of(item: Mapping[str, Any]) -> str:
    """Return the id of the device behind a gateway, or nothing (AC-a16). Raises Unreadable("bad_child")."""
    child = item.get("childDeviceId")
    if child is None or child == "":
        return ""
    if not isinstance(child, (str, int)) or isinstance(child, bool):
        raise Unreadable("bad_child", "`childDeviceId` must be a text")
    return str(child)


def _metadata(reading: Reading, source: str, beside: Mapping[str, Any]) -> None:
    """Keep what stands beside `values`; of ThingsBoard's `metadata` the gateway's own time of reception is the platform's."""
    beside = dict(beside)
    metadata = beside.get(_METADATA)
    if isinstance(metadata, dict) and "receivedTs" in metadata:
        try:
            reading.platform_us = parse_us(metadata["receivedTs"])
        except (ValueError, OverflowError):
            pass
        else:
            beside[_METADATA] = {key: value for key, value in metadata.items() if key != "receivedTs"}
    for key, value in beside.items():
        if isinstance(value, dict) and value:
            put_all(reading, f"{source}.{key}.", value)
        else:
            put(reading, f"{source}.{key}", value)


def _is_empty(reading: Reading) -> bool:
    if reading.numbers or reading.booleans or reading.texts or reading.satellites >= 0:
        return False
    columns = (
        reading.latitude, reading.altitude_m, reading.speed_kmh, reading.course_deg, reading.accuracy_m,
        reading.hdop, reading.pdop,
    )  # fmt: skip
    return all(value != value for value in columns)
