"""BikeTrax webhooks and WebSocket frames to readings: Traccar's model, plus PowUnity's transaction id."""

from collections.abc import Iterable
from typing import Any

from sources.contract import Reading, Request
from sources.traccar_model import read_model

TRANSACTION_HEADER = "x-powtxn"
_LONGEST_TRANSACTION = 256


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one event or position. `X-PowTxn` is kept so that it can be searched for (BT-a03); it is opaque (BT-c05)."""
    reading = read_model("biketrax", item, request)
    transaction = request.header(TRANSACTION_HEADER).strip()
    if transaction:
        reading.texts["biketrax.txn"] = transaction[:_LONGEST_TRANSACTION]
    return (reading,)
