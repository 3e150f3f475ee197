"""ChirpStack events to readings, v4 and v3. Absent is zero: the messages are protobuf, or its JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from sources.chirpstack import protobuf
from sources.contract import Reading, Request
from sources.errors import Unreadable
from sources.lorawan import (
    ACK,
    ELSEWHERE,
    JOIN,
    LOG,
    NACK,
    TX_ACK,
    attributes,
    best_gateway,
    by_dev_eui,
    eui,
    keep,
    location,
    plain,
    real_time,
    said,
    set_times,
    spread,
)
from sources.lorawan_decoded import place_decoded
from sources.lorawan_protobuf import items
from sources.peek import peek
from sources.values import as_object, number_or, put

_PREFIX = "chirpstack."
_EVENTS = {"join": JOIN, "txack": TX_ACK, "log": LOG, "error": LOG}
_READINGS = frozenset(("up", "location", "status"))
"""Kinds that are telemetry; every other kind is an event of the network (AC-a33)."""
_NAN = float("nan")
_KHZ = 1000
_FULL = 100
_NO_UPLINK_ID = frozenset(("00000000-0000-0000-0000-000000000000", "AAAAAAAAAAAAAAAAAAAAAA=="))
_ANYWHERE = dict.fromkeys(
    "devEui devEUI deviceInfo deviceName time regionConfigId joinServerContext".split(), ELSEWHERE
)
_NAMES: dict[str, dict[str, str]] = {
    "up": {
        "fCnt": "lorawan.counter", "fPort": "lorawan.port", "dr": "lorawan.data_rate",
        **_ANYWHERE,
        **dict.fromkeys(("confirmed", "confirmedUplink", "data", "object", "objectJSON", "txInfo"), ELSEWHERE),
    },
    "status": {
        **_ANYWHERE,
        **dict.fromkeys(("margin", "externalPowerSource", "batteryLevel", "batteryLevelUnavailable"), ELSEWHERE),
    },
    "location": {**_ANYWHERE, "location": ELSEWHERE},
}  # fmt: skip
_DEVICE = {"devEui": ELSEWHERE, "deviceName": ELSEWHERE, "tags": ELSEWHERE}
_CHANNEL = {
    "frequency": "lorawan.frequency",
    "dr": "lorawan.data_rate",
    "modulation": ELSEWHERE,
    "loRaModulationInfo": ELSEWHERE,
}
_LORA = {"bandwidth": "lorawan.bandwidth", "spreadingFactor": "lorawan.spreading_factor"}
_NOT_SAID = frozenset(("rxInfo", "deviceInfo", "time", "publishedAt"))
"""What is not the message itself: where else it was heard, what its device is called at the moment, times (compared as
ticks)."""
_NOT_ATTRIBUTES = _NOT_SAID | frozenset(
    "deduplicationId devEui devEUI deviceName applicationID applicationName deviceProfileID deviceProfileName tags"
    " joinServerContext".split()
)


def ordering_key(request: Request) -> str:
    """Keep the order of the device."""
    body = request.body
    return eui(peek(body, b'"devEui"', b'"devEUI"')) or ("" if body[:1] == b"{" else protobuf.dev_eui(body))


def split(request: Request) -> Sequence[Any]:
    """Return the event, sent as JSON or as protobuf. Raises Unreadable("not_json") or Unreadable("not_protobuf")."""
    return items(request, lambda body: protobuf.decode(body, request.query.get("event", "")))


def read(item: Any, request: Request) -> Iterable[Reading]:
    """Read one event. Raises Unreadable when it is no object or names no device."""
    event = as_object(item)
    stated = event.get("deviceInfo")
    info: dict[str, Any] = stated if stated.__class__ is dict else {}
    dev_eui = eui(info.get("devEui") or event.get("devEui") or event.get("devEUI"))
    if not dev_eui:
        raise Unreadable("no_device", "no `deviceInfo.devEui`, or it is no EUI-64")
    kind = request.query.get("event") or _kind(event)
    if kind == "up" and _UPLINK_KEYS.isdisjoint(event) and "rxInfo" not in event:
        told = _kind(event)  # a proxy that calls everything `up`: nothing of an uplink is in it
        kind = told if told not in {"join", "unknown"} else kind
    reading = Reading(type=kind, source_device=dev_eui, identities=by_dev_eui(dev_eui))
    best = best_gateway(event.get("rxInfo"))
    _times(reading, event, best)
    if kind == "up":
        _uplink(reading, event)
    _device(reading, event, info)
    _gateway(reading, event, best)
    spread(reading, _PREFIX, event, _NAMES.get(kind, _ANYWHERE))
    decoded = None
    if kind == "up":
        decoded = _decoded(reading, event)
    elif kind == "status":
        _status(reading, event)
    elif kind == "location":
        location(reading, "chirpstack.location", event.get("location"))
    else:
        _say_what_happened(reading, event, kind)
    _identify(reading, event, kind, decoded)
    return (reading,)


def _identify(reading: Reading, event: Mapping[str, Any], kind: str, decoded: Any) -> None:
    """Set what the record id is made of (AC-a38).

    `deduplicationId` is ChirpStack's own key; `txack` has that of the downlink, v3 one per reception, `log` none. Where
    there is none the times tell two messages apart that say the same.
    """
    get = event.get
    key = get("deduplicationId") or get("downlinkId") or _uplink_id(get("rxInfo"))
    reading.natural_key = key if key.__class__ is str else str(key)
    times = () if key else (reading.sent_us, reading.platform_us)
    if kind == "up":
        reading.content = (
            kind, get("fCnt") or 0, get("fPort") or 0, get("data") or "", get("devAddr") or "", decoded, times
        )  # fmt: skip
    else:
        rest = {name: value for name, value in event.items() if value and name not in _NOT_SAID}
        reading.content = (kind, said(rest), reading.sent_us, reading.platform_us)


def _uplink_id(receptions: Any) -> str:
    first = receptions[0] if receptions.__class__ is list and receptions else None
    key = first.get("uplinkID") if first.__class__ is dict else None
    return key if key.__class__ is str and key not in _NO_UPLINK_ID else ""


def _kind(event: Mapping[str, Any]) -> str:  # noqa: PLR0911  one return per kind
    """Tell the kind of an event whose query does not, nulls and zeros of other kinds beside it or not."""
    if "fPort" in event:
        return "up"
    if "margin" in event or "batteryLevel" in event or "externalPowerSource" in event:
        return "status"
    if ("level" in event and "code" in event) or ("type" in event and "error" in event):
        return "log"
    if "gatewayId" in event or "gatewayID" in event or "downlinkId" in event:
        return "txack"
    if "acknowledged" in event or "queueItemId" in event:
        return "ack"
    if "integrationName" in event:
        return "integration"
    if event.get("location").__class__ is dict:
        return "location"
    if not _UPLINK_KEYS.isdisjoint(event):
        return "up"
    if "devAddr" in event:
        return "join"
    return "up" if "rxInfo" in event else "unknown"


_UPLINK_KEYS = frozenset(("fPort", "fCnt", "data", "object", "objectJSON"))


def _times(reading: Reading, event: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Set the times. v3 has none of the event itself, only that of its reception."""
    time = event.get("time")
    ticks = real_time(time)
    if not ticks and time is not None:
        keep(reading, "chirpstack.time", time)
    heard, server = best, best.get("nsTime")
    if server is None and best.get("gwTime") is None and best and len(event["rxInfo"]) > 1:
        heard = next((each for each in event["rxInfo"] if each.__class__ is dict and "nsTime" in each), best)
        server = heard.get("nsTime")
    set_times(reading, ticks or real_time(best.get("time")), (server, heard.get("gwTime"), event.get("publishedAt")))


