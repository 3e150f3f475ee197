"""AutoPi items to readings: `@t` says what the other fields mean, `@ts` when (AP-a03)."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from schemas.records import NAN
from schemas.units import shifted
from sources.autopi.events import read_event
from sources.autopi.exported import NONE, RECEIVED, UNIT, VEHICLE, Envelope, opened
from sources.autopi.kinds import AS_IT_IS, NESTED, TEXTS, Unit, fields_of, unit_of
from sources.autopi.position import keep_raw, read_loc, read_track
from sources.contract import NOTHING, Identity, Reading, Request
from sources.errors import Unreadable
from sources.values import as_object, json_items, number_or, put, put_all, time_or_zero

UNIT_HEADER = "unit-id"
UNIT_PART = "device"
_META = frozenset(("@t", "@ts"))
_WORTH_KEEPING = 100
"""Characters of a unit that is remembered; longer ones are no device's and would fill the memory."""


def ordering_key(request: Request) -> str:
    """Keep the order of one unit (AP-a29). The payload names no device; without a unit the credential decides."""
    return request.header(UNIT_HEADER).strip() or request.path_params.get(UNIT_PART, "")


def split(request: Request) -> Sequence[Any]:
    """Return the items: an array, or one object as a batch of one (AP-a27)."""
    return json_items(request)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one item. Raises Unreadable when it is no object or has no `@t`: then nothing says what it means."""
    record = as_object(item)
    kind = record.get("@t")
    if not isinstance(kind, str) or not kind:
        raise Unreadable("no_type", "the item has no `@t`")
    record, envelope = opened(record, kind)
    unit = ordering_key(request) or _text(envelope.unit)
    stamp = record.get("@ts")
    sent = time_or_zero(stamp)
    reading = Reading(
        type=kind,
        source_device=unit,
        identities=_identities(unit) if len(unit) <= _WORTH_KEEPING else _identities.__wrapped__(unit),
        sent_us=sent,
        natural_key=f"{kind}|{stamp}" if stamp else "",
    )
    if stamp and not sent:
        put(reading, "autopi.@ts", stamp)
    if envelope is not NONE:
        reading.content = record
        _add_envelope(reading, envelope)
    if kind.startswith("event."):
        read_event(reading, kind, record)
        if "loc" in record:
            read_loc(reading, record["loc"], keep=False)
    elif kind.startswith("track.") or kind.endswith(".pos"):
        read_track(reading, record)
    else:
        _telemetry(reading, kind, record)
    return (reading,)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _add_envelope(reading: Reading, envelope: Envelope) -> None:
    """Note what AutoPi's cloud adds. It is no part of the id: the device's own copy of the item has none of it."""
    reading.platform_us = time_or_zero(envelope.received)
    if envelope.received and not reading.platform_us:
        put(reading, f"autopi.{RECEIVED}", envelope.received)
    put(reading, f"autopi.{VEHICLE}", envelope.vehicle)
    if envelope.unit != reading.source_device:
        put(reading, f"autopi.{UNIT}", envelope.unit)


@lru_cache(maxsize=16_384)
def _identities(unit: str) -> tuple[Identity, ...]:
    if not unit:
        return ()
    return (Identity("external_id", unit), Identity("serial", unit), Identity("name", unit), Identity("id", unit))


def _telemetry(reading: Reading, kind: str, record: dict[str, Any]) -> None:
    fields = fields_of(kind)
    nested = NESTED.get(kind, NOTHING)
    unit = unit_of(kind, record.get("unit"))
    for key, value in record.items():
        if key in _META:
            continue
        if key == "unit" and _is_undone(unit, record):
            continue
        if key in nested and isinstance(value, dict):
            _fields(reading, f"autopi.{key}.", value, nested[key])
        elif key == "loc":
            read_loc(reading, value, keep=True)
        elif key in fields and _canonical(reading, fields[key], value, unit, kind):
            if isinstance(value, dict):
                _rest(reading, key, value, kind)
        else:
            keep_raw(reading, key, value)


def _fields(reading: Reading, prefix: str, values: dict[str, Any], names: Mapping[str, str]) -> None:
    for key, value in values.items():
        if key not in names or not _canonical(reading, names[key], value, AS_IT_IS, ""):
            put_all(reading, prefix, {key: value})


def _canonical(reading: Reading, name: str, value: Any, unit: Unit | None, kind: str) -> bool:
    """Put a value under its canonical name. False: it is none that fits there, or its unit is not known."""
    if isinstance(value, dict):  # rpi.temp: {"cpu": {"value": 48.3, "unit": "C"}}
        unit = unit_of(kind, value.get("unit"))
        value = value.get("value")
    if name in TEXTS:
        if not isinstance(value, str):
            return False
        reading.texts[name] = value
        return True
    number = number_or(value, NAN)
    if unit is None or number != number:
        return False
    converted = number if unit is AS_IT_IS else shifted(number, *unit)
    if abs(converted) == float("inf"):
        return False
    reading.numbers[name] = converted
    return True


def _is_undone(unit: Unit | None, values: dict[str, Any]) -> bool:
    """Tell whether the value was converted: beside it the unit as sent would be wrong."""
    if unit is None or unit is AS_IT_IS:
        return False
    number = number_or(values.get("value"), NAN)
    return number == number


def _rest(reading: Reading, key: str, value: dict[str, Any], kind: str) -> None:
    undone = _is_undone(unit_of(kind, value.get("unit")), value)
    left = {name: each for name, each in value.items() if name != "value" and not (undone and name == "unit")}
    put_all(reading, f"autopi.{key}.", left)
