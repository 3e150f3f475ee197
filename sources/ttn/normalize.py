"""The Things Stack messages to readings. Zero, false and empty are absent in its JSON: `f_cnt` of the first uplink too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sources.common_names import place
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.lorawan import ACK, JOIN, NACK, best_gateway, eui, put_number
from sources.peek import peek
from sources.values import as_object, json_items, number_or, put, put_all, time_or_zero

_NAN = float("nan")
KINDS = (
    "uplink_message", "uplink_normalized", "join_accept", "downlink_ack", "downlink_nack", "downlink_sent", "downlink_failed",
    "downlink_queued", "downlink_queue_invalidated", "location_solved", "service_data",
)  # fmt: skip
"""Exactly one of them is in a message (AC-a35)."""
_EVENTS = {"join_accept": JOIN, "downlink_ack": ACK, "downlink_nack": NACK}
_UPLINK_HANDLED = frozenset(
    "session_key_id f_port f_cnt frm_payload decoded_payload normalized_payload rx_metadata settings received_at confirmed"
    " consumed_airtime locations version_ids network_ids last_battery_percentage packet_error_rate".split()
)
_SECRETIVE = frozenset(("session_key_id", "app_s_key", "f_nwk_s_int_key", "s_nwk_s_int_key", "nwk_s_enc_key"))


def ordering_key(request: Request) -> str:
    """Keep the order of the device."""
    return (
        eui(peek(request.body, b'"dev_eui"'))
        or peek(request.body, b'"device_id"')
        or request.path_params.get("device", "")
    )


def split(request: Request) -> Sequence[Any]:
    """Return the message."""
    return json_items(request)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one message. Raises Unreadable when it is no object, holds no known kind, or names no device."""
    message = as_object(item)
    kind = next((each for each in KINDS if each in message), "")
    if not kind:
        raise Unreadable("unknown_kind", f"none of {', '.join(KINDS)} is in the message")
    body = message[kind] if isinstance(message[kind], Mapping) else {}
    reading = _addressed(message, request)
    reading.type = kind
    reading.platform_us = _real_time(message.get("received_at"))
    if kind in {"uplink_message", "uplink_normalized"}:
        _uplink(reading, kind, body)
    else:
        _other(reading, kind, message, body)
    if message.get("simulated") is True:
        reading.booleans["ttn.simulated"] = True
    return (reading,)


def _addressed(message: Mapping[str, Any], request: Request) -> Reading:
    """Find whose message it is: the DevEUI, else the device id, else what the webhook's URL says."""
    ids = message["end_device_ids"] if isinstance(message.get("end_device_ids"), Mapping) else {}
    dev_eui = eui(ids.get("dev_eui"))
    device = str(ids.get("device_id") or "")
    from_path = request.path_params.get("device", "")
    identities = [Identity("dev_eui", each) for each in dict.fromkeys((dev_eui, eui(from_path))) if each]
    identities += [Identity("external_id", each) for each in dict.fromkeys((device, from_path)) if each]
    if not identities:
        raise Unreadable("no_device", "neither `end_device_ids` nor the path says whose message it is")
    reading = Reading(type="", source_device=dev_eui or device or from_path, identities=tuple(identities))
    if device:
        reading.texts["device.name"] = device
    application = ids.get("application_ids")
    if isinstance(application, Mapping):
        put(reading, "ttn.application_id", application.get("application_id"))
    for name in ("join_eui", "dev_addr"):
        put(reading, f"ttn.{name}", ids.get(name))
    return reading


def _uplink(reading: Reading, kind: str, body: Mapping[str, Any]) -> None:
    received = _real_time(body.get("received_at"))
    reading.platform_us = received or reading.platform_us
    reading.sent_us = _device_time(body)
    counter = number_or(body.get("f_cnt", 0), 0)
    reading.natural_key = f"{kind}:{body.get('session_key_id', '')}:{counter}"
    # Neither the receptions nor the times of forwarding are the message: a repetition has others (AC-a38).
    reading.content = {key: body.get(key) for key in ("f_port", "frm_payload", "decoded_payload", "normalized_payload")}
    reading.numbers["lorawan.counter"] = counter
    put_number(reading, "lorawan.port", body.get("f_port", 0))
    reading.booleans["lorawan.confirmed.status"] = body.get("confirmed") is True
    if isinstance(body.get("frm_payload"), str):
        reading.texts["lorawan.payload"] = body["frm_payload"]
    _radio(reading, body)
    _location(reading, body.get("locations"))
    decoded = body.get("decoded_payload")
    if kind == "uplink_normalized":
        # The same frame also comes as uplink_message: its values are kept apart, so that nothing is counted twice.
        normalized = body.get("normalized_payload")
        put_all(reading, "ttn.normalized.", normalized if isinstance(normalized, Mapping) else {})
    elif isinstance(decoded, Mapping):
        place(reading, "ttn", decoded)
    elif decoded is not None:
        put(reading, "ttn.decoded_payload", decoded)
    airtime = body.get("consumed_airtime")
    if isinstance(airtime, str) and airtime.endswith("s"):
        put_number(reading, "ttn.consumed_airtime_s", airtime[:-1])
    battery = body.get("last_battery_percentage")
    if isinstance(battery, Mapping):
        put_number(reading, "battery.level", battery.get("value"))
    put_all(reading, "ttn.", {key: value for key, value in body.items() if key not in _UPLINK_HANDLED})


