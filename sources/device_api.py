"""What the device API and the generic webhook share: reserved keys, times and the two telemetry forms."""

from collections.abc import Mapping
from typing import Any

from schemas.times import parse_us
from sources.contract import Reading
from sources.errors import Unreadable

RESERVED = frozenset(("deviceToken", "externalDeviceId", "tenantId", "childDeviceId", "ts", "timestamp"))
"""Top-level keys that are never telemetry (AC-a27)."""


def telemetry_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the telemetry of one item: nested under `telemetry`, ThingsBoard's `values`, or flat.

    `telemetry` is the nested form only when it is an object and everything else is reserved (AC-c04). An object with
    both `ts` and `values` is always an envelope, as in ThingsBoard.
    """
    nested = item.get("telemetry")
    if isinstance(nested, Mapping) and item.keys() - {"telemetry"} <= RESERVED:
        return nested
    values = item.get("values")
    if isinstance(values, Mapping) and item.keys() - {"values"} <= RESERVED and ("ts" in item or "timestamp" in item):
        return values
    if "telemetry" in item and item.keys() - {"telemetry"} <= RESERVED:
        raise Unreadable("not_an_object", "`telemetry` must be an object")
    return {key: value for key, value in item.items() if key not in RESERVED}


def time_of(item: Mapping[str, Any]) -> int:
    """Return the item's time in µs, 0 when it gives none; `ts` counts more than `timestamp` (AC-c02).

    Raises Unreadable("bad_time"): a reading at an unknown moment must not pass for one of now.
    """
    stated = item.get("ts", item.get("timestamp"))
    if stated is None:
        return 0
    try:
        return parse_us(stated)
    except ValueError as error:
        raise Unreadable("bad_time", str(error)) from None


def child_of(item: Mapping[str, Any]) -> str:
    """Return the id of the device behind a gateway, or nothing (AC-a16)."""
    child = item.get("childDeviceId")
    if child is None or child == "":
        return ""
    if not isinstance(child, (str, int)) or isinstance(child, bool):
        raise Unreadable("bad_child", "`childDeviceId` must be a text")
    return str(child)


def require_values(reading: Reading) -> None:
    """Raise Unreadable("no_telemetry") when an item held nothing that could be kept."""
    has_position = reading.latitude == reading.latitude
    if not (reading.numbers or reading.booleans or reading.texts or has_position):
        has_column = any(
            value == value for value in (reading.altitude_m, reading.speed_kmh, reading.course_deg, reading.accuracy_m)
        )
        if not has_column and reading.satellites < 0:
            raise Unreadable("no_telemetry", "there is no telemetry in it")
