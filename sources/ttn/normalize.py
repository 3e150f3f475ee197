"""The Things Stack messages to readings. Zero, false and empty are absent in them: `f_cnt` of the first uplink too."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.lorawan import (
    ACK,
    ELSEWHERE,
    JOIN,
    NACK,
    attributes,
    best_gateway,
    eui,
    keep,
    location,
    plain,
    position,
    real_time,
    said,
    set_times,
    spread,
)
from sources.lorawan_decoded import place_decoded
from sources.lorawan_protobuf import items
from sources.peek import peek
from sources.ttn import protobuf
from sources.values import as_object, number_or

_NAN = float("nan")
_FULL = 100
_UPLINK, _NORMALIZED = "uplink_message", "uplink_normalized"
KINDS = (
    _UPLINK, _NORMALIZED, "join_accept", "downlink_ack", "downlink_nack", "downlink_sent", "downlink_failed",
    "downlink_queued", "downlink_queue_invalidated", "location_solved", "service_data",
)  # fmt: skip
"""Exactly one of them is in a message (AC-a35)."""
_EVENTS = {"join_accept": JOIN, "downlink_ack": ACK, "downlink_nack": NACK}
_ENVELOPE = dict.fromkeys((*KINDS, "end_device_ids", "received_at", "simulated"), ELSEWHERE)
_IDS = {"device_id": ELSEWHERE, "dev_eui": ELSEWHERE, "application_ids": ELSEWHERE}
_FRAME = {
    "f_cnt": "lorawan.counter", "f_port": "lorawan.port", "last_battery_percentage": ELSEWHERE,
    **dict.fromkeys(
        "frm_payload decoded_payload normalized_payload settings received_at confirmed consumed_airtime locations"
        " version_ids app_s_key".split(),
        ELSEWHERE,
    ),
}  # fmt: skip
_SETTINGS = {
    "frequency": "lorawan.frequency",
    "data_rate_index": "lorawan.data_rate",
    "data_rate": ELSEWHERE,
    "time": ELSEWHERE,
}
_LORA = {"bandwidth": "lorawan.bandwidth", "spreading_factor": "lorawan.spreading_factor"}
_LORA_TAKEN = {"lora": ELSEWHERE}
_COORDINATES = frozenset(("latitude", "longitude"))
_VERSIONS = {"firmware_version": "firmware.version", "model_id": "device.product"}
_SECRET = "app_s_key"  # noqa: S105  the name of a field: the session's key, where the stack does not decrypt itself
_NOT_TOLD = frozenset((_SECRET, "received_at"))
_OWN_KEYS = ("as:up:", "gs:uplink:", "ns:uplink:", "as:downlink:")


def ordering_key(request: Request) -> str:
    """Keep the order of the device."""
    body = request.body
    named = (
        eui(peek(body, b'"dev_eui"'))
        or peek(body, b'"device_id"')
        or ("" if body[:1] == b"{" else protobuf.device(body))
    )
    return named or request.path_params.get("device", "")


def split(request: Request) -> Sequence[Any]:
    """Return the message, sent as JSON or as protobuf. Raises Unreadable("not_json") or Unreadable("not_protobuf")."""
    return items(request, protobuf.decode)


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one message. Raises Unreadable when it is no object, holds no known kind, or names no device."""
    message = as_object(item)
    kind = _UPLINK if _UPLINK in message else next((each for each in KINDS if each in message), "")
    if not kind:
        raise Unreadable("unknown_kind", f"none of {', '.join(KINDS)} is in the message")
    reading = _addressed(message, request)
    reading.type = kind
    body = message[kind]
    if body.__class__ is not dict:
        keep(reading, f"ttn.{kind}", body)
        body = {}
    if kind in {_UPLINK, _NORMALIZED}:
        _uplink(reading, kind, message, body)
    else:
        _other(reading, kind, message, body)
    if message.get("simulated") is True:
        reading.booleans["ttn.simulated"] = True
    spread(reading, "ttn.", message, _ENVELOPE)
    return (reading,)