def _device_time(body: Mapping[str, Any]) -> int:
    """Return the time a gateway with a clock of its own heard the uplink."""
    settings = body.get("settings")
    return _real_time(settings.get("time")) if isinstance(settings, Mapping) else 0


def _radio(reading: Reading, body: Mapping[str, Any]) -> None:
    receptions = body.get("rx_metadata")
    heard = receptions if isinstance(receptions, list) else []
    best = best_gateway(heard)
    if best:
        gateway = best.get("gateway_ids")
        if isinstance(gateway, Mapping):
            reading.gateway = str(gateway.get("eui") or gateway.get("gateway_id") or "").lower()
        put_number(reading, "lorawan.rssi", best.get("rssi", 0))
        put_number(reading, "lorawan.snr", best.get("snr", 0))
        reading.numbers["lorawan.gateways"] = len(heard)
    settings = body.get("settings")
    if not isinstance(settings, Mapping):
        return
    put_number(reading, "lorawan.frequency", settings.get("frequency"))
    rate = settings.get("data_rate")
    lora = rate.get("lora") if isinstance(rate, Mapping) else None
    if isinstance(lora, Mapping):
        put_number(reading, "lorawan.bandwidth", lora.get("bandwidth"))
        put_number(reading, "lorawan.spreading_factor", lora.get("spreading_factor"))


def _location(reading: Reading, locations: Any) -> None:
    """Take the device's position: what the payload said before what was registered or solved. A zero is absent."""
    if not isinstance(locations, Mapping):
        return
    ordered = sorted(locations.items(), key=lambda pair: (pair[0] != "frm-payload", pair[0] == "user"))
    for name, location in ordered:
        if _place(reading, location):
            reading.texts["ttn.location"] = str(name)
            return


def _place(reading: Reading, location: Any) -> bool:
    if not isinstance(location, Mapping) or not location.keys() & {"latitude", "longitude"}:
        return False
    reading.latitude = number_or(location.get("latitude", 0), _NAN)
    reading.longitude = number_or(location.get("longitude", 0), _NAN)
    reading.altitude_m = number_or(location.get("altitude"), _NAN)
    reading.accuracy_m = number_or(location.get("accuracy"), _NAN)
    put(reading, "ttn.location.source", location.get("source"))
    return True


def _other(reading: Reading, kind: str, message: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Keep what is no uplink: a solved location is a position, everything else an event of the network."""
    reading.platform_us = _real_time(body.get("received_at")) or reading.platform_us
    correlation = message.get("correlation_ids")
    own = [each for each in correlation if isinstance(each, str)] if isinstance(correlation, list) else []
    reading.natural_key = next((each for each in own if each.startswith(("as:up:", "gs:uplink:", "as:downlink:"))), "")
    reading.content = {"kind": kind, "body": body}
    if kind == "location_solved":
        _place(reading, body.get("location"))
        put(reading, "ttn.service", body.get("service"))
        return
    kept = {key: value for key, value in body.items() if key not in _SECRETIVE}
    if kind == "service_data":
        put_all(reading, "ttn.", kept)
        return
    put_all(reading, f"ttn.{kind}.", kept)
    reading.event_type = _EVENTS.get(kind, f"lorawan.{kind}")
    reading.event_attributes = {key: value for key, value in kept.items() if isinstance(value, (str, int, float))}


def _real_time(value: Any) -> int:
    """Read a time; the year 1 of simulated messages is none."""
    return 0 if isinstance(value, str) and value.startswith("0001-") else time_or_zero(value)
