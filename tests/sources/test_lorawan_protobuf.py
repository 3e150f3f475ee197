"""Protobuf bodies of ChirpStack and The Things Stack: the same event gives the same record as its JSON."""

import struct
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources.catalog import load_source
from sources.chirpstack import protobuf as chirpstack
from sources.contract import Request
from sources.engine import NORMALIZER_ERROR, Canonical, Defect, canonicalize
from sources.lorawan_protobuf import LARGEST, first_field, is_protobuf
from sources.proto_file import parse
from sources.ttn import protobuf as ttn
from sources.ttn.normalize import KINDS

NOW = 1_767_322_900_000_000
OCTETS = "application/octet-stream"
EUI = "1000000000000001"
TAGS = {"site": "north"}
INFO = {
    "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "ChirpStack", "applicationId": "ca739e26",
    "applicationName": "app", "deviceProfileId": "605d08d4", "deviceProfileName": "profile", "deviceName": "sensor 1",
    "devEui": EUI, "deviceClassEnabled": "CLASS_A", "tags": TAGS,
}  # fmt: skip
HEAD = {
    "deduplicationId": "57433366-50a6-4dc2-8145-2df1bbc70d9e",
    "time": "2026-01-02T02:59:00.775023242+00:00",
    "deviceInfo": INFO,
}
PLACE = {"latitude": 48.1, "longitude": 11.5, "source": "GPS", "accuracy": 12.3}
LORA = {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}
V4: dict[str, dict[str, Any]] = {
    "up": {
        **HEAD, "devAddr": "20000001", "adr": True, "dr": 5, "fCnt": 0, "fPort": 85, "confirmed": False, "data": "AXVk",
        "object": {
            "temperature": 21.0, "humidity": 48.5, "ok": True, "note": "x", "none": None, "zero": 0.0,
            "list": [1.0, {"a": [2.5]}], "gps": {"latitude": 48.1, "longitude": 11.5},
        },
        "rxInfo": [
            {
                "gatewayId": "6a7e111a10000000", "uplinkId": 24022, "gwTime": "2026-01-02T02:59:00.800+00:00",
                "nsTime": "2026-01-02T02:59:00.900+00:00", "timeSinceGpsEpoch": "1451357958.775023s", "rssi": -97,
                "snr": -3.2, "channel": 2, "rfChain": 1, "location": {"latitude": 47.0, "longitude": 10.0},
                "context": "EFwMtA==", "metadata": {"region_config_id": "eu868"}, "crcStatus": "CRC_OK",
            },
            {"gatewayId": "6a7e111a10000001", "rssi": -61, "snr": 8.0, "location": {}},
        ],
        "txInfo": {"frequency": 868500000, "modulation": {"lora": LORA}},
        "regionConfigId": "eu868",
    },
    "join": {**HEAD, "devAddr": "00189440", "regionConfigId": "eu868"},
    "ack": {**HEAD, "queueItemId": "q-1", "acknowledged": False, "fCntDown": 0},
    "txack": {
        "downlinkId": 4711, "time": HEAD["time"], "deviceInfo": INFO, "queueItemId": "q-1", "fCntDown": 7,
        "gatewayId": "6a7e111a10000000",
        "txInfo": {"frequency": 868500000, "power": 14, "modulation": {"lora": LORA}, "timing": {"delay": {"delay": "1s"}}},
    },
    "log": {
        "time": HEAD["time"], "deviceInfo": INFO, "level": "ERROR", "code": "UPLINK_F_CNT_RETRANSMISSION",
        "description": "twice", "context": {"deduplication_id": "57433366"},
    },
    "status": {**HEAD, "margin": -3, "externalPowerSource": False, "batteryLevelUnavailable": False, "batteryLevel": 75.3},
    "location": {**HEAD, "location": PLACE},
    "integration": {**HEAD, "integrationName": "loracloud", "eventType": "x", "object": {"a": 1.5}},
}  # fmt: skip
HEAD_V3 = {
    "applicationID": "123", "applicationName": "app", "deviceName": "garden", "devEUI": "EAAAAAAAAAM=",
    "tags": {"key": "value"}, "publishedAt": "2026-01-02T02:58:01.500Z",
}  # fmt: skip
TX_V3 = {
    "frequency": 868100000, "modulation": "LORA",
    "loRaModulationInfo": {"bandwidth": 250, "spreadingFactor": 5, "codeRate": "4/6", "polarizationInversion": False},
}  # fmt: skip
RX_V3 = [
    {
        "gatewayID": "AwMDAwMDAwM=", "time": "2026-01-02T02:58:00.250Z", "timeSinceGPSEpoch": "1451357958.250s", "rssi": -48,
        "loRaSNR": 9, "channel": 0, "rfChain": 0, "board": 0, "antenna": 0,
        "location": {"latitude": 52.37, "longitude": 4.88, "altitude": 0, "source": "UNKNOWN", "accuracy": 0},
        "fineTimestampType": "NONE", "context": "9u/uvA==", "uplinkID": "jhMh8Gq6RAOChSKbi83RHQ==", "crcStatus": "CRC_OK",
    }
]  # fmt: skip
V3: dict[str, dict[str, Any]] = {
    "up": {
        **HEAD_V3, "rxInfo": RX_V3, "txInfo": TX_V3, "adr": True, "dr": 1, "fCnt": 10, "fPort": 5, "data": "AQID",
        "objectJSON": '{"temperature":18.2,"level":7}', "confirmedUplink": True, "devAddr": "AFE5Qg==",
        "deviceProfileID": "p", "deviceProfileName": "profile",
    },
    "join": {**HEAD_V3, "devAddr": "AFE5Qg==", "rxInfo": RX_V3, "txInfo": TX_V3, "dr": 1},
    "ack": {**HEAD_V3, "acknowledged": True, "fCnt": 15},
    "txack": {
        **HEAD_V3, "fCnt": 15, "gatewayID": "AwMDAwMDAwM=",
        "txInfo": {
            **TX_V3, "gatewayID": "AwMDAwMDAwM=", "power": 14, "board": 0, "antenna": 0, "timing": "DELAY",
            "delayTimingInfo": {"delay": "1s"}, "context": "9u/uvA==",
        },
    },
    "error": {**HEAD_V3, "type": "UPLINK_CODEC", "error": "TypeError", "fCnt": 0},
    "status": {
        **HEAD_V3, "margin": 6, "externalPowerSource": True, "batteryLevelUnavailable": False, "batteryLevel": 0,
    },
    "location": {
        **HEAD_V3, "fCnt": 3, "uplinkIDs": [],
        "location": {"latitude": 48.1, "longitude": 11.5, "altitude": 519.5, "source": "GEO_RESOLVER_TDOA", "accuracy": 30},
    },
    "integration": {**HEAD_V3, "integrationName": "loracloud", "eventType": "x", "objectJSON": '{"a":1}'},
}  # fmt: skip
IDS = {
    "device_id": "dev1", "application_ids": {"application_id": "app1"}, "dev_eui": "4200000000000000",
    "join_eui": "4200000000000001", "dev_addr": "01DA1F15",
}  # fmt: skip
UPLINK = {
    "session_key_id": "AWiZpAyXrAfEkUNkBljRoA==", "f_port": 15, "f_cnt": 42, "frm_payload": "VGVtcA==",
    "decoded_payload": {"temperature": 21.0, "humidity": 48.5, "list": [1, {"a": None}]},
    "decoded_payload_warnings": ["odd"],
    "normalized_payload": [{"air": {"temperature": 21.0}}], "confirmed": True,
    "rx_metadata": [
        {
            "gateway_ids": {"gateway_id": "gw1", "eui": "0242020000247803"}, "time": "2026-01-02T02:59:00.981Z",
            "timestamp": 1283325000, "fine_timestamp": "98765", "rssi": -35, "channel_rssi": -35, "snr": 5.2,
            "frequency_offset": "-211", "location": {"latitude": 47, "longitude": 10.5, "source": "SOURCE_REGISTRY"},
            "uplink_token": "CiIKIA==", "received_at": "2026-01-02T02:59:01.000000009Z",
        }
    ],
    "settings": {
        "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7, "coding_rate": "4/5"}}, "frequency": "868500000",
        "timestamp": 1283325000, "time": "2026-01-02T02:59:00.981Z",
    },
    "received_at": "2026-01-02T02:59:01.987654321Z", "consumed_airtime": "0.056576s", "packet_error_rate": 0.25,
    "locations": {"user": {"latitude": 52, "longitude": 4, "altitude": 16, "source": "SOURCE_REGISTRY"}},
    "version_ids": {"brand_id": "b", "model_id": "m", "hardware_version": "1", "firmware_version": "1.2", "band_id": "EU"},
    "network_ids": {"net_id": "000013", "tenant_id": "ttn", "cluster_id": "eu1", "ns_id": "EC656E0000000181"},
}  # fmt: skip
DOWNLINK = {
    "session_key_id": "AWiZpAyXrAfEkUNkBljRoA==", "f_port": 15, "f_cnt": 11, "frm_payload": "ASNFZw==", "confirmed": True,
    "priority": "NORMAL", "correlation_ids": ["as:downlink:01"], "confirmed_retry": {"attempt": 1, "max_attempts": 3},
}  # fmt: skip
BODIES: dict[str, Any] = {
    "uplink_message": UPLINK,
    "uplink_normalized": {
        **{key: value for key, value in UPLINK.items() if not key.startswith(("decoded", "packet"))},
        "normalized_payload": {"air": {"temperature": 21.0}},
    },
    "join_accept": {
        "session_key_id": "AWiZ", "pending_session": True, "received_at": "2026-01-02T02:59:01Z",
        "app_s_key": {"key": "0123456789ABCDEF0123456789ABCDEF"}, "invalidated_downlinks": [DOWNLINK],
    },
    "downlink_ack": DOWNLINK, "downlink_nack": DOWNLINK, "downlink_sent": DOWNLINK, "downlink_queued": DOWNLINK,
    "downlink_failed": {
        "downlink": DOWNLINK,
        "error": {"namespace": "pkg/networkserver", "name": "application_downlink_too_long", "message_format": "m",
                  "attributes": {"max": 51}, "correlation_id": "0123", "code": 3},
    },
    "downlink_queue_invalidated": {"downlinks": [DOWNLINK], "last_f_cnt_down": 9, "session_key_id": "AWiZ"},
    "location_solved": {
        "service": "lora-cloud", "attributes": {"k": "v"},
        "location": {"latitude": 52.31, "longitude": 4.91, "accuracy": 20, "source": "SOURCE_LORA_TDOA_GEOLOCATION"},
    },
    "service_data": {"service": "lora-cloud", "data": {"battery": 3.4}},
}  # fmt: skip
HEX = {"dev_eui", "join_eui", "dev_addr", "eui", "net_id", "ns_id", "key"}


