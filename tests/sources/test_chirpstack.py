"""ChirpStack, v4 and v3: what its events mean, and what must never be taken for something else."""

import math
from typing import Any

import msgspec
import orjson
import pytest

from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize

NOW = 1_767_322_900_000_000
INFO = {"devEui": "1000000000000001", "deviceName": "sensor 1", "tenantId": "t1", "tags": {"site": "north"}}
V3 = {"applicationID": "123", "applicationName": "app", "deviceName": "garden", "devEUI": "EAAAAAAAAAM="}
KEY = "57433366-50a6-4dc2-8145-2df1bbc70d9e"


def made(body: Any, event: str = "up", **more: Any) -> Canonical | Defect:
    query = {"event": event} if event else {}
    request = Request(body=orjson.dumps(body), received_us=NOW, tenant_id="t", query=query, **more)
    (only,) = canonicalize(load_source("chirpstack"), request)
    return only


def record(body: Any, event: str = "up", **more: Any) -> Any:
    found = made(body, event, **more)
    assert isinstance(found, Canonical), found
    return found.record


def up(**more: Any) -> dict[str, Any]:
    return {"deduplicationId": KEY, "deviceInfo": INFO, "time": "2026-01-02T03:00:00+00:00", **more}


def has_position(found: Any) -> bool:
    return not math.isnan(found["latitude"])


def test_both_paths_lead_to_the_tenants_chirpstack() -> None:  # AC-a20
    source = load_source("chirpstack")
    assert source.paths == ("/api/v1/integrations/chirpstack/telemetry",)
    assert (source.tenant_query, source.tenant_secret) == ("tenantId", True)


@pytest.mark.parametrize(
    "written", ["1000000000000001", "10-00-00-00-00-00-00-01", "10:00:00:00:00:00:00:01", "EAAAAAAAAAE="]
)
def test_a_device_is_found_by_its_deveui_in_any_spelling(written: str) -> None:  # AC-a30, AC-a32
    found = made({"deviceInfo": {**INFO, "devEui": written}})
    assert isinstance(found, Canonical)
    assert [(each.kind, each.value) for each in found.identities] == [("dev_eui", "1000000000000001")]
    assert found.record["source_device"] == "1000000000000001"


def test_v3_names_its_device_at_the_top() -> None:  # AC-a30
    assert record({**V3, "fCnt": 1})["source_device"] == "1000000000000003"
    assert record({**V3, "devEUI": "1000000000000003"})["source_device"] == "1000000000000003"
    assert record(V3)["texts"]["device.name"] == "garden"


def test_an_event_without_a_device_is_quarantined() -> None:
    for info in ({}, {"devEui": ""}, {"devEui": "no eui"}, {"devEui": 7}, None, "x"):
        found = made({"deviceInfo": info, "fCnt": 1})
        assert isinstance(found, Defect)
        assert found.reason == "no_device"


V4_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "join": ({"devAddr": "00189440"}, "lorawan.join"),
    "ack": ({"queueItemId": "q", "acknowledged": True, "fCntDown": 4}, "lorawan.ack"),
    "txack": ({"downlinkId": 9, "queueItemId": "q", "gatewayId": "6a7e111a10000000", "txInfo": {}}, "lorawan.txack"),
    "log": ({"level": "ERROR", "code": "UPLINK_F_CNT_RETRANSMISSION", "description": "d"}, "lorawan.log"),
    "integration": ({"integrationName": "loracloud", "eventType": "x", "object": {"a": 1}}, "chirpstack.integration"),
}
V3_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "join": ({"devAddr": "AFE5Qg==", "rxInfo": [], "txInfo": {}}, "lorawan.join"),
    "ack": ({"acknowledged": True, "fCnt": 15}, "lorawan.ack"),
    "txack": ({"fCnt": 15, "gatewayID": "AwMDAwMDAwM=", "txInfo": {}}, "lorawan.txack"),
    "error": ({"type": "UPLINK_CODEC", "error": "TypeError", "fCnt": 3}, "lorawan.log"),
    "integration": ({"integrationName": "loracloud", "eventType": "x", "objectJSON": "{}"}, "chirpstack.integration"),
}


