"""The Edge / Location Engine dialect: one record per POST, with its device inside."""

from collections.abc import Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import kmh_of_cm_s
from sources.contract import Reading, Request
from sources.digital_matter.clock import put_sent, utc_us
from sources.digital_matter.envelope import add_reason, add_sequence, envelope_of, keep_odd
from sources.digital_matter.fields import bit_mask
from sources.digital_matter.identity import as_text
from sources.digital_matter.keep import keep, keep_value, number_of, place, unsettled
from sources.digital_matter.tables import COUNTERS, LEVEL_ANALOGUE, LEVEL_IN_HUNDREDTHS, UNCERTAIN_ANALOGUE, Scale
from sources.values import number_or

_NAMES = ("sn", "imei", "iccid", "fw")
_DOPS = {"HDOP": "hdop", "PDOP": "pdop"}


def read_edge(body: dict[str, Any], request: Request) -> Reading:
    """Read one record of the Edge dialect. Raises Unreadable when nothing names its device."""
    device = body["device"]
    date, number = body.get("date"), body.get("sqn")
    get = device.get
    known = envelope_of(request, get("sn"), get("imei"), get("iccid"), get("prod"), get("fw"))
    reading = Reading(
        type="edge",
        source_device=known.source_device,
        identities=known.identities,
        booleans=dict(known.booleans),
        texts=dict(known.texts),
        natural_key=f"{number}|{date}" if date or number is not None else "",
    )
    rest = body.copy()
    del rest["device"]
    sent = utc_us(date)
    if sent:
        put_sent(reading, sent)
        del rest["date"]
    if "lora" not in rest and add_sequence(reading, number):  # over LoRaWAN it counts no records: 347263802
        del rest["sqn"]
    add_reason(reading, rest.get("reason"))
    _position(reading, rest)
    for name, canonical in (("inputs", "din"), ("outputs", "dout")):
        if bit_mask(reading, canonical, rest.get(name)):
            del rest[name]
    _numbered(reading, rest, "analogues", known.analogues)
    _numbered(reading, rest, "counters", COUNTERS)
    for name, value in rest.items():
        keep_value(reading, name, value)
    for name, value in device.items():
        if name not in _NAMES:
            keep_value(reading, f"device.{name}", value)
    if known.is_odd:
        keep_odd(reading, "device.", device, _NAMES)
    return reading


def _position(reading: Reading, rest: dict[str, Any]) -> None:
    latitude, longitude = rest.get("lat"), rest.get("lng")
    if latitude.__class__ is not float or longitude.__class__ is not float:
        latitude, longitude = number_or(latitude, NAN), number_or(longitude, NAN)
    if latitude == latitude and longitude == longitude:
        if not latitude and not longitude:
            reading.fix_valid = 0
            return
        del rest["lat"], rest["lng"]
        reading.latitude, reading.longitude = float(latitude), float(longitude)
    for name, column in (("alt", "altitude_m"), ("posAcc", "accuracy_m")):
        number = number_of(rest.get(name))
        if number == number:
            setattr(reading, column, number)
            del rest[name]
    # Speed and heading stay raw beside the columns: this dialect's units are stated nowhere (DM-c07).
    reading.speed_kmh = kmh_of_cm_s(number_of(rest.get("spd")))
    if reading.speed_kmh == reading.speed_kmh:
        unsettled(reading, "spd")
    heading = number_of(rest.get("head"))
    if 0 <= heading <= 360:
        reading.course_deg = heading
    if isinstance(rest.get("posInfo"), dict):
        _precision(reading, rest.pop("posInfo"))


def _precision(reading: Reading, info: dict[str, Any]) -> None:
    for name, value in info.items():
        number = number_of(value) if name in _DOPS else NAN
        if number == number:
            setattr(reading, _DOPS[name], number)
        else:
            keep_value(reading, f"posInfo.{name}", value)


def _numbered(reading: Reading, rest: dict[str, Any], name: str, table: Mapping[str, Scale]) -> None:
    """Take a list of `{"id", "val"}`: known ids by canonical name, the others as `digital_matter.<name>.<id>`."""
    values = rest.get(name)
    if not isinstance(values, list):
        return
    del rest[name]
    seen: set[str] = set()
    odd: list[Any] = []
    uncertain, level = (UNCERTAIN_ANALOGUE, LEVEL_ANALOGUE) if name == "analogues" else ("", "")
    for each in values:
        got = each.get("id") if each.__class__ is dict else None
        number = str(got) if got.__class__ is int else as_text(got)
        if not number or number in seen or "val" not in each:
            odd.append(each)
            continue
        seen.add(number)
        value = each["val"]
        scale = table.get(number)
        placed = scale is not None and place(reading, scale, value)
        if number == level:
            if placed or place(reading, LEVEL_IN_HUNDREDTHS, value):
                unsettled(reading, f"{name}.{number}")
        elif number == uncertain:
            if not placed:
                unsettled(reading, f"{name}.{number}")
        elif placed:
            continue
        keep_value(reading, f"{name}.{number}", value)
    if odd:
        keep(reading, {f"{name}.odd": odd})
