"""ChirpStack's protobuf events, v4 and v3, as the JSON it would have sent (AC-a34).

`?event=` names the message. Which version it is shows in the content: the device is a text of 16 hex digits inside
`device_info` in v4, and 8 bytes at the top in v3.
"""

from functools import cache
from pathlib import Path
from typing import Any

from sources.lorawan import eui
from sources.lorawan_protobuf import Dialect, Schema, first_field, unknown_count

_MESSAGES = {
    "up": "UplinkEvent",
    "join": "JoinEvent",
    "status": "StatusEvent",
    "ack": "AckEvent",
    "txack": "TxAckEvent",
    "error": "ErrorEvent",
    "location": "LocationEvent",
    "log": "LogEvent",
    "integration": "IntegrationEvent",
}
_ONLY = {"v4": frozenset(_MESSAGES) - {"error"}, "v3": frozenset(_MESSAGES) - {"log"}}
_FOLDER = Path(__file__).parent


@cache
def schema(version: str) -> Schema:
    """Return the messages of `v4` or `v3`."""
    if version == "v4":
        # pbjson writes the zeros of the integration package, not those of gw and common.
        dialect = Dialect(camel_case=True, zone="+00:00", whole_numbers=False, complete=_is_integration)
    else:  # Go's jsonpb with EmitDefaults
        dialect = Dialect(camel_case=True, zone="Z", whole_numbers=True, complete=lambda _: True)
    return Schema(_FOLDER / f"{version}.proto", dialect)


def _is_integration(name: str) -> bool:
    return name.endswith("Event") or name in {"DeviceInfo", "UplinkRelayRxInfo", "JoinServerContext"}


def decode(body: bytes, kind: str) -> dict[str, Any] | None:
    """Read an event as the message that `kind` (the query's `event`) names; None when it is no event of a device.

    Without a kind it is the one that leaves the fewest doubts.
    """
    kinds = (kind,) if kind in _MESSAGES else tuple(_MESSAGES)
    found: list[tuple[int, dict[str, Any]]] = []
    for version, known in _ONLY.items():
        for each in kinds:
            event = _event(version, each, body) if each in known else None
            if event is not None:
                if kind == each:
                    return event
                found.append((_doubts(each, event), event))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _doubts(kind: str, event: dict[str, Any]) -> int:
    """Count what speaks against an event being of a kind; an address has 4 bytes, in hex and in base64 8 characters."""
    address = event.get("devAddr")
    unheard = kind == "up" and not event.get("rxInfo")
    return unknown_count(event) + unheard + (address is not None and len(address) != 8)


def _event(version: str, kind: str, body: bytes) -> dict[str, Any] | None:
    messages = schema(version)
    message = messages.parse(_MESSAGES[kind], body)
    if message is None:
        return None
    if version == "v4":
        named = message.device_info.dev_eui
        return messages.as_json(message) if len(named) == 16 and eui(named) else None
    return messages.as_json(message) if len(message.dev_eui) == 8 else None


def dev_eui(body: bytes) -> str:
    """Return the device of an event without decoding it; empty text when there is none. Never raises."""
    for number in (3, 2):  # the log event has it in field 2
        named = first_field(first_field(body, number), 8)
        if len(named) == 16:
            return eui(named.decode("ascii", "replace"))
    raw = first_field(body, 4)
    return raw.hex() if len(raw) == 8 else ""