def _addressed(message: Mapping[str, Any], request: Request) -> Reading:
    """Find whose message it is: the DevEUI, else the device id, else what the webhook's URL says (AC-a31)."""
    ids = message.get("end_device_ids")
    if ids.__class__ is not dict:
        ids = {}
    dev_eui, device = eui(ids.get("dev_eui")), str(ids.get("device_id") or "")
    from_path = request.path_params.get("device", "")
    identities = _identities(dev_eui, device, from_path)
    if not identities:
        raise Unreadable("no_device", "neither `end_device_ids` nor the path says whose message it is")
    reading = Reading(type="", source_device=dev_eui or device or eui(from_path) or from_path, identities=identities)
    if device:
        reading.texts["device.name"] = device
    if not dev_eui:
        keep(reading, "ttn.dev_eui", ids.get("dev_eui"))
    application = ids.get("application_ids")
    if application.__class__ is dict:
        spread(reading, "ttn.", application, {})
    else:
        keep(reading, "ttn.application_ids", application)
    spread(reading, "ttn.", ids, _IDS)
    return reading


@lru_cache(maxsize=65_536)
def _identities(dev_eui: str, device: str, from_path: str) -> tuple[Identity, ...]:
    """Return the ways to find the device, the surest first."""
    euis = dict.fromkeys((dev_eui, eui(from_path)))
    names = dict.fromkeys((device, from_path))
    return (
        *(Identity("dev_eui", each) for each in euis if each),
        *(Identity("external_id", each) for each in names if each),
    )


def _key(message: Mapping[str, Any]) -> str:
    """Return the stack's own key of a message: the copies of one webhook call have it in common, two messages never."""
    ids = message.get("correlation_ids")
    if ids.__class__ is list:
        for prefix in _OWN_KEYS:
            for each in ids:
                if each.__class__ is str and each.startswith(prefix):
                    return str(each)
    received = message.get("received_at")
    return received if received.__class__ is str else ""