def ttn_message(kind: str) -> dict[str, Any]:
    return {
        "end_device_ids": IDS,
        "correlation_ids": ["gs:uplink:01D2", "as:up:01D3"],
        "received_at": "2026-01-02T02:59:02.123456789Z",
        kind: BODIES[kind],
    }


def as_base64(value: Any, name: str = "") -> Any:
    """Bring The Things Stack's JSON into protobuf's own: bytes there are always base64."""
    if isinstance(value, dict):
        return {key: as_base64(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_base64(each) for each in value]
    import base64

    return base64.b64encode(bytes.fromhex(value)).decode() if name in HEX else value


def encoded(message: Any, body: Any) -> bytes:
    return bytes(json_format.ParseDict(body, message()).SerializeToString())


def ttn_bytes(kind: str) -> bytes:
    return encoded(ttn.schema().message("ApplicationUp"), as_base64(ttn_message(kind)))


def chirpstack_bytes(version: str, kind: str) -> bytes:
    name = {"txack": "TxAckEvent", "up": "UplinkEvent"}.get(kind, f"{kind.title()}Event")
    return encoded(chirpstack.schema(version).message(name), (V4 if version == "v4" else V3)[kind])


def made(source: str, body: bytes, **more: Any) -> Canonical | Defect:
    (only,) = canonicalize(load_source(source), Request(body=body, received_us=NOW, tenant_id="t", **more))
    return only


def record(source: str, body: bytes, **more: Any) -> Any:
    found = made(source, body, **more)
    assert isinstance(found, Canonical), found
    return {name: value if value == value else None for name, value in found.record.items()}


CHIRPSTACK = [("v4", kind) for kind in V4] + [("v3", kind) for kind in V3]


@pytest.mark.parametrize(("version", "kind"), CHIRPSTACK)
def test_a_chirpstack_event_is_the_same_record_in_json_and_in_protobuf(version: str, kind: str) -> None:  # AC-a34
    event = (V4 if version == "v4" else V3)[kind]
    from_json = record("chirpstack", orjson.dumps(event), query={"event": kind}, content_type="application/json")
    body = chirpstack_bytes(version, kind)
    from_protobuf = record("chirpstack", body, query={"event": kind}, content_type=OCTETS)
    assert from_protobuf == from_json
    assert from_protobuf["type"] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_the_stack_is_the_same_record_in_json_and_in_protobuf(kind: str) -> None:  # AC-a35
    from_json = record("ttn", orjson.dumps(ttn_message(kind)), content_type="application/json")
    from_protobuf = record("ttn", ttn_bytes(kind), content_type=OCTETS)
    assert from_protobuf == from_json
    assert from_protobuf["type"] == kind


# What follows is encoded by hand, field by field, so that a wrong number in our own `.proto` files shows.


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (2**64 - 1))
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def single(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def test_the_published_field_numbers_of_chirpstack_v4_are_read() -> None:  # AC-a30, AC-a34, AC-a39
    info = field(7, "sensor 1") + field(8, EUI.upper()) + field(9, field(1, "site") + field(2, "north"))
    heard = field(1, "6a7e111a10000000") + field(17, field(1, 1_767_322_801)) + field(6, -61) + single(7, 8.5)
    heard += field(12, field(1, 47.0) + field(2, 10.0))
    channel = field(1, 868_500_000) + field(2, field(3, field(1, 125_000) + field(2, 7) + field(5, 1)))
    decoded = field(1, field(1, "temperature") + field(2, field(2, 21.5)))
    body = field(1, "57433366-50a6-4dc2-8145-2df1bbc70d9e") + field(2, field(1, 1_767_322_800) + field(2, 5_000_000))
    body += field(3, info) + field(4, "20000001") + field(5, 1) + field(6, 5) + field(7, 300) + field(8, 85)
    body += (
        field(9, 1)
        + field(10, b"\x01\x02")
        + field(11, decoded)
        + field(12, heard)
        + field(13, channel)
        + field(16, "eu868")
    )
    found = record("chirpstack", body, query={"event": "up"}, content_type=OCTETS)
    assert (found["source_device"], found["gateway_id"]) == (EUI, "6a7e111a10000000")
    assert (found["observed_us"], found["platform_us"]) == (1_767_322_800_005_000, 1_767_322_801_000_000)
    assert found["latitude"] is None
    assert found["numbers"] == {
        "lorawan.counter": 300, "lorawan.port": 85, "lorawan.data_rate": 5, "lorawan.rssi": -61, "lorawan.snr": 8.5,
        "lorawan.gateways": 1, "lorawan.frequency": 868_500_000, "lorawan.bandwidth": 125_000,
        "lorawan.spreading_factor": 7, "temperature": 21.5,
    }  # fmt: skip
    assert found["booleans"] == {"lorawan.confirmed.status": True, "chirpstack.adr": True}
    assert found["texts"]["lorawan.payload"] == "AQI="
    assert found["texts"]["chirpstack.tags.site"] == "north"
    assert found["texts"]["chirpstack.txInfo.modulation.lora.codeRate"] == "CR_4_5"


def test_the_published_field_numbers_of_chirpstack_v3_are_read() -> None:  # AC-a34
    heard = (
        field(1, b"\x03" * 8)
        + field(2, field(1, 1_767_322_800))
        + field(5, -48)
        + field(6, 9.0)
        + field(16, b"\x07" * 16)
    )
    channel = field(1, 868_100_000) + field(3, field(1, 250) + field(2, 5))
    body = field(1, 123) + field(2, "app") + field(3, "garden") + field(4, bytes.fromhex(EUI)) + field(5, heard)
    body += field(6, channel) + field(7, 1) + field(8, 1) + field(9, 10) + field(10, 5) + field(11, b"\x01")
    body += field(12, '{"temperature":18.2}') + field(14, 1) + field(16, field(1, 1_767_322_801))
    found = record("chirpstack", body, query={"event": "up"}, content_type=OCTETS)
    assert (found["source_device"], found["gateway_id"]) == (EUI, "03" * 8)
    assert (found["observed_us"], found["platform_us"]) == (1_767_322_800_000_000, 1_767_322_801_000_000)
    assert found["numbers"] == {
        "lorawan.counter": 10, "lorawan.port": 5, "lorawan.data_rate": 1, "lorawan.rssi": -48, "lorawan.snr": 9,
        "lorawan.gateways": 1, "lorawan.frequency": 868_100_000, "lorawan.bandwidth": 250_000,
        "lorawan.spreading_factor": 5, "temperature": 18.2,
    }  # fmt: skip
    assert found["booleans"]["lorawan.confirmed.status"] is True
    status = field(1, 123) + field(4, bytes.fromhex(EUI)) + field(5, -3) + single(8, 75.3)
    told = record("chirpstack", status, query={"event": "status"}, content_type=OCTETS)["numbers"]
    assert (told["lorawan.margin"], told["battery.level"]) == (-3, 75.3)


def test_the_published_field_numbers_of_the_stack_are_read() -> None:  # AC-a31, AC-a39
    heard = field(1, field(1, "gw1") + field(2, bytes.fromhex("0242020000247803"))) + single(8, -35) + single(11, 5.2)
    heard += field(13, field(1, 47.0) + field(2, 10.0))
    sent = (
        field(1, field(1, field(1, 125_000) + field(2, 7))) + field(4, 868_500_000) + field(7, field(1, 1_767_322_800))
    )
    frame = field(1, b"session") + field(2, 15) + field(3, 42) + field(4, b"\x01") + field(6, heard) + field(7, sent)
    frame += field(5, field(1, field(1, "temperature") + field(2, field(2, 21.5)))) + field(8, field(1, 1_767_322_801))
    frame += field(11, 1) + field(13, field(2, 56_576_000))
    frame += field(14, field(1, "frm-payload") + field(2, field(1, 52.3) + field(2, 4.9) + field(3, 16) + field(5, 1)))
    ids = field(1, "dev1") + field(2, field(1, "app1")) + field(4, bytes.fromhex(EUI))
    body = field(1, ids) + field(2, "as:up:01") + field(3, frame) + field(12, field(1, 1_767_322_802)) + field(14, 1)
    found = record("ttn", body, content_type=OCTETS)
    assert (found["type"], found["source_device"], found["gateway_id"]) == ("uplink_message", EUI, "0242020000247803")
    assert (found["observed_us"], found["platform_us"]) == (1_767_322_800_000_000, 1_767_322_801_000_000)
    assert (found["latitude"], found["longitude"], found["altitude_m"]) == (52.3, 4.9, 16)
    assert found["numbers"] == {
        "lorawan.counter": 42, "lorawan.port": 15, "lorawan.rssi": -35, "lorawan.snr": 5.2, "lorawan.gateways": 1,
        "lorawan.frequency": 868_500_000, "lorawan.bandwidth": 125_000, "lorawan.spreading_factor": 7,
        "temperature": 21.5, "ttn.consumed_airtime_s": 0.056576,
    }  # fmt: skip
    assert found["booleans"] == {"lorawan.confirmed.status": True, "ttn.simulated": True}
    assert found["texts"]["ttn.location.source"] == "SOURCE_GPS"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (3, "uplink_message"), (4, "join_accept"), (5, "downlink_ack"), (6, "downlink_nack"), (7, "downlink_sent"),
        (8, "downlink_failed"), (9, "downlink_queued"), (10, "downlink_queue_invalidated"), (11, "location_solved"),
        (13, "service_data"), (15, "uplink_normalized"),
    ],
)  # fmt: skip
def test_every_kind_has_its_published_number(number: int, kind: str) -> None:  # AC-a35
    body = field(1, field(4, bytes.fromhex(EUI))) + field(number, b"")
    assert record("ttn", body, content_type=OCTETS)["type"] == kind


