"""What every record of a POST shares: whose it is, the product, the firmware and the units they imply."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sources.contract import Identity, Reading, Request
from sources.digital_matter.identity import Claims, as_text, claims_of, disagree, identities, kept_texts
from sources.digital_matter.keep import PREFIX, keep_value
from sources.digital_matter.tables import ALARMS, PRODUCTS, REASONS, Scale, analogues_of, profile_name
from sources.errors import Unreadable

_LONGEST_NUMBER = 10


class Envelope(NamedTuple):
    """The part of a reading that does not change from record to record."""

    source_device: str
    identities: tuple[Identity, ...]
    booleans: Mapping[str, bool]
    texts: Mapping[str, str]
    analogues: Mapping[str, Scale]
    is_odd: bool
    """Some of it is of a wrong type: `keep_odd` keeps that as it is."""


def envelope_of(request: Request, *device: Any) -> Envelope:
    """Return what is known about a device from its serial, IMEI, ICCID, product and firmware, in this order.

    Raises Unreadable("no_device") when nothing names it.
    """
    try:
        known = _envelope(claims_of(request), *device)
    except TypeError:  # a list or an object cannot be looked up
        known = _envelope(claims_of(request), *(True if isinstance(each, (list, dict)) else each for each in device))
    if not known.source_device and not request.device_id:
        raise Unreadable("no_device", "neither body, URL nor headers hold a serial number or an IMEI")
    return known


@lru_cache(maxsize=8192, typed=True)
def _envelope(claims: Claims, *device: Any) -> Envelope:
    serial, imei, iccid, product, firmware = map(as_text, device)
    number = product_number(product)
    if isinstance(device[-1], float):
        firmware = str(device[-1])
    named = {
        PREFIX + "units": profile_name(number),
        "imei": imei or (claims.imeis[0] if claims.imeis else ""),
        "iccid": iccid or claims.iccid,
        "device.product": PRODUCTS.get(number, ""),
        "firmware.version": firmware,
        **kept_texts(claims, PREFIX),
    }
    return Envelope(
        source_device=serial or (claims.serials[0] if claims.serials else named["imei"] or claims.iccid),
        identities=identities(claims, serial, imei),
        booleans={"identity.mismatch": True} if disagree(claims, serial, imei) else {},
        texts={name: text for name, text in named.items() if text},
        analogues=analogues_of(number),
        is_odd=any(_is_odd(each) for each in device),
    )


def keep_odd(reading: Reading, prefix: str, device: Mapping[str, Any], names: Iterable[str]) -> None:
    """Keep what cannot be an id or a version as it was sent."""
    for name in names:
        if _is_odd(device.get(name)):
            keep_value(reading, prefix + name, device[name])


def _is_odd(value: Any) -> bool:
    return value is not None and value != "" and not as_text(value)


def product_number(text: str) -> int:
    """Return the product's number, -1 when it is none."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < _LONGEST_NUMBER else -1


def add_reason(reading: Reading, reason: Any) -> None:
    """Name the reason, where its code is known, and raise the event it is; the code itself is kept by the caller."""
    name = REASONS.get(reason) if reason.__class__ is int else None
    if name is None:
        return
    reading.texts["reason"] = name
    alarm = ALARMS.get(reason)
    if alarm is not None:
        reading.event_type = "alarm"
        reading.event_attributes = {"alarm": alarm}
        reading.texts["alarm.type"] = alarm
        reading.booleans["alarm.event"] = True


def add_sequence(reading: Reading, number: Any) -> bool:
    """Set the device's record counter, for the detector of gaps (DM-c03). False: it is no counter's value."""
    if number.__class__ is not int or not 0 <= number < 2**53:
        return False
    reading.numbers["sequence.number"] = number
    return True
