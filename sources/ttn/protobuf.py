"""The Things Stack's protobuf messages as the JSON it would have sent."""

from functools import cache
from pathlib import Path
from typing import Any

from sources.lorawan_protobuf import Dialect, Schema, first_field

_HEX = frozenset(
    "dev_eui join_eui dev_addr eui net_id ns_id key forwarder_net_id home_network_net_id forwarder_gateway_eui".split()
)


@cache
def schema() -> Schema:
    """Return the messages."""
    dialect = Dialect(camel_case=False, zone="Z", whole_numbers=True, complete=lambda _: False, hex_fields=_HEX)
    return Schema(Path(__file__).parent / "v3.proto", dialect)


def decode(body: bytes) -> dict[str, Any] | None:
    """Read an `ApplicationUp`; None when the body is none: neither a kind nor a device is in it."""
    messages = schema()
    message = messages.parse("ApplicationUp", body)
    if message is None or not (message.WhichOneof("up") or message.end_device_ids.device_id):
        return None
    return messages.as_json(message)


def device(body: bytes) -> str:
    """Return the DevEUI or the id of a message's device without decoding it; empty text when it names none."""
    ids = first_field(body, 1)
    raw = first_field(ids, 4)
    return raw.hex() if len(raw) == 8 else first_field(ids, 1).decode("utf-8", "replace")