def test_what_a_newer_protocol_adds_is_kept() -> None:
    body = chirpstack_bytes("v4", "up") + field(99, "new") + field(98, 7)
    found = record("chirpstack", body, query={"event": "up"}, content_type=OCTETS)
    assert (found["texts"]["chirpstack.field_99"], found["numbers"]["chirpstack.field_98"]) == ("bmV3", 7)
    uplink = field(1, field(4, bytes.fromhex(EUI))) + field(3, field(2, 1) + field(20, field(2, 5)))
    assert record("ttn", uplink, content_type=OCTETS)["texts"]["ttn.field_20"] == "EAU="


@pytest.mark.parametrize("content_type", [OCTETS, "application/json", "", "application/x-protobuf; q=1"])
def test_the_bytes_decide_and_not_what_the_sender_calls_them(content_type: str) -> None:  # AC-a34
    for source, kind, body, text in (
        ("chirpstack", "up", chirpstack_bytes("v4", "up"), orjson.dumps(V4["up"])),
        ("ttn", "", ttn_bytes("uplink_message"), orjson.dumps(ttn_message("uplink_message"))),
    ):
        wanted = record(source, text, query={"event": kind})
        assert record(source, body, query={"event": kind}, content_type=content_type) == wanted
        assert record(source, b" \n" + text, query={"event": kind}, content_type=content_type) == wanted