@pytest.mark.parametrize("kind", list(V4_EVENTS))
def test_what_v4_sends_beside_telemetry_is_an_event(kind: str) -> None:  # AC-a33
    body, event = V4_EVENTS[kind]
    found = record({"deviceInfo": INFO, "time": "2026-01-02T03:00:00Z", **body}, kind)
    assert (found["type"], found["event_type"]) == (kind, event)
    assert record({"deviceInfo": INFO, **body}, "")["type"] == kind  # a proxy dropped the query


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"margin": 8, "externalPowerSource": True, "batteryLevelUnavailable": False, "batteryLevel": 0.0}, "status"),
        ({"location": {"latitude": 47.0, "longitude": 8.0}}, "location"),
        (V4_EVENTS["ack"][0], "ack"),
        (V4_EVENTS["log"][0], "log"),
        ({"devAddr": "00189440"}, "up"),  # may be an uplink of which everything is zero
        ({"rxInfo": [], "margin": 8}, "up"),
    ],
)
def test_a_url_that_calls_everything_up_is_believed_of_uplinks_only(body: dict[str, Any], kind: str) -> None:  # AC-a33
    assert record({"deviceInfo": INFO, **body}, "up")["type"] == kind


def test_an_uplink_relayed_with_the_fields_of_every_event_is_an_uplink() -> None:
    others = {"level": None, "code": None, "margin": 0, "batteryLevel": 0.0, "queueItemId": "", "acknowledged": False}
    found = record({"deviceInfo": INFO, "fCnt": 4, "fPort": 1, "data": "Fg==", **others, "location": None}, "")
    assert (found["type"], found["event_type"]) == ("up", "")


@pytest.mark.parametrize("kind", list(V3_EVENTS))
def test_what_v3_sends_beside_telemetry_is_an_event(kind: str) -> None:  # AC-a33
    body, event = V3_EVENTS[kind]
    found = record({**V3, **body}, kind)
    assert (found["type"], found["event_type"]) == (kind, event)
    assert record({**V3, **body}, "")["event_type"] == event


@pytest.mark.parametrize("kind", ["up", "status", "location"])
def test_uplinks_statuses_and_locations_are_telemetry(kind: str) -> None:  # AC-a33
    for body in ({"deviceInfo": INFO}, V3):
        assert record({**body, "margin": 3, "location": {"latitude": 1}}, kind)["event_type"] == ""


def test_an_unacknowledged_downlink_is_told_from_an_acknowledged_one() -> None:  # AC-a33
    assert record({"deviceInfo": INFO, "queueItemId": "q"}, "ack")["event_type"] == "lorawan.nack"  # false is absent
    assert record({**V3, "acknowledged": False}, "ack")["event_type"] == "lorawan.nack"


def test_an_events_attributes_are_what_it_says() -> None:  # AC-a33
    body = {
        "deviceInfo": INFO,
        "level": "ERROR",
        "code": "OTAA",
        "context": {"deduplication_id": "x"},
        "time": "2026-01-02T03:00:00Z",
    }
    found = record(body, "log")
    assert orjson.loads(found["event_attributes"]) == {
        "level": "ERROR",
        "code": "OTAA",
        "context": {"deduplication_id": "x"},
    }
    assert found["texts"]["chirpstack.context.deduplication_id"] == "x"


def test_a_key_of_the_session_is_in_no_record() -> None:
    context = {"sessionKeyId": "id-1", "appSKey": {"kekLabel": "k", "aesKey": "SECRET"}}
    for kind in ("up", "join"):
        found = record({"deviceInfo": INFO, "joinServerContext": context}, kind)
        assert "SECRET" not in str(found)
        assert found["texts"]["chirpstack.joinServerContext.sessionKeyId"] == "id-1"


