"""What ChirpStack and The Things Stack share: DevEUIs, radio metadata and the names of network events."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from sources.contract import Reading
from sources.values import number_or, put

_NAN = float("nan")
_EUI_HEX = 16

JOIN = "lorawan.join"
ACK = "lorawan.ack"
NACK = "lorawan.nack"
TX_ACK = "lorawan.txack"
LOG = "lorawan.log"


def eui(value: Any) -> str:
    """Bring a DevEUI into one spelling: 16 lower-case hex digits (AC-a32); empty text when it is none.

    ChirpStack v3's protobuf JSON has it in base64, the others in hex of either case, with or without separators.
    """
    if not isinstance(value, str):
        return ""
    plain = value.replace("-", "").replace(":", "").replace(" ", "").lower()
    if len(plain) == _EUI_HEX and all(digit in "0123456789abcdef" for digit in plain):
        return plain
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == _EUI_HEX // 2 else ""


def put_number(reading: Reading, name: str, value: Any, factor: float = 1) -> None:
    """Keep a number, also one in quotes (TTN's frequency); what is no number is left out."""
    number = number_or(value, _NAN)
    if number == number:
        put(reading, name, number * factor if factor != 1 else number)


def best_gateway(receptions: Iterable[Any], rssi: str = "rssi") -> Mapping[str, Any]:
    """Return the reception of the gateway that heard the uplink best; an absent RSSI is 0 (protobuf leaves zeros out)."""
    heard = [each for each in receptions if isinstance(each, Mapping)]
    return max(heard, key=lambda each: number_or(each.get(rssi), 0), default={})
