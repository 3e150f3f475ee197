"""Items as AutoPi's cloud hands them on: its exports and triggers write what the device sent with more beside it.

{"@uid": "<unit>", "@vid": 106, "@rec": "<when the cloud took it>", "@ts": …, "@t": "obd.rpm", "obd.rpm.value": 830.5}
"""

from typing import Any, NamedTuple

UNIT, VEHICLE, RECEIVED = "@uid", "@vid", "@rec"
ENVELOPE = frozenset((UNIT, VEHICLE, RECEIVED))


class Envelope(NamedTuple):
    """What the cloud adds to an item."""

    unit: Any = None
    vehicle: Any = None
    received: Any = None


NONE = Envelope()


def opened(record: dict[str, Any], kind: str) -> tuple[dict[str, Any], Envelope]:
    """Return an item as the device sent it, and what the cloud added; the very same item if it came from the device.

    The cloud puts the `@t` before the names of the fields: `obd.rpm.value`. A field that has the short name too stays
    as it is.
    """
    if ENVELOPE.isdisjoint(record):
        return record, NONE
    prefix = f"{kind}."
    made: dict[str, Any] = {}
    for key, value in record.items():
        if key not in ENVELOPE:
            short = key.removeprefix(prefix)
            made[key if short in record else short] = value
    return made, Envelope(record.get(UNIT), record.get(VEHICLE), record.get(RECEIVED))