def test_absent_is_zero() -> None:  # AC-a39
    found = record(up(rxInfo=[{"gatewayId": "6a7e111a10000000"}], data="AQ=="))
    expected = {"lorawan.counter": 0, "lorawan.port": 0, "lorawan.data_rate": 0, "lorawan.rssi": 0, "lorawan.snr": 0}
    assert {name: found["numbers"][name] for name in expected} == expected
    assert found["booleans"]["lorawan.confirmed.status"] is False


def test_zero_written_out_and_zero_left_out_are_the_same_message() -> None:  # AC-a38
    bare = record(up(data="AQ=="))
    full = record(up(data="AQ==", fCnt=0, fPort=0, dr=0, confirmed=False, adr=False, rxInfo=[]))
    assert (bare["id"], bare["numbers"]) == (full["id"], full["numbers"])
    status = {"deduplicationId": KEY, "deviceInfo": INFO, "margin": 7}
    zeros = {"externalPowerSource": False, "batteryLevelUnavailable": False, "batteryLevel": 0}
    assert record(status, "status")["id"] == record({**status, **zeros}, "status")["id"]


def test_a_decoded_object_is_telemetry_and_the_frame_its_metadata() -> None:  # AC-a39
    decoded = {"temperature": 21.5, "gps": {"latitude": 48.1, "longitude": 11.5}, "door": "open"}
    heard = [{"gatewayId": "6a7e111a10000000", "rssi": -61, "snr": 8.5}]
    sent = {"frequency": 868500000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7}}}
    found = record(up(object=decoded, data="AXVk", fPort=85, fCnt=4, dr=5, confirmed=True, rxInfo=heard, txInfo=sent))
    assert found["numbers"] == {
        "temperature": 21.5, "lorawan.port": 85, "lorawan.counter": 4, "lorawan.data_rate": 5, "lorawan.rssi": -61,
        "lorawan.snr": 8.5, "lorawan.gateways": 1, "lorawan.frequency": 868500000, "lorawan.bandwidth": 125000,
        "lorawan.spreading_factor": 7,
    }  # fmt: skip
    assert found["texts"]["lorawan.payload"] == "AXVk"
    assert found["texts"]["chirpstack.door"] == "open"
    assert (found["latitude"], found["longitude"]) == (48.1, 11.5)
    assert found["booleans"]["lorawan.confirmed.status"] is True


def test_without_a_codec_the_payload_is_kept_for_a_later_one() -> None:  # AC-a39
    for none in ({}, {"object": None}, {"objectJSON": ""}):
        assert record(up(data="AXVk", **none))["texts"]["lorawan.payload"] == "AXVk"
    assert "lorawan.payload" not in record(up(data=""))["texts"]


def test_the_text_objectjson_of_v3_is_read() -> None:  # AC-a39
    found = record({**V3, "objectJSON": '{"temperature":18.2,"n":[1,null]}'})
    assert found["numbers"]["temperature"] == 18.2
    assert found["texts"]["chirpstack.n"] == "[1,null]"
    broken = record({**V3, "objectJSON": "{broken", "data": "AQ=="})
    assert broken["texts"]["chirpstack.objectJSON"] == "{broken"
    assert record({**V3, "objectJSON": '"text"'})["texts"]["chirpstack.object"] == "text"


def test_odd_codec_output_is_kept_as_it_is() -> None:
    odd = {
        "temperature": 327.67,
        "humidity": "51",
        "ok": "true",
        "none": None,
        "nested": {"a": {"b": 1}},
        "l": [{"x": None}],
    }
    found = record(up(object=odd))
    assert "temperature" not in found["numbers"]  # no sensor
    assert found["numbers"]["chirpstack.temperature"] == 327.67
    assert (found["texts"]["chirpstack.humidity"], found["texts"]["chirpstack.ok"]) == ("51", "true")
    assert found["numbers"]["chirpstack.nested.a.b"] == 1
    assert found["texts"]["chirpstack.l"] == '[{"x":null}]'
    assert not [name for name in found["texts"] if name.endswith("none")]


@pytest.mark.parametrize("decoded", [[1, 2], "text", 7, True])
def test_codec_output_that_is_no_object_is_kept(decoded: Any) -> None:
    found = record(up(object=decoded))
    kept = {**found["numbers"], **found["booleans"], **found["texts"]}["chirpstack.object"]
    assert kept in {decoded, "[1,2]"} if not isinstance(decoded, list) else kept == "[1,2]"


