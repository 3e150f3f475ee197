"""Whose records these are: the serial in the path, the body and the headers, and what to do when they disagree."""

from functools import lru_cache

from sources.contract import Identity, Reading, Request
from sources.digital_matter.keep import PREFIX
from sources.errors import Unreadable
from sources.peek import peek

SERIAL_PART = "serial"
_SERIAL, _IMEI, _ICCID = "x-serial", "x-imei", "x-iccid"
_CUSTOM = ("x-custom1", "x-custom2", "x-custom3")
CAPTURED = (_SERIAL, _IMEI, _ICCID, *_CUSTOM)
"""Headers in which a connector can be told to send its dynamic fields (DM-a06); unset ones come empty (DM-a21)."""
_EUI_DIGITS = 16
_HEX = frozenset("0123456789abcdef")


def ordering_key(request: Request) -> str:
    """Keep the order of one device: `SerNo`, or the Edge dialect's `sn`, else the serial in the path."""
    return peek(request.body, b'"SerNo"', b'"sn"') or request.path_params.get(SERIAL_PART, "")


def as_text(value: object) -> str:
    """Return an id as text whether it was sent as a number or as text; empty when it is neither."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def identify(reading: Reading, request: Request, serial: str, imei: str, iccid: str) -> None:
    """Say who sent the record and how to find the device.

    Where the path or a header names another device than the body, the record is kept and flagged, and the body's claim
    comes last (DM-a18); a credential that belongs to one device decides before any of them. Raises
    Unreadable("no_device") when nothing names a device.
    """
    header = request.header
    outside = request.path_params.get(SERIAL_PART, "").strip() or header(_SERIAL).strip()
    outside_imei = header(_IMEI).strip()
    if outside and outside in {imei, iccid}:  # a connector can put any of its dynamic fields into the URL
        outside = ""
    if _disagree(outside, serial) or _disagree(outside_imei, imei):
        reading.booleans["identity.mismatch"] = True
    reading.source_device = serial or outside or imei or outside_imei
    if not reading.source_device and not request.device_id:
        raise Unreadable("no_device", "neither body, path nor headers hold a serial number or an IMEI")
    reading.identities = _identities(outside, outside_imei, serial, imei)
    iccid = iccid or header(_ICCID).strip()
    if iccid:
        reading.texts["iccid"] = iccid
    if imei or outside_imei:
        reading.texts["imei"] = imei or outside_imei
    if request.headers:
        for name in _CUSTOM:
            value = header(name).strip()
            if value:
                reading.texts[PREFIX + name.removeprefix("x-")] = value


def _disagree(outside: str, inside: str) -> bool:
    return bool(outside and inside) and outside.lstrip("0").lower() != inside.lstrip("0").lower()


@lru_cache(maxsize=4096)
def _identities(outside: str, outside_imei: str, serial: str, imei: str) -> tuple[Identity, ...]:
    found = [
        Identity(kind, value)
        for kind, value in (("serial", outside), ("imei", outside_imei), ("serial", serial), ("imei", imei))
        if value
    ]
    found += [Identity("external_id", value) for value in (outside, serial) if value]
    eui = serial.lower()
    if len(eui) == _EUI_DIGITS and _HEX.issuperset(eui):
        found.append(Identity("dev_eui", eui))  # devices that come over LoRaWAN have their EUI for a serial number
    return tuple(dict.fromkeys(found))