def _uplink(reading: Reading, kind: str, message: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    get = body.get
    settings, payload, session = get("settings"), get("frm_payload"), get("session_key_id")
    best = best_gateway(get("rx_metadata"))
    reading.numbers = {"lorawan.counter": 0, "lorawan.port": 0}
    reading.booleans["lorawan.confirmed.status"] = get("confirmed") is True
    heard = real_time(settings.get("time")) if settings.__class__ is dict else 0
    clocks = (get("received_at"), message.get("received_at"), best.get("received_at"), best.get("gps_time"))
    set_times(reading, heard or real_time(best.get("time")), clocks)
    if payload.__class__ is str and payload:
        reading.texts["lorawan.payload"] = payload
    else:
        keep(reading, "ttn.frm_payload", payload)
    if get(_SECRET) is not None:
        reading.booleans["ttn.frm_payload_encrypted"] = True
    spread(reading, "ttn.", body, _FRAME)
    _radio(reading, body, best)
    _about_device(reading, body)
    decoded, normalized = plain(get("decoded_payload")), plain(get("normalized_payload"))
    if kind == _NORMALIZED:
        # The same frame also comes as uplink_message: its values are kept apart, so that nothing is counted twice.
        keep(reading, "ttn.normalized", normalized)
        keep(reading, "ttn.decoded_payload", decoded)
    else:
        keep(reading, "ttn.normalized_payload", normalized)
        if decoded.__class__ is dict:
            place_decoded(reading, "ttn", decoded)
        else:
            keep(reading, "ttn.decoded_payload", decoded)
    _locations(reading, get("locations"))
    # Neither the receptions nor the times of forwarding are the message: a repetition has others (AC-a38).
    counter = get("f_cnt") or 0
    reading.natural_key = f"{kind}:{session}:{counter}" if session else _key(message)
    reading.content = (kind, counter, get("f_port") or 0, payload or "", decoded, normalized)


def _radio(reading: Reading, body: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Keep who heard it, and on which channel. `rx_metadata[].location` is the gateway's place and never the device's."""
    if best:
        numbers, gateway = reading.numbers, best.get("gateway_ids")
        if gateway.__class__ is dict:
            reading.gateway = str(gateway.get("eui") or gateway.get("gateway_id") or "").lower()
        numbers["lorawan.rssi"] = number_or(best.get("rssi", best.get("channel_rssi")), 0)
        numbers["lorawan.snr"] = number_or(best.get("snr"), 0)
        numbers["lorawan.gateways"] = len(body["rx_metadata"])
    settings = body.get("settings")
    if settings.__class__ is not dict:
        keep(reading, "ttn.settings", settings)
        return
    spread(reading, "ttn.settings.", settings, _SETTINGS)
    time = settings.get("time")
    if time is not None and not real_time(time):
        keep(reading, "ttn.settings.time", time)
    rate = settings.get("data_rate")
    if rate.__class__ is dict and rate.get("lora").__class__ is dict:
        spread(reading, "ttn.settings.data_rate.lora.", rate["lora"], _LORA)
        spread(reading, "ttn.settings.data_rate.", rate, _LORA_TAKEN)
    else:
        keep(reading, "ttn.settings.data_rate", rate)


def _about_device(reading: Reading, body: Mapping[str, Any]) -> None:
    """Keep what the stack itself knows about the device: versions, airtime, and the battery it last reported."""
    get = body.get
    versions = get("version_ids")
    if versions.__class__ is dict:
        for name, value in versions.items():
            known = _VERSIONS.get(name) if value.__class__ is str else None
            keep(reading, known or f"ttn.version_ids.{name}", value)
    else:
        keep(reading, "ttn.version_ids", versions)
    airtime = get("consumed_airtime")
    seconds = number_or(airtime[:-1], _NAN) if airtime.__class__ is str and airtime.endswith("s") else _NAN
    if seconds == seconds:
        reading.numbers["ttn.consumed_airtime_s"] = seconds
    else:
        keep(reading, "ttn.consumed_airtime", airtime)
    battery: Any = get("last_battery_percentage")
    level = number_or(battery.get("value"), -1) if battery.__class__ is dict else -1
    if 0 <= level <= _FULL:
        reading.numbers["battery.level"] = level
        battery = {name: value for name, value in battery.items() if name != "value"}
    keep(reading, "ttn.last_battery_percentage", battery)


def _locations(reading: Reading, places: Any) -> None:
    """Take the device's position, and keep the others by their names.

    What was decoded counts, else what the stack took from the payload, else what was solved, else what was registered.
    """
    if places.__class__ is not dict:
        keep(reading, "ttn.locations", places)
        return
    latitude, longitude = reading.latitude, reading.longitude
    taken = latitude == latitude and longitude == longitude
    for name in places if len(places) == 1 else sorted(places, key=_how_sure):
        place = places[name]
        found = position(place)
        if taken and found == (latitude, longitude):  # the same once more, and perhaps how it was found
            rest = {key: value for key, value in place.items() if key not in _COORDINATES}
            if rest.get("altitude") == reading.altitude_m:
                del rest["altitude"]
            keep(reading, f"ttn.locations.{name}", rest)
        elif taken or found is None:
            keep(reading, f"ttn.locations.{name}", place)
        else:
            taken = location(reading, "ttn.location", place)
            reading.texts["ttn.location"] = name
            latitude, longitude = found


def _how_sure(name: str) -> tuple[bool, bool, str]:
    return (name != "frm-payload", name == "user", name)


def _other(reading: Reading, kind: str, message: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Keep what is no uplink: a solved location is a position, everything else an event of the network (AC-a35)."""
    set_times(reading, 0, (body.get("received_at"), message.get("received_at")))
    reading.natural_key = _key(message)
    reading.content = (kind, reading.platform_us, said(body))
    if kind == "location_solved":
        location(reading, "ttn.location", body.get("location"))
        spread(reading, "ttn.", body, {"location": ELSEWHERE})
        return
    reading.event_type = _EVENTS.get(kind, f"lorawan.{kind}")
    reading.event_attributes = attributes({name: body[name] for name in body if name not in _NOT_TOLD})
    spread(reading, f"ttn.{kind}.", body, dict.fromkeys(_NOT_TOLD, ELSEWHERE))