def test_a_reading_with_a_protocol_fields_name_is_not_lost() -> None:
    found = record(up(object={"devAddr": "mine", "dr": 9}, devAddr="20000001", dr=5))
    assert found["texts"]["chirpstack.devAddr"] == "mine"
    assert (found["numbers"]["chirpstack.dr"], found["numbers"]["lorawan.data_rate"]) == (9, 5)


@pytest.mark.parametrize(
    "place", [{}, {"latitude": 47.0, "longitude": 10.0}, {"latitude": 0, "longitude": 0, "source": "UNKNOWN"}]
)
def test_a_gateways_place_is_never_the_devices(place: dict[str, Any]) -> None:  # AC-a39
    heard = [{"gatewayId": "6a7e111a10000000", "rssi": -50, "location": place}]
    found = record(up(rxInfo=heard))
    assert not has_position(found)
    assert orjson.loads(found["texts"]["chirpstack.rxInfo"]) == heard


def test_the_gateway_that_heard_it_best_is_named() -> None:  # AC-a39
    heard = [{"gatewayId": "a", "rssi": -97, "snr": -3}, {"gatewayId": "b", "rssi": -61, "snr": 8}, {"gatewayId": "c"}]
    found = record(up(rxInfo=heard))
    assert (found["gateway_id"], found["numbers"]["lorawan.rssi"], found["numbers"]["lorawan.gateways"]) == (
        "b",
        -61,
        3,
    )


def test_v3_radio_metadata_comes_in_the_same_units() -> None:  # AC-a39
    heard = [{"gatewayID": "AwMDAwMDAwM=", "rssi": -48, "loRaSNR": 9.5}]
    sent = {
        "frequency": 868100000,
        "modulation": "LORA",
        "loRaModulationInfo": {"bandwidth": 250, "spreadingFactor": 5},
    }
    found = record({**V3, "rxInfo": heard, "txInfo": sent, "dr": 1})
    assert (found["gateway_id"], found["numbers"]["lorawan.snr"]) == ("0303030303030303", 9.5)
    assert (found["numbers"]["lorawan.bandwidth"], found["numbers"]["lorawan.spreading_factor"]) == (250_000, 5)
    flat = record({**V3, "devEUI": "1000000000000003", "rxInfo": heard, "txInfo": {"frequency": 868100000, "dr": 3}})
    assert flat["numbers"]["lorawan.data_rate"] == 3


@pytest.mark.parametrize(
    ("time", "ticks"),
    [
        ("2024-11-12T12:51:50+00:00", 1_731_415_910_000_000),
        ("2024-11-12T12:51:50.775023242+00:00", 1_731_415_910_775_023),
        ("2024-11-12T12:51:50.7Z", 1_731_415_910_700_000),
        ("2024-11-12T13:51:50.000000001+01:00", 1_731_415_910_000_000),
    ],
)
def test_times_of_nought_to_nine_digits_are_read(time: str, ticks: int) -> None:
    found = record(up(time=time))
    assert (found["observed_us"], found["time_source"]) == (ticks, "device")


def test_a_gateways_clock_that_no_server_confirms_is_not_believed() -> None:
    heard = [{"gatewayId": "a", "gwTime": "2026-01-02T03:00:00.5Z", "nsTime": "2026-01-02T03:00:01Z"}]
    wrong = record(up(time="2025-12-31T03:00:00Z", rxInfo=heard))
    assert (wrong["observed_us"], wrong["time_source"]) == (1_767_322_801_000_000, "platform")
    assert wrong["texts"]["timestamp.sent"].startswith("2025-12-31T03:00:00")
    late = [
        {**heard[0], "nsTime": "2026-01-02T09:00:00Z"}
    ]  # the gateway was off-line; its own computer confirms the time
    right = record(up(time="2026-01-02T03:00:00Z", rxInfo=late))
    assert (right["observed_us"], right["time_source"]) == (1_767_322_800_000_000, "device")