@pytest.mark.parametrize(("version", "kind"), CHIRPSTACK)
def test_an_event_whose_query_was_lost_is_known_by_its_content(version: str, kind: str) -> None:  # AC-a33
    events = V4 if version == "v4" else V3
    assert record("chirpstack", orjson.dumps(events[kind]))["type"] in {kind, "log" if kind == "error" else kind}
    found = record("chirpstack", chirpstack_bytes(version, kind), content_type=OCTETS)
    assert found["type"] in {kind, "log" if kind == "error" else kind}


@pytest.mark.parametrize("source", ["chirpstack", "ttn"])
def test_bytes_that_are_neither_are_told_apart(source: str) -> None:  # AC-a34
    for body in (b"\xff\xfe\xfd", b"\x08\x01", b"\n$12345678-1234-1234-1234-123456789012", b"\n\x02\x08\x01", b"{"):
        announced = made(source, body, content_type=OCTETS, query={"event": "up"})
        assert isinstance(announced, Defect)
        assert (announced.reason, announced.piece) == ("not_protobuf", body)
        silent = made(source, body, query={"event": "up"})
        assert isinstance(silent, Defect)
        assert silent.reason == "not_json"
    oversized = field(1, b"x" * LARGEST) + chirpstack_bytes("v4", "up") + ttn_bytes("uplink_message")
    found = made(source, oversized, content_type=OCTETS, query={"event": "up"})
    assert isinstance(found, Defect)
    assert found.reason == "not_protobuf"


