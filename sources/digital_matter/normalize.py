"""Digital Matter's two JSON dialects to readings, one item per record so that a bad one is quarantined alone (DM-a17)."""

from collections.abc import Iterable, Sequence
from typing import Any

from sources.contract import Reading, Request
from sources.digital_matter.clock import put_sent, utc_us
from sources.digital_matter.edge import read_edge
from sources.digital_matter.envelope import add_reason, add_sequence, envelope_of, keep_odd
from sources.digital_matter.fields import add_fields
from sources.digital_matter.form import body_items
from sources.digital_matter.keep import keep, keep_others, keep_value
from sources.errors import Unreadable
from sources.values import as_object

_NAMES = ("SerNo", "IMEI", "ICCID", "FW")
_ENVELOPE_READ = frozenset((*_NAMES, "ProdId", "Records"))
_RECORD_READ = frozenset(("DateUTC", "SeqNo", "Reason", "Fields"))


def split(request: Request) -> Sequence[Any]:
    """Return one item per record, each a whole body of its own: a quarantined one can be sent again as it is.

    A device that has nothing to say sends no `Records`, or an empty list.
    """
    items: list[Any] = []
    for body in body_items(request):
        records = body.get("Records") if isinstance(body, dict) else None
        if isinstance(records, list):
            items.extend([{**body, "Records": [record]} for record in records])
        elif not _says_nothing(body, records):
            items.append(body)
    return items


def _says_nothing(body: Any, records: Any) -> bool:
    return isinstance(body, dict) and records is None and "device" not in body and ("SerNo" in body or "IMEI" in body)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one record of either dialect.

    Raises Unreadable: not an object, neither dialect, `Records` no list, a record no object, nothing names the device.
    """
    body = as_object(item)
    if "Records" in body:
        return (_read_traditional(body, request),)
    if isinstance(body.get("device"), dict):
        return (read_edge(body, request),)
    raise Unreadable("unknown_shape", "the object holds neither `Records` nor a `device`")


def _read_traditional(body: dict[str, Any], request: Request) -> Reading:
    records = body["Records"]
    if not isinstance(records, list):
        raise Unreadable("records_not_a_list", "`Records` is not a list")
    record = as_object(records[0])
    date, number = record.get("DateUTC"), record.get("SeqNo")
    get = body.get
    known = envelope_of(request, get("SerNo"), get("IMEI"), get("ICCID"), get("ProdId"), get("FW"))
    reading = Reading(
        type="record",
        source_device=known.source_device,
        identities=known.identities,
        booleans=dict(known.booleans),
        texts=dict(known.texts),
        # SeqNo alone starts again after a reset (DM-a15)
        natural_key=f"{number}|{date}" if date or number is not None else "",
        content=record,
    )
    keep_value(reading, "ProdId", get("ProdId"))
    if known.is_odd:
        keep_odd(reading, "", body, _NAMES)
    if not body.keys() <= _ENVELOPE_READ:
        keep_others(reading, body, _ENVELOPE_READ)
    _record(reading, record)
    fields = record.get("Fields")
    if isinstance(fields, list):
        add_fields(reading, fields, known.analogues)
    elif fields is not None:
        keep(reading, {"Fields": fields})
    return reading


def _record(reading: Reading, record: dict[str, Any]) -> None:
    """Read a record's own members, except its fields."""
    date, number, reason = record.get("DateUTC"), record.get("SeqNo"), record.get("Reason")
    sent = utc_us(date)
    if sent:
        put_sent(reading, sent)
    else:
        keep_value(reading, "DateUTC", date)
    if not add_sequence(reading, number):
        keep_value(reading, "SeqNo", number)
    add_reason(reading, reason)
    keep_value(reading, "Reason", reason)
    if not record.keys() <= _RECORD_READ:
        keep_others(reading, record, _RECORD_READ)