def test_a_servers_clock_at_any_gateway_counts() -> None:
    heard = [{"gatewayId": "a", "rssi": -90, "nsTime": "2026-01-02T03:00:01Z"}, {"gatewayId": "b", "rssi": -50}]
    found = record(up(time="2026-01-02T03:00:00Z", rxInfo=heard))
    assert (found["gateway_id"], found["platform_us"]) == ("b", 1_767_322_801_000_000)


def test_v3_is_dated_by_its_reception_and_else_by_its_publication() -> None:
    heard = [{"gatewayID": "AwMDAwMDAwM=", "time": "2026-01-02T03:00:00Z"}]
    assert record({**V3, "rxInfo": heard})["observed_us"] == 1_767_322_800_000_000
    told = record({**V3, "margin": 3, "publishedAt": "2026-01-02T03:00:00Z"}, "status")
    assert (told["observed_us"], told["time_source"]) == (1_767_322_800_000_000, "platform")
    assert record({**V3, "time": "0001-01-01T00:00:00Z"})["time_source"] == "received"
    odd = record(up(time="yesterday"))
    assert (odd["time_source"], odd["texts"]["chirpstack.time"]) == ("received", "yesterday")


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({"batteryLevel": 75.3}, 75.3),
        ({"batteryLevel": 0}, 0),
        ({}, 0),
        ({"batteryLevel": 0.0, "externalPowerSource": True}, None),
        ({"externalPowerSource": True}, None),
        ({"batteryLevel": 80, "externalPowerSource": True}, 80),
        ({"batteryLevel": 0, "batteryLevelUnavailable": True}, None),
        ({"batteryLevelUnavailable": True}, None),
        ({"batteryLevel": 255}, None),
        ({"batteryLevel": "x"}, None),
        ({"battery": 182}, None),
    ],
)
def test_a_battery_level_is_only_what_can_be_one(said: dict[str, Any], level: float | None) -> None:
    for body in ({"deviceInfo": INFO}, V3):
        found = record({**body, "margin": 7, **said}, "status")
        assert found["numbers"].get("battery.level") == level
        assert found["booleans"]["external.powersource.status"] is said.get("externalPowerSource", False)
        assert found["numbers"]["lorawan.margin"] == 7


def test_a_solved_location_is_the_devices() -> None:  # AC-a33
    place = {"latitude": 48.1, "altitude": 519.5, "source": "GEO_RESOLVER_TDOA", "accuracy": 30}
    found = record({"deviceInfo": INFO, "location": place}, "location")
    assert (found["latitude"], found["longitude"]) == (48.1, 0)  # an absent coordinate is zero
    assert (found["altitude_m"], found["accuracy_m"]) == (519.5, 30)
    assert found["texts"]["chirpstack.location.source"] == "GEO_RESOLVER_TDOA"


@pytest.mark.parametrize(
    "place", [None, {}, {"source": "GPS"}, {"latitude": 0, "longitude": 0, "source": "UNKNOWN"}, {"latitude": 0, "longitude": 0},
              {"latitude": 0, "longitude": 0.0, "source": "GPS"},
              {"latitude": "x"}, "x"],
)  # fmt: skip
def test_no_location_is_no_position(place: Any) -> None:
    assert not has_position(record({"deviceInfo": INFO, "location": place}, "location"))


def test_a_repetition_has_the_same_id() -> None:  # AC-a38
    def id_of(key: str = KEY, payload: str = "AQ==", gateway: str = "a", **more: Any) -> Any:
        return record(up(deduplicationId=key, data=payload, fCnt=5, rxInfo=[{"gatewayId": gateway}], **more))["id"]

    assert id_of() == id_of() == id_of(gateway="b")
    assert id_of() != id_of(key="another")
    assert id_of() != id_of(payload="Ag==")
    assert id_of(object={"t": 0}) != id_of(object={})
    assert id_of(object={"t": 1}) == id_of(object={"t": 1.0}) != id_of(object={"t": 2})


