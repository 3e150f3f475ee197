"""AutoPi items to readings: `@t` says what the other fields mean, `@ts` when (AP-a03)."""

from collections.abc import Iterable, Sequence
from typing import Any

from schemas.records import NAN
from schemas.units import scaled
from sources.autopi.kinds import COLUMNS, FIELDS, TEXTS, UNITS
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.values import as_object, json_items, number_or, put, put_all, time_or_zero

UNIT_HEADER = "unit-id"
UNIT_PART = "device"
_META = frozenset(("@t", "@ts"))
_NOTHING: dict[str, Any] = {}


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
    unit = ordering_key(request)
    stamp = record.get("@ts")
    reading = Reading(
        type=kind,
        source_device=unit,
        identities=_identities(unit),
        sent_us=time_or_zero(stamp),
        natural_key=f"{kind}|{stamp}" if stamp else "",
    )
    if stamp and not reading.sent_us:
        put(reading, "autopi.@ts", stamp)
    if kind.startswith("event."):
        _event(reading, kind, record)
    else:
        _telemetry(reading, kind, record)
    return (reading,)


def _identities(unit: str) -> tuple[Identity, ...]:
    if not unit:
        return ()
    return (Identity("external_id", unit), Identity("serial", unit), Identity("name", unit), Identity("id", unit))


def _event(reading: Reading, kind: str, record: dict[str, Any]) -> None:
    """Take an event: its name is `@tag` (AP-a10), everything else is its attributes; none is fine (AP-a08)."""
    tag = record.get("@tag")
    reading.event_type = tag if isinstance(tag, str) and tag else kind
    reading.event_attributes = {key: value for key, value in record.items() if key not in _META and key != "@tag"}
    if "loc" in record:
        _position(reading, record["loc"], keep=False)


def _telemetry(reading: Reading, kind: str, record: dict[str, Any]) -> None:
    is_position = kind.startswith("track.")
    fields = FIELDS.get(kind, _NOTHING)
    factor = _factor(kind, record.get("unit"))
    flat = [NAN, NAN]
    for key, value in record.items():
        if key in _META:
            continue
        if key == "loc":
            _position(reading, value, keep=True)
        elif is_position and _column(reading, key, value, flat):
            continue
        elif key in fields and _canonical(reading, fields[key], value, factor, kind):
            if isinstance(value, dict):
                _rest(reading, key, value)
        else:
            _keep(reading, key, value)
    if is_position:
        if "loc" not in record:
            _flat_position(reading, flat[0], flat[1])
        if reading.latitude != reading.latitude:
            reading.fix_valid = 0  # without a fix there is no `loc`


def _column(reading: Reading, key: str, value: Any, flat: list[float]) -> bool:
    """Put a field of a position where it belongs. False: it has no column, or its value does not fit there."""
    number = number_or(value, NAN)
    if number != number:
        return False
    column = COLUMNS.get(key)
    if column is not None:
        if column == "course_deg" and not 0 <= number <= 360:
            return False
        setattr(reading, column, float(number))
        if key == "sog":
            reading.numbers["autopi.sog"] = number
        return True
    if key == "nsat" and 0 <= number <= 255:
        reading.satellites = int(number)
        return True
    if key in {"loc.lat", "loc.lon"}:
        flat[key == "loc.lon"] = float(number)
        return True
    return False


def _factor(kind: str, unit: Any) -> float:
    """Say what a value is multiplied by to be in the vocabulary's unit; NaN when its unit is not known."""
    units = UNITS.get(kind)
    if units is None or not isinstance(unit, str) or not unit:
        return 1.0
    return units.get(unit.strip().lower(), NAN)


def _canonical(reading: Reading, name: str, value: Any, factor: float, kind: str) -> bool:
    if isinstance(value, dict):  # rpi.temp: {"cpu": {"value": 48.3, "unit": "C"}}
        factor = _factor(kind, value.get("unit"))
        value = value.get("value")
    if name in TEXTS:
        if not isinstance(value, str):
            return False
        reading.texts[name] = value
        return True
    number = number_or(value, NAN)
    converted = number if factor == 1.0 else scaled(number, factor)
    if converted != converted or abs(converted) == float("inf"):
        return False
    reading.numbers[name] = converted
    return True


def _rest(reading: Reading, key: str, value: dict[str, Any]) -> None:
    put_all(reading, f"autopi.{key}.", {name: each for name, each in value.items() if name != "value"})


def _keep(reading: Reading, key: str, value: Any) -> None:
    if isinstance(value, dict) and value:
        put_all(reading, f"autopi.{key}.", value)
    else:
        put(reading, f"autopi.{key}", value)


def _position(reading: Reading, loc: Any, *, keep: bool) -> None:
    """Take `loc`: {"lat": …, "lon": …}, or "lat,lon" as the cloud stores it. `keep` what cannot be used."""
    latitude = longitude = NAN
    if isinstance(loc, dict):
        latitude, longitude = number_or(loc.get("lat"), NAN), number_or(loc.get("lon"), NAN)
    elif isinstance(loc, str):
        first, _, second = loc.partition(",")
        latitude, longitude = number_or(first, NAN), number_or(second, NAN)
    if keep and (latitude != latitude or longitude != longitude):
        _keep(reading, "loc", loc)
    elif keep and isinstance(loc, dict) and len(loc) > 2:
        put_all(reading, "autopi.loc.", {key: value for key, value in loc.items() if key not in {"lat", "lon"}})
    _fix(reading, latitude, longitude)


def _flat_position(reading: Reading, latitude: float, longitude: float) -> None:
    """Take `loc.lat` and `loc.lon` as the cloud's exports name them; one without the other is kept as it is."""
    if (latitude == latitude) != (longitude == longitude):
        put(reading, *(("autopi.loc.lat", latitude) if latitude == latitude else ("autopi.loc.lon", longitude)))
    _fix(reading, latitude, longitude)


def _fix(reading: Reading, latitude: float, longitude: float) -> None:
    if latitude == latitude and longitude == longitude and (latitude or longitude):
        reading.latitude, reading.longitude = float(latitude), float(longitude)