def _device(reading: Reading, event: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Keep what is said about the device: its name, its tags and where it belongs."""
    name = info.get("deviceName") or event.get("deviceName")
    if name.__class__ is str:
        reading.texts["device.name"] = name
    else:
        keep(reading, "chirpstack.deviceName", name)
    if info:
        tags = info.get("tags")
        if tags:
            keep(reading, "chirpstack.tags", tags)
        spread(reading, "chirpstack.deviceInfo.", info, _DEVICE)
    else:
        keep(reading, "chirpstack.deviceInfo", event.get("deviceInfo"))
    session = event.get("joinServerContext")
    if session.__class__ is dict:  # holds the AppSKey of an end-to-end encrypted session, which is no telemetry
        keep(reading, "chirpstack.joinServerContext.sessionKeyId", session.get("sessionKeyId"))


def _gateway(reading: Reading, event: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Keep who heard or sent it. `rxInfo[].location` is the gateway's place and never the device's."""
    gateway = best or event
    named = gateway.get("gatewayId") or eui(gateway.get("gatewayID"))
    if named.__class__ is str:
        reading.gateway = named
    region = event.get("regionConfigId")
    if best:
        numbers = reading.numbers
        numbers["lorawan.rssi"] = number_or(best.get("rssi"), 0)
        numbers["lorawan.snr"] = number_or(best.get("snr", best.get("loRaSNR")), 0)
        numbers["lorawan.gateways"] = len(event["rxInfo"])
        metadata = best.get("metadata")
        if not region and metadata.__class__ is dict:
            region = metadata.get("region_config_id")
    if region.__class__ is str and region:
        reading.texts["lorawan.region"] = region
    else:
        keep(reading, "chirpstack.regionConfigId", region)


def _uplink(reading: Reading, event: Mapping[str, Any]) -> None:
    """Take what only an uplink has; absent numbers are 0."""
    get = event.get
    reading.numbers = {"lorawan.counter": 0, "lorawan.port": 0, "lorawan.data_rate": 0}
    confirmed = get("confirmed", get("confirmedUplink"))
    reading.booleans["lorawan.confirmed.status"] = confirmed is True
    if confirmed.__class__ is not bool:
        keep(reading, "chirpstack.confirmed", confirmed)
    payload = get("data")
    if payload.__class__ is str:
        if payload:
            reading.texts["lorawan.payload"] = payload
    elif payload is not None:
        keep(reading, "chirpstack.data", payload)
    _channel(reading, get("txInfo"))


def _decoded(reading: Reading, event: Mapping[str, Any]) -> Any:
    """Keep what the codec decoded, and return it; without a codec the raw payload stays to be decoded later (AC-a39).

    Comes last: where the device gives a reading the name of one of the protocol's fields, the reading counts.
    """
    decoded, text = event.get("object"), event.get("objectJSON")
    if text:
        if decoded is None and text.__class__ is str:
            try:
                decoded = orjson.loads(text)
            except orjson.JSONDecodeError:
                reading.texts["chirpstack.objectJSON"] = text
        else:
            keep(reading, "chirpstack.objectJSON", text)
    if decoded is None:
        return None
    decoded = plain(decoded)
    if decoded.__class__ is dict:
        place_decoded(reading, "chirpstack", decoded)
    else:
        put(reading, "chirpstack.object", decoded)
    return decoded


def _channel(reading: Reading, sent: Any) -> None:
    """Take the channel out of an uplink's `txInfo`. v4 writes the bandwidth in Hz, v3 in kHz, its flat JSON a data rate."""
    if sent.__class__ is not dict:
        keep(reading, "chirpstack.txInfo", sent)
        return
    spread(reading, "chirpstack.txInfo.", sent, _CHANNEL)
    modulation, old = sent.get("modulation"), sent.get("loRaModulationInfo")
    if modulation.__class__ is dict and modulation.get("lora").__class__ is dict:
        spread(reading, "chirpstack.txInfo.modulation.lora.", modulation["lora"], _LORA)
        spread(reading, "chirpstack.txInfo.modulation.", modulation, {"lora": ELSEWHERE})
    else:
        keep(reading, "chirpstack.txInfo.modulation", modulation)
    if old.__class__ is dict:
        spread(reading, "chirpstack.txInfo.loRaModulationInfo.", old, _LORA)
        if "lorawan.bandwidth" in reading.numbers:
            reading.numbers["lorawan.bandwidth"] *= _KHZ
    else:
        keep(reading, "chirpstack.txInfo.loRaModulationInfo", old)


def _status(reading: Reading, event: Mapping[str, Any]) -> None:
    """Keep the device's status. A level of 0 % beside external power, or an unavailable one, is none."""
    get = event.get
    margin = number_or(get("margin") or 0, _NAN)
    if margin == margin:
        reading.numbers["lorawan.margin"] = margin
    else:
        keep(reading, "chirpstack.margin", get("margin"))
    for name in ("externalPowerSource", "batteryLevelUnavailable"):
        if get(name).__class__ is not bool:
            keep(reading, _PREFIX + name, get(name))
    external, unavailable = get("externalPowerSource") is True, get("batteryLevelUnavailable") is True
    reading.booleans["external.powersource.status"] = external
    level = number_or(get("batteryLevel") or 0, -1)
    if 0 <= level <= _FULL and not unavailable and (level or not external) and "battery" not in event:
        reading.numbers["battery.level"] = level
    elif level:
        keep(reading, "chirpstack.batteryLevel", get("batteryLevel"))
    if unavailable:
        reading.booleans["chirpstack.batteryLevelUnavailable"] = True


def _say_what_happened(reading: Reading, event: Mapping[str, Any], kind: str) -> None:
    """Make the network's event of every kind that is no telemetry (AC-a33). Keys of sessions stay out of it."""
    if kind == "ack":
        reading.event_type = ACK if event.get("acknowledged") is True else NACK
    else:
        reading.event_type = _EVENTS.get(kind, _PREFIX + kind)
    told = {name: value for name, value in event.items() if value and name not in _NOT_ATTRIBUTES}
    reading.event_attributes = attributes(told)