def test_what_happened_twice_is_two_records() -> None:  # AC-a38
    def id_of(kind: str, **more: Any) -> Any:
        return record({"deviceInfo": INFO, **more}, kind)["id"]

    log = {"level": "ERROR", "code": "OTAA"}
    assert id_of("log", **log, time="2026-01-02T03:00:00Z") != id_of("log", **log, time="2026-01-02T03:00:01Z")
    assert id_of("log", **log, time="2026-01-02T03:00:00Z") == id_of("log", **log, time="2026-01-02T03:00:00+00:00")
    assert id_of("txack", downlinkId=1) != id_of("txack", downlinkId=2)
    zeros = [{"uplinkID": "00000000-0000-0000-0000-000000000000", "time": "2026-01-02T03:00:00Z"}]
    later = [{**zeros[0], "time": "2026-01-02T04:00:00Z"}]
    first, second = (record({**V3, "fCnt": 1, "data": "AQ==", "rxInfo": heard})["id"] for heard in (zeros, later))
    assert first != second  # the counter began again


def test_a_message_with_a_key_has_one_id_whenever_it_comes() -> None:  # AC-a38
    body = {"deduplicationId": KEY, "deviceInfo": INFO, "fCnt": 5, "data": "AQ=="}
    request = Request(body=orjson.dumps(body), received_us=NOW, tenant_id="t", query={"event": "up"})
    later = msgspec.structs.replace(request, received_us=NOW + 60_000_000)
    first, second = (next(iter(canonicalize(load_source("chirpstack"), each))) for each in (request, later))
    assert isinstance(first, Canonical)
    assert isinstance(second, Canonical)
    assert first.record["id"] == second.record["id"]


def test_nothing_is_dropped() -> None:
    body = up(
        devAddr="20000001", adr=True, relayRxInfo={"devEui": "x", "rssi": -3}, regionConfigId="eu868", futureField=[1]
    )
    found = record(body)
    assert found["texts"]["chirpstack.devAddr"] == "20000001"
    assert found["texts"]["chirpstack.deduplicationId"] == KEY
    assert found["texts"]["chirpstack.tags.site"] == "north"
    assert found["texts"]["chirpstack.deviceInfo.tenantId"] == "t1"
    assert found["texts"]["lorawan.region"] == "eu868"
    assert found["texts"]["chirpstack.futureField"] == "[1]"
    assert found["numbers"]["chirpstack.relayRxInfo.rssi"] == -3
    assert found["booleans"]["chirpstack.adr"] is True


def test_wrong_types_cost_a_value_and_not_the_record() -> None:
    body = up(
        fCnt="x",
        fPort="7",
        dr=[],
        data=5,
        rxInfo="x",
        txInfo=3,
        confirmed="yes",
        deviceInfo=INFO,
        tags=7,
        regionConfigId={"a": 1},
    )
    found = record(body)
    assert found["numbers"]["lorawan.port"] == 7  # a number in quotes
    assert "lorawan.counter" not in found["numbers"]
    kept = {**found["numbers"], **found["texts"]}
    assert (kept["chirpstack.fCnt"], kept["chirpstack.data"], kept["chirpstack.rxInfo"]) == ("x", 5, "x")
    assert (kept["chirpstack.txInfo"], kept["chirpstack.confirmed"], kept["chirpstack.tags"]) == (3, "yes", 7)


def test_what_is_nested_to_exhaust_us_is_quarantined() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    info = {**INFO, "tags": deep}
    for body in (up(object=deep), up(surprise=deep), up(object=[[deep]]), up(txInfo=deep), up(deviceInfo=info)):
        found = made(body)
        assert isinstance(found, Defect)
        assert found.reason == "nested_too_deep"
    assert isinstance(made({"deviceInfo": INFO, "context": deep}, "log"), Defect)
    nested = b'{"deviceInfo":{"devEui":"1000000000000001"},"rxInfo":' + b"[" * 900 + b"]" * 900 + b"}"
    (only,) = canonicalize(load_source("chirpstack"), Request(body=nested, query={"event": "up"}, received_us=NOW))
    assert isinstance(only, Defect)
    assert only.reason == "nested_too_deep"