def test_json_and_protobuf_of_a_device_stay_in_one_order() -> None:  # AC-a32
    key = load_source("chirpstack").ordering_key
    for version, kind in CHIRPSTACK:
        event = orjson.dumps((V4 if version == "v4" else V3)[kind])
        assert key(Request(body=chirpstack_bytes(version, kind))) == key(Request(body=event)) != ""
    ttn_key = load_source("ttn").ordering_key
    for kind in KINDS:
        assert ttn_key(Request(body=ttn_bytes(kind))) == IDS["dev_eui"]
    nameless = field(1, field(1, "dev1")) + field(3, b"")
    assert (
        ttn_key(Request(body=nameless)) == ttn_key(Request(body=b'{"end_device_ids":{"device_id":"dev1"}}')) == "dev1"
    )
    assert ttn_key(Request(body=field(3, b""), path_params={"device": "dev-7"})) == "dev-7"


def test_content_types_of_protobuf() -> None:
    assert is_protobuf("application/octet-stream; charset=binary")
    assert is_protobuf("Application/X-Protobuf")
    assert not is_protobuf("application/json")


def test_a_field_is_found_without_decoding_and_broken_bytes_hold_none() -> None:
    body = field(1, 300) + field(2, 1.5) + single(3, 1) + field(4, "a") + field(4, "b")
    assert first_field(body, 4) == b"a"
    assert first_field(body, 5) == b""
    assert first_field(b"\xff" * 30, 1) == b""
    assert first_field(b"\x0a\x7f", 1) == b""
    assert first_field(b"\x0b", 1) == b""


