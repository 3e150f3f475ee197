"""The one JSON view of a canonical record: what the command line prints, tests compare and golden samples hold."""

from collections.abc import Mapping
from typing import Any

import orjson

from schemas.ids import format_id
from schemas.records import Event, Telemetry
from schemas.times import format_us

_TEXTS = ("tenant_id", "device_id", "source", "source_device", "gateway_id", "type")
_REALS = ("latitude", "longitude", "altitude_m", "speed_kmh", "course_deg", "accuracy_m", "hdop", "pdop")


def time_or_null(ticks: int) -> str | None:
    """Print a time, or nothing for the sentinel 0."""
    return format_us(ticks) if ticks else None


def real_or_null(value: float) -> float | None:
    """Return the number, or nothing for the sentinel NaN."""
    return None if value != value else value


def _flag(value: int) -> bool | None:
    return None if value < 0 else bool(value)


def telemetry_view(record: Telemetry) -> dict[str, Any]:
    """Show one record: times as RFC 3339 UTC with microseconds, absent values as null."""
    fields: Mapping[str, Any] = record
    return {
        "id": format_id(record["id"]),
        **{name: fields[name] or None for name in _TEXTS},
        "observed_at": time_or_null(record["observed_us"]),
        "platform_at": time_or_null(record["platform_us"]),
        "received_at": time_or_null(record["received_us"]),
        "time_source": record["time_source"],
        **{name: real_or_null(fields[name]) for name in _REALS},
        "satellites": None if record["satellites"] < 0 else record["satellites"],
        "fix_at": time_or_null(record["fix_us"]),
        "fix_valid": _flag(record["fix_valid"]),
        "numbers": record["numbers"],
        "booleans": record["booleans"],
        "texts": record["texts"],
        "event": _event(record),
        "normalizer_version": record["normalizer_version"],
    }


def _event(record: Telemetry) -> dict[str, Any] | None:
    if not record["event_type"]:
        return None
    return {"type": record["event_type"], "attributes": orjson.loads(record["event_attributes"] or b"{}")}


def event_view(event: Event) -> dict[str, Any]:
    """Show one event, with the position of its cause."""
    fields: Mapping[str, Any] = event
    return {
        "id": format_id(event["id"]),
        "type": event["type"],
        "tenant_id": event["tenant_id"],
        "device_id": event["device_id"],
        "observed_at": time_or_null(event["observed_us"]),
        "received_at": time_or_null(event["received_us"]),
        "origin": event["origin"],
        "cause_id": format_id(event["cause_id"]),
        "source": event["source"],
        "source_device": event["source_device"] or None,
        "attributes": orjson.loads(event["attributes"] or b"{}"),
        **{name: real_or_null(fields[name]) for name in _REALS if name in fields},
        "fix_at": time_or_null(event["fix_us"]),
        "fix_valid": _flag(event["fix_valid"]),
    }
