"""The Edge / Location Engine dialect: one record per POST, with its device inside."""

from collections.abc import Mapping
from typing import Any

from schemas.records import NAN
from schemas.units import KMH_PER_CM_S
from sources.contract import Reading, Request
from sources.digital_matter.fields import digital
from sources.digital_matter.identity import as_text, identify
from sources.digital_matter.keep import converted, keep, place
from sources.digital_matter.product import add_product, add_reason
from sources.digital_matter.tables import ANALOGUES, COUNTERS
from sources.values import number_or, time_or_zero

_DEVICE_READ = frozenset(("sn", "imei", "iccid", "fw"))


def read_edge(body: dict[str, Any], request: Request) -> Reading:
    """Read one record of the Edge dialect. Raises Unreadable when nothing names its device."""
    device = body["device"]
    date, number = body.get("date"), body.get("sqn")
    reading = Reading(type="edge", sent_us=time_or_zero(date))
    if date or number is not None:
        reading.natural_key = f"{number}|{date}"
    identify(reading, request, as_text(device.get("sn")), as_text(device.get("imei")), as_text(device.get("iccid")))
    add_product(reading, device.get("prod"), device.get("fw"))
    rest = {name: value for name, value in body.items() if name != "device"}
    if reading.sent_us:
        del rest["date"]
    add_reason(reading, rest.get("reason"))
    _position(reading, rest)
    digital(reading, rest, "inputs", "outputs")
    _numbered(reading, rest, "analogues", ANALOGUES)
    _numbered(reading, rest, "counters", COUNTERS)
    keep(reading, rest)
    keep(reading, {f"device.{name}": value for name, value in device.items() if name not in _DEVICE_READ})
    return reading


def _position(reading: Reading, rest: dict[str, Any]) -> None:
    latitude, longitude = number_or(rest.get("lat"), NAN), number_or(rest.get("lng"), NAN)
    if latitude == latitude and longitude == longitude:
        if not latitude and not longitude:
            reading.fix_valid = 0
            return
        del rest["lat"], rest["lng"]
        reading.latitude, reading.longitude = float(latitude), float(longitude)
    for name, column in (("alt", "altitude_m"), ("posAcc", "accuracy_m")):
        number = converted(rest.get(name))
        if number == number:
            setattr(reading, column, number)
            del rest[name]
    # Speed and heading stay raw beside the columns: this dialect's units are stated nowhere (DM-c07).
    reading.speed_kmh = converted(rest.get("spd"), KMH_PER_CM_S)
    heading = converted(rest.get("head"))
    if 0 <= heading <= 360:
        reading.course_deg = heading
    info = rest.get("posInfo")
    if isinstance(info, dict):
        reading.hdop, reading.pdop = converted(info.get("HDOP")), converted(info.get("PDOP"))
        taken = {name for name, value in (("HDOP", reading.hdop), ("PDOP", reading.pdop)) if value == value}
        rest["posInfo"] = {name: value for name, value in info.items() if name not in taken}


def _numbered(reading: Reading, rest: dict[str, Any], name: str, table: Mapping[str, tuple[str, float]]) -> None:
    """Take a list of `{"id", "val"}`: known ids by canonical name, the others as `digital_matter.<name>.<id>`."""
    values = rest.get(name)
    if not isinstance(values, list):
        return
    kept: dict[str, Any] = {}
    odd: list[Any] = []
    for each in values:
        number = as_text(each.get("id")) if isinstance(each, dict) else ""
        if not number or "val" not in each or number in kept:
            odd.append(each)
        elif number not in table or not place(reading, *table[number], each["val"]):
            kept[number] = each["val"]
    if odd:
        kept["odd"] = odd
    rest[name] = kept
