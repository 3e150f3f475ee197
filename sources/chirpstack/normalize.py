"""ChirpStack events to readings, v4 and v3. Absent is zero: the messages are protobuf JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from sources.common_names import place
from sources.contract import Identity, Reading, Request
from sources.errors import Unreadable
from sources.lorawan import ACK, JOIN, LOG, NACK, TX_ACK, best_gateway, eui, put_number
from sources.peek import peek
from sources.values import as_object, number_or, parse_json, put, put_all, time_or_zero

_NAN = float("nan")
_EVENTS = {"join": JOIN, "txack": TX_ACK, "log": LOG, "error": LOG}
_READINGS = frozenset(("location", "status"))
"""Kinds that are telemetry beside `up`; every other kind is an event of the network (AC-a33)."""
_HANDLED = frozenset(
    "deduplicationId time deviceInfo devEui devEUI deviceName applicationID applicationName deviceProfileName deviceProfileID"
    " tags devAddr adr dr fCnt fPort confirmed confirmedUplink data object objectJSON rxInfo txInfo regionConfigId"
    " acknowledged margin externalPowerSource batteryLevelUnavailable batteryLevel location".split()
)
_KHZ = 1000


def ordering_key(request: Request) -> str:
    """Keep the order of the device."""
    return eui(peek(request.body, b'"devEui"', b'"devEUI"'))


def split(request: Request) -> Sequence[Any]:
    """Return the event, with the kind that the query names. Protobuf bodies raise Unreadable("protobuf_not_supported")."""
    if not request.body.strip():
        return []
    if request.content_type.startswith("application/octet-stream") and request.body.lstrip()[:1] not in (b"{", b"["):
        raise Unreadable("protobuf_not_supported", "set the integration's encoding to JSON")
    parsed = parse_json(request.body)
    return parsed if isinstance(parsed, list) else [parsed]


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one event. Raises Unreadable when it is no object or names no device."""
    event = as_object(item)
    info = event["deviceInfo"] if isinstance(event.get("deviceInfo"), Mapping) else {}
    dev_eui = eui(info.get("devEui") or event.get("devEui") or event.get("devEUI"))
    if not dev_eui:
        raise Unreadable("no_device", "no `deviceInfo.devEui`, or it is no EUI-64")
    kind = request.query.get("event") or _kind(event)
    reading = Reading(
        type=kind,
        source_device=dev_eui,
        identities=(Identity("dev_eui", dev_eui),),
        sent_us=time_or_zero(event.get("time")),
        natural_key=str(event.get("deduplicationId") or ""),
        content={"kind": kind, "event": event},
    )
    name = info.get("deviceName") or event.get("deviceName")
    if isinstance(name, str) and name:
        reading.texts["device.name"] = name
    tags = info.get("tags") or event.get("tags")
    put_all(reading, "chirpstack.tags.", tags if isinstance(tags, Mapping) else {})
    _radio(reading, event)
    if kind == "status":
        _status(reading, event)
    if kind == "location" or (kind != "up" and isinstance(event.get("location"), Mapping)):
        _location(reading, event.get("location"))
    if kind == "up":
        _readings(reading, event)
    elif kind == "ack":
        reading.event_type = ACK if event.get("acknowledged") else NACK
    elif kind not in _READINGS:
        reading.event_type = _EVENTS.get(kind, f"chirpstack.{kind}")
    rest = {key: value for key, value in event.items() if key not in _HANDLED}
    put_all(reading, "chirpstack.", rest)
    if reading.event_type:
        reading.event_attributes = {key: value for key, value in rest.items() if isinstance(value, (str, int, float))}
    return (reading,)


def _kind(event: Mapping[str, Any]) -> str:  # noqa: PLR0911  one return per kind
    """Tell the kind of an event whose query does not."""
    if "acknowledged" in event:
        return "ack"
    if "margin" in event or "batteryLevel" in event or "externalPowerSource" in event:
        return "status"
    if "level" in event and "code" in event:
        return "log"
    if "gatewayId" in event and "txInfo" in event:
        return "txack"
    if isinstance(event.get("location"), Mapping) and "fCnt" not in event:
        return "location"
    if any(key in event for key in ("fPort", "fCnt", "data", "rxInfo", "object", "objectJSON")):
        return "up"
    return "join" if "devAddr" in event else "unknown"


