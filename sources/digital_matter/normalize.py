"""Digital Matter's two JSON dialects to readings, one item per record so that a bad one is quarantined alone (DM-a17)."""

from collections.abc import Iterable, Sequence
from typing import Any

from sources.contract import Reading, Request
from sources.digital_matter.edge import read_edge
from sources.digital_matter.fields import add_field
from sources.digital_matter.identity import as_text, identify
from sources.digital_matter.keep import keep
from sources.digital_matter.product import add_product, add_reason
from sources.errors import Unreadable
from sources.values import as_object, json_items, time_or_zero

_ENVELOPE_READ = frozenset(("SerNo", "IMEI", "ICCID", "FW", "Records"))
_RECORD_READ = frozenset(("DateUTC", "Fields"))


def split(request: Request) -> Sequence[Any]:
    """Return one item per record, each a whole body of its own: a quarantined one can be sent again as it is.

    A device that has nothing to say sends no `Records`, or an empty list.
    """
    items: list[Any] = []
    for body in json_items(request):
        records = body.get("Records") if isinstance(body, dict) else None
        if isinstance(records, list):
            items.extend({**body, "Records": [record]} for record in records)
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
    reading = Reading(type="record", sent_us=time_or_zero(date), content=record)
    if date or number is not None:
        reading.natural_key = f"{number}|{date}"  # SeqNo alone starts again after a reset (DM-a15)
    identify(reading, request, as_text(body.get("SerNo")), as_text(body.get("IMEI")), as_text(body.get("ICCID")))
    add_product(reading, body.get("ProdId"), body.get("FW"))
    add_reason(reading, record.get("Reason"))
    keep(reading, body, _ENVELOPE_READ)
    keep(reading, record, _RECORD_READ)
    if date and not reading.sent_us:
        keep(reading, {"DateUTC": date})
    fields = record.get("Fields")
    if isinstance(fields, list):
        seen: set[int] = set()
        for field in fields:
            add_field(reading, field, seen)
    elif fields is not None:
        keep(reading, {"Fields": fields})
    return reading