@pytest.mark.parametrize(
    "text", ["message A {", "message A { string a 1; }", "message A { string a = 1 }", "enum E { A 1; }"]
)
def test_a_mistake_in_a_proto_file_is_told(text: str, tmp_path: Any) -> None:
    path = tmp_path / "x.proto"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((ValueError, StopIteration)):
        parse(path)


SEEDS = [chirpstack_bytes(*each) for each in CHIRPSTACK] + [ttn_bytes(kind) for kind in KINDS]
MUTATED = st.builds(
    lambda seed, at, cut, new: seed[: at % len(seed)] + new + seed[at % len(seed) + cut :],
    st.sampled_from(SEEDS), st.integers(0, 2000), st.integers(0, 12), st.binary(max_size=12),
)  # fmt: skip


@pytest.mark.parametrize("source", ["chirpstack", "ttn"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.binary(max_size=300) | MUTATED, kind=st.sampled_from(["", "up", "join", "status", "log", "location", "x"])
)
def test_any_bytes_announced_as_protobuf_become_a_record_or_a_defect(source: str, body: bytes, kind: str) -> None:
    # AC-a34
    from schemas.records import telemetry_reader, telemetry_writer
    from schemas.view import telemetry_view

    request = Request(body=body, query={"event": kind}, content_type=OCTETS, received_us=NOW, tenant_id="t")
    assert isinstance(load_source(source).ordering_key(request), str)
    write, read = telemetry_writer(), telemetry_reader()
    for found in canonicalize(load_source(source), request):
        if isinstance(found, Defect):
            assert found.reason != NORMALIZER_ERROR, found.detail
        else:
            assert orjson.dumps(telemetry_view(read(write(found.record))))
            assert found.identities