def _readings(reading: Reading, event: Mapping[str, Any]) -> None:
    """Keep what the codec decoded; without a codec the raw payload stays to be decoded later (AC-a39)."""
    decoded = event.get("object")
    if decoded is None and isinstance(event.get("objectJSON"), str) and event["objectJSON"]:
        try:
            decoded = orjson.loads(event["objectJSON"])
        except orjson.JSONDecodeError:
            reading.texts["chirpstack.objectJSON"] = event["objectJSON"]
    if isinstance(decoded, Mapping):
        place(reading, "chirpstack", decoded)
    elif decoded is not None:
        put(reading, "chirpstack.object", decoded)


def _radio(reading: Reading, event: Mapping[str, Any]) -> None:
    """Keep radio metadata. `rxInfo[].location` is the gateway's place and never the device's."""
    receptions = event.get("rxInfo")
    heard = receptions if isinstance(receptions, list) else []
    best = best_gateway(heard)
    if best:
        gateway = best.get("gatewayId") or eui(best.get("gatewayID"))
        reading.gateway = gateway if isinstance(gateway, str) else ""
        put_number(reading, "lorawan.rssi", best.get("rssi", 0))
        put_number(reading, "lorawan.snr", best.get("snr", best.get("loRaSNR", 0)))
        reading.numbers["lorawan.gateways"] = len(heard)
        reading.platform_us = time_or_zero(best.get("nsTime")) or time_or_zero(best.get("gwTime"))
        reading.sent_us = reading.sent_us or time_or_zero(best.get("time"))  # v3 has no time of the event itself
    if heard:
        put_number(reading, "lorawan.counter", event.get("fCnt", 0))
        put_number(reading, "lorawan.port", event.get("fPort", 0))
        put_number(reading, "lorawan.data_rate", event.get("dr", 0))
        reading.booleans["lorawan.confirmed.status"] = bool(event.get("confirmed") or event.get("confirmedUplink"))
    if isinstance(event.get("data"), str) and event["data"]:
        reading.texts["lorawan.payload"] = event["data"]
    if isinstance(event.get("regionConfigId"), str):
        reading.texts["lorawan.region"] = event["regionConfigId"]
    sent = event.get("txInfo")
    if isinstance(sent, Mapping):
        put_number(reading, "lorawan.frequency", sent.get("frequency"))
        modulation = sent.get("modulation")
        new = modulation.get("lora") if isinstance(modulation, Mapping) else None
        old = sent.get("loRaModulationInfo")
        if isinstance(new, Mapping):
            put_number(reading, "lorawan.bandwidth", new.get("bandwidth"))
            put_number(reading, "lorawan.spreading_factor", new.get("spreadingFactor"))
        elif isinstance(old, Mapping):  # v3 writes kHz
            put_number(reading, "lorawan.bandwidth", old.get("bandwidth"), _KHZ)
            put_number(reading, "lorawan.spreading_factor", old.get("spreadingFactor"))


def _status(reading: Reading, event: Mapping[str, Any]) -> None:
    """Keep the device's status: a level of 0 % beside external power, or an unavailable one, is none."""
    put_number(reading, "lorawan.margin", event.get("margin", 0))
    external = bool(event.get("externalPowerSource"))
    reading.booleans["external.powersource.status"] = external
    if not external and not event.get("batteryLevelUnavailable"):
        put_number(reading, "battery.level", event.get("batteryLevel", 0))


def _location(reading: Reading, location: Any) -> None:
    """Take the device's position; an absent coordinate is 0, an empty object or 0/0 of unknown source none."""
    if not isinstance(location, Mapping) or not location:
        return
    latitude, longitude = number_or(location.get("latitude", 0), _NAN), number_or(location.get("longitude", 0), _NAN)
    if latitude == 0 and longitude == 0 and location.get("source", "UNKNOWN") == "UNKNOWN":
        return
    reading.latitude, reading.longitude = latitude, longitude
    reading.altitude_m = number_or(location.get("altitude"), _NAN)
    reading.accuracy_m = number_or(location.get("accuracy"), _NAN)
    if isinstance(location.get("source"), str):
        reading.texts["chirpstack.location.source"] = location["source"]
