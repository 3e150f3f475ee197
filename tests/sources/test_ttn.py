"""The Things Stack: what its eleven kinds of messages mean, and what must never be taken for something else."""

import math
from typing import Any

import orjson
import pytest

from schemas import topics
from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.raw_record import raw_headers
from sources.ttn.normalize import KINDS

NOW = 1_767_322_900_000_000
IDS = {
    "device_id": "dev1",
    "application_ids": {"application_id": "app1"},
    "dev_eui": "10000000000000AB",
    "dev_addr": "01DA1F15",
}
EUI = "10000000000000ab"


def made(body: Any, **more: Any) -> Canonical | Defect:
    (only,) = canonicalize(load_source("ttn"), Request(body=orjson.dumps(body), received_us=NOW, tenant_id="t", **more))
    return only


def record(body: Any, **more: Any) -> Any:
    found = made(body, **more)
    assert isinstance(found, Canonical), found
    return found.record


def uplink(kind: str = "uplink_message", envelope: dict[str, Any] | None = None, **body: Any) -> Any:
    return record({"end_device_ids": IDS, **(envelope or {}), kind: body})


def has_position(found: Any) -> bool:
    return not math.isnan(found["latitude"])


def test_both_paths_lead_to_the_tenants_stack() -> None:  # AC-a21
    source = load_source("ttn")
    assert source.paths == ("/api/v1/integrations/ttn/telemetry",)
    assert (source.tenant_query, source.tenant_secret) == ("tenantId", True)


def test_a_device_is_found_by_its_deveui_and_then_by_its_id() -> None:  # AC-a31, AC-a32
    found = made({"end_device_ids": IDS, "uplink_message": {}})
    assert isinstance(found, Canonical)
    assert [(each.kind, each.value) for each in found.identities] == [("dev_eui", EUI), ("external_id", "dev1")]
    nameless = {key: value for key, value in IDS.items() if key != "dev_eui"}  # ABP devices need none
    without = made({"end_device_ids": nameless, "uplink_message": {}})
    assert isinstance(without, Canonical)
    assert [(each.kind, each.value) for each in without.identities] == [("external_id", "dev1")]


@pytest.mark.parametrize(
    ("named", "identities"),
    [
        ("dev-7", [("external_id", "dev-7")]),
        ("10000000000000AB", [("dev_eui", EUI), ("external_id", "10000000000000AB")]),
    ],
)
def test_who_is_named_only_in_the_url_is_found_by_it(named: str, identities: list[tuple[str, str]]) -> None:  # AC-a31
    without: tuple[dict[str, Any], ...] = ({}, {"end_device_ids": None}, {"end_device_ids": {}})
    for ids in without:
        found = made({**ids, "uplink_message": {"f_cnt": 1}}, path_params={"device": named})
        assert isinstance(found, Canonical)
        assert [(each.kind, each.value) for each in found.identities] == identities


def test_who_is_named_nowhere_is_quarantined() -> None:
    nobody: tuple[Any, ...] = ({}, {"dev_addr": "01DA1F15"}, None, "x")
    for ids in nobody:
        found = made({"end_device_ids": ids, "uplink_message": {}})
        assert isinstance(found, Defect)
        assert found.reason == "no_device"
    unknown = made({"end_device_ids": IDS, "surprise": {}})
    assert isinstance(unknown, Defect)
    assert unknown.reason == "unknown_kind"


EVENTS = {
    "uplink_message": "", "uplink_normalized": "", "location_solved": "", "join_accept": "lorawan.join",
    "downlink_ack": "lorawan.ack", "downlink_nack": "lorawan.nack", "downlink_sent": "lorawan.downlink_sent",
    "downlink_failed": "lorawan.downlink_failed", "downlink_queued": "lorawan.downlink_queued",
    "downlink_queue_invalidated": "lorawan.downlink_queue_invalidated", "service_data": "lorawan.service_data",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_telemetry_or_an_event(kind: str) -> None:  # AC-a35
    found = record({"end_device_ids": IDS, "received_at": "2026-01-02T03:00:00Z", kind: {"f_cnt": 3}})
    assert (found["type"], found["event_type"]) == (kind, EVENTS[kind])
    assert (found["observed_us"], found["time_source"]) == (1_767_322_800_000_000, "platform")
    assert set(KINDS) == set(EVENTS)


@pytest.mark.parametrize("kind", [kind for kind, event in EVENTS.items() if event])
def test_an_event_says_what_its_message_said(kind: str) -> None:  # AC-a35
    body = {"f_cnt": 11, "error": {"name": "too_long"}, "session_key_id": "s", "downlinks": [{"f_port": 1}]}
    found = record({"end_device_ids": IDS, kind: body})
    assert orjson.loads(found["event_attributes"]) == body
    assert found["numbers"][f"ttn.{kind}.f_cnt"] == 11
    assert found["texts"][f"ttn.{kind}.error.name"] == "too_long"
    assert found["texts"][f"ttn.{kind}.downlinks"] == '[{"f_port":1}]'


def test_service_data_keeps_its_values() -> None:  # AC-a35
    found = record({"end_device_ids": IDS, "service_data": {"service": "lora-cloud", "data": {"battery": 3.4}}})
    assert found["texts"]["ttn.service_data.service"] == "lora-cloud"
    assert found["numbers"]["ttn.service_data.data.battery"] == 3.4


def test_the_sessions_key_is_in_no_record() -> None:  # AC-a36
    key: dict[str, Any] = {"app_s_key": {"key": "0123456789ABCDEF0123456789ABCDEF"}}
    for kind in ("uplink_message", "uplink_normalized", "join_accept"):
        found = record({"end_device_ids": IDS, kind: {**key, "frm_payload": "AQ=="}})
        assert "0123456789ABCDEF" not in str(found)
    assert uplink(**key, frm_payload="AQ==")["booleans"]["ttn.frm_payload_encrypted"] is True


def test_the_downlink_key_never_enters_a_topic() -> None:  # AC-a36
    headers = {
        "x-downlink-apikey": "NNSXS.SECRET", "x-downlink-push": "https://eu1/push", "x-tts-domain": "eu1.cloud",
        "x-downlink-replace": "https://eu1/replace", "authorization": "Bearer s3cret", "x-webhook-secret": "s3cret",
    }  # fmt: skip
    request = Request(body=b"{}", headers=headers, tenant_id="t", received_us=NOW)
    written = raw_headers(request, load_source("ttn"))
    captured = {
        name.removeprefix(topics.CAPTURED): value for name, value in written if name.startswith(topics.CAPTURED)
    }
    assert captured == {
        "x-downlink-push": b"https://eu1/push", "x-downlink-replace": b"https://eu1/replace", "x-tts-domain": b"eu1.cloud",
    }  # fmt: skip
    assert b"NNSXS" not in b"".join(value for _, value in written)
    assert b"s3cret" not in b"".join(value for _, value in written)


def test_absent_is_zero() -> None:  # AC-a39
    found = uplink(frm_payload="AQ==", rx_metadata=[{"gateway_ids": {"gateway_id": "gw"}}])
    expected = {"lorawan.counter": 0, "lorawan.port": 0, "lorawan.rssi": 0, "lorawan.snr": 0, "lorawan.gateways": 1}
    assert {name: found["numbers"][name] for name in expected} == expected
    assert found["booleans"]["lorawan.confirmed.status"] is False
    assert found["id"] == uplink(frm_payload="AQ==", f_cnt=0, f_port=0, confirmed=False)["id"]


def test_a_decoded_payload_is_telemetry_and_the_frame_its_metadata() -> None:  # AC-a39
    found = uplink(
        f_port=15, f_cnt=42, frm_payload="AQ==", confirmed=True, decoded_payload={"temperature": 21.5, "note": "x"},
        rx_metadata=[{"gateway_ids": {"gateway_id": "gw", "eui": "0242020000247803"}, "rssi": -35, "snr": 5.2}],
        settings={"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}}, "frequency": "868500000"},
        consumed_airtime="0.056576s",
    )  # fmt: skip
    assert found["numbers"] == {
        "temperature": 21.5, "lorawan.port": 15, "lorawan.counter": 42, "lorawan.rssi": -35, "lorawan.snr": 5.2,
        "lorawan.gateways": 1, "lorawan.frequency": 868500000, "lorawan.bandwidth": 125000, "lorawan.spreading_factor": 7,
        "ttn.consumed_airtime_s": 0.056576,
    }  # fmt: skip
    assert (found["texts"]["lorawan.payload"], found["texts"]["ttn.note"]) == ("AQ==", "x")
    assert (found["gateway_id"], found["booleans"]["lorawan.confirmed.status"]) == ("0242020000247803", True)


@pytest.mark.parametrize("kind", ["old", "new"])
def test_the_coding_rate_is_kept_where_it_stands(kind: str) -> None:
    lora = {"bandwidth": 125000, "spreading_factor": 7, **({"coding_rate": "4/5"} if kind == "new" else {})}
    settings = {"data_rate": {"lora": lora}, **({"coding_rate": "4/5"} if kind == "old" else {})}
    texts = uplink(settings=settings)["texts"]
    assert texts["ttn.settings.data_rate.lora.coding_rate" if kind == "new" else "ttn.settings.coding_rate"] == "4/5"


def test_without_a_decoder_or_with_a_failing_one_the_payload_is_kept() -> None:  # AC-a39
    found = uplink(frm_payload="AQ==", decoded_payload_warnings=["no such field"])
    assert found["texts"]["lorawan.payload"] == "AQ=="
    assert found["texts"]["ttn.decoded_payload_warnings"] == '["no such field"]'


def test_odd_decoder_output_is_kept_as_it_is() -> None:
    odd = {"recvTime": "Tue Jan 21 2025 17:56:54 GMT+0100 (CET)", "none": None, "n": {"a": [1, None]}, "humidity": "51"}
    found = uplink(decoded_payload=odd)
    assert found["texts"]["ttn.recvTime"] == odd["recvTime"]
    assert (found["texts"]["ttn.n.a"], found["texts"]["ttn.humidity"]) == ("[1,null]", "51")
    assert found["time_source"] == "received"
    for other in ([1, 2], "text", 7, False):
        shown = uplink(decoded_payload=other)
        assert "ttn.decoded_payload" in {**shown["numbers"], **shown["booleans"], **shown["texts"]}


def test_a_value_of_a_frame_counts_once() -> None:
    payload = {"air": {"temperature": 21}, "time": "2026-01-02T03:00:00Z"}
    message = uplink(session_key_id="s", f_cnt=3, decoded_payload={"temperature": 21}, normalized_payload=[payload])
    assert message["numbers"]["temperature"] == 21
    assert orjson.loads(message["texts"]["ttn.normalized_payload"]) == [payload]
    assert not [name for name in message["numbers"] if name.startswith("ttn.normalized")]
    normalized = uplink("uplink_normalized", session_key_id="s", f_cnt=3, normalized_payload=payload)
    assert normalized["numbers"]["ttn.normalized.air.temperature"] == 21
    assert "temperature" not in normalized["numbers"]
    assert normalized["id"] != message["id"]
    other = uplink("uplink_normalized", session_key_id="s", f_cnt=3, normalized_payload={"air": {"temperature": 22}})
    assert other["id"] != normalized["id"]  # a frame can hold several


def test_a_gateways_place_is_never_the_devices() -> None:  # AC-a39
    heard = [{"gateway_ids": {"gateway_id": "g"}, "rssi": -50, "location": {"latitude": 47.0, "longitude": 10.0}}]
    found = uplink(rx_metadata=heard)
    assert not has_position(found)
    assert orjson.loads(found["texts"]["ttn.rx_metadata"]) == heard


def test_the_gateway_that_heard_it_best_is_named() -> None:  # AC-a39
    heard = [{"gateway_ids": {"gateway_id": name}, "rssi": rssi} for name, rssi in (("a", -97), ("b", -61), ("c", 0))]
    found = uplink(rx_metadata=heard)
    assert (found["gateway_id"], found["numbers"]["lorawan.rssi"], found["numbers"]["lorawan.gateways"]) == (
        "b",
        -61,
        3,
    )


PLACES = {
    "user": {"latitude": 52.0, "longitude": 4.0, "source": "SOURCE_REGISTRY"},
    "wifi": {"latitude": 52.2, "longitude": 4.2, "accuracy": 30, "source": "SOURCE_WIFI_RSSI_GEOLOCATION"},
    "frm-payload": {"latitude": 52.3, "longitude": 4.9, "altitude": 16, "source": "SOURCE_GPS"},
}


@pytest.mark.parametrize(
    ("names", "taken"),
    [(("user", "wifi", "frm-payload"), "frm-payload"), (("user", "wifi"), "wifi"), (("user",), "user")],
)
def test_the_best_known_place_is_the_devices_and_the_others_are_kept(names: tuple[str, ...], taken: str) -> None:
    found = uplink(locations={name: PLACES[name] for name in names})
    assert (found["latitude"], found["longitude"]) == (PLACES[taken]["latitude"], PLACES[taken]["longitude"])
    assert (found["texts"]["ttn.location"], found["texts"]["ttn.location.source"]) == (taken, PLACES[taken]["source"])
    for name in set(names) - {taken}:
        assert found["numbers"][f"ttn.locations.{name}.latitude"] == PLACES[name]["latitude"]


def test_what_the_device_decoded_to_is_its_place_before_any_other() -> None:
    found = uplink(decoded_payload={"latitude": 52.3, "longitude": 4.9}, locations=PLACES)
    assert (found["latitude"], found["longitude"]) == (52.3, 4.9)
    assert "ttn.locations.frm-payload.latitude" not in found["numbers"]  # the same once more, and how it was found
    assert found["texts"]["ttn.locations.frm-payload.source"] == "SOURCE_GPS"
    assert found["numbers"]["ttn.locations.user.latitude"] == 52.0


@pytest.mark.parametrize(
    "places",
    [
        None,
        {},
        {"user": {}},
        {"user": {"source": "SOURCE_GPS"}},
        {"user": {"latitude": 0, "longitude": 0}},
        {"gps": {"latitude": 0, "longitude": 0, "source": "SOURCE_GPS"}},
        [],
        "x",
    ],
)
def test_no_place_is_no_position(places: Any) -> None:
    assert not has_position(uplink(locations=places))


def test_a_solved_location_is_the_devices() -> None:  # AC-a35
    place = {"longitude": 4.91, "accuracy": 20, "source": "SOURCE_LORA_TDOA_GEOLOCATION"}
    found = record({"end_device_ids": IDS, "location_solved": {"service": "lora-cloud", "location": place}})
    assert (found["latitude"], found["longitude"], found["accuracy_m"]) == (0, 4.91, 20)  # latitude 0 is absent
    assert (found["texts"]["ttn.service"], found["event_type"]) == ("lora-cloud", "")


def test_a_simulated_uplink_has_no_year_one() -> None:
    envelope = {"simulated": True, "received_at": "2026-01-02T03:00:00.123456789Z"}
    year_one = "0001-01-01T00:00:00Z"
    found = uplink(
        "uplink_message", envelope, f_port=1, received_at=year_one, settings={"data_rate": {}, "time": year_one}
    )
    assert (found["observed_us"], found["time_source"]) == (1_767_322_800_123_456, "platform")
    assert found["booleans"]["ttn.simulated"] is True
    assert "timestamp.sent" not in found["texts"]
    assert uplink("uplink_message", {"simulated": True}, received_at=year_one)["time_source"] == "received"


def test_the_time_is_the_gateways_where_a_server_confirms_it() -> None:
    heard = [{"rssi": -3, "time": "2026-01-02T03:00:00.5Z", "received_at": "2026-01-02T03:00:00.7Z"}]
    by_settings = uplink(settings={"time": "2026-01-02T03:00:00.123456789Z"}, received_at="2026-01-02T03:00:01Z")
    assert (by_settings["observed_us"], by_settings["platform_us"]) == (1_767_322_800_123_456, 1_767_322_801_000_000)
    assert uplink(rx_metadata=heard)["observed_us"] == 1_767_322_800_500_000
    wrong = uplink(settings={"time": "2019-01-29T13:02:34.981Z"}, received_at="2026-01-02T03:00:01Z")
    assert (wrong["observed_us"], wrong["time_source"]) == (1_767_322_801_000_000, "platform")
    assert wrong["texts"]["timestamp.sent"].startswith("2019-01-29T13:02:34.981")
    late = [{"rssi": -3, "gps_time": "2026-01-02T01:00:00Z", "received_at": "2026-01-02T03:00:00Z"}]
    buffered = uplink(settings={"time": "2026-01-02T01:00:00Z"}, received_at="2026-01-02T03:00:00Z", rx_metadata=late)
    assert (buffered["observed_us"], buffered["time_source"]) == (1_767_315_600_000_000, "device")


def test_a_repeated_uplink_has_the_same_id_and_another_frame_another() -> None:  # AC-a38
    def id_of(correlation: str = "as:up:1", payload: str = "AQ==", rssi: int = -51, **more: Any) -> Any:
        envelope = {"correlation_ids": [correlation], "received_at": f"2026-01-02T03:00:0{-rssi % 10}Z"}
        body = {"session_key_id": "s", "f_cnt": 5, "frm_payload": payload, "rx_metadata": [{"rssi": rssi}], **more}
        return uplink("uplink_message", envelope, **body)["id"]

    assert id_of() == id_of(correlation="as:up:2", rssi=-62)
    assert id_of() != id_of(payload="Ag==")
    assert id_of() != id_of(f_cnt=6)
    assert id_of() != id_of(session_key_id="another")  # the device joined again, and its counter began again
    assert id_of(decoded_payload={"t": 0}) != id_of(decoded_payload={})


def test_without_a_session_the_stacks_own_key_tells_two_frames_apart() -> None:  # AC-a38
    def id_of(at: str = "2026-01-02T03:00:00Z", **envelope: Any) -> Any:
        return uplink("uplink_message", {"received_at": at, **envelope}, f_cnt=5, frm_payload="AQ==")["id"]

    assert id_of() == id_of() != id_of("2026-01-02T04:00:00Z")
    ids = ["gs:conn:1", "gs:uplink:2", "as:up:3"]
    assert id_of(correlation_ids=ids) == id_of(correlation_ids=ids[1:]) != id_of(correlation_ids=["as:up:4"])


def test_an_event_sent_again_has_the_same_id() -> None:  # AC-a38
    def id_of(kind: str = "downlink_ack", at: str = "2026-01-02T03:00:00Z", **body: Any) -> Any:
        return record({"end_device_ids": IDS, "correlation_ids": ["as:downlink:1"], "received_at": at, kind: body})[
            "id"
        ]

    assert id_of(f_cnt=1) == id_of(f_cnt=1)
    assert (
        len(
            {id_of(f_cnt=1), id_of(f_cnt=2), id_of("downlink_nack", f_cnt=1), id_of(at="2026-01-02T03:00:01Z", f_cnt=1)}
        )
        == 4
    )


@pytest.mark.parametrize(
    ("battery", "level"),
    [({"f_cnt": 14, "value": 90.5}, 90.5), ({"f_cnt": 14}, None), ({"value": 255}, None), (7, None)],
)
def test_the_battery_the_stack_remembers_is_a_level(battery: Any, level: float | None) -> None:
    found = uplink(last_battery_percentage=battery)
    assert found["numbers"].get("battery.level") == level


def test_nothing_is_dropped() -> None:
    found = uplink(
        "uplink_message", {"correlation_ids": ["as:up:1"], "future": {"a": 1}}, session_key_id="s", packet_error_rate=0.25,
        version_ids={"brand_id": "b", "model_id": "m", "firmware_version": "1.2"}, network_ids={"net_id": "000013"},
        settings={"data_rate": {"fsk": {"bit_rate": 50000}}, "timestamp": 12}, more=[1],
    )  # fmt: skip
    assert found["texts"] == {
        "device.name": "dev1", "ttn.application_id": "app1", "ttn.dev_addr": "01DA1F15", "ttn.session_key_id": "s",
        "ttn.version_ids.brand_id": "b", "device.product": "m", "firmware.version": "1.2", "ttn.network_ids.net_id": "000013",
        "ttn.correlation_ids": '["as:up:1"]', "ttn.more": "[1]",
    }  # fmt: skip
    assert found["numbers"]["ttn.packet_error_rate"] == 0.25
    assert found["numbers"]["ttn.settings.data_rate.fsk.bit_rate"] == 50000
    assert (found["numbers"]["ttn.settings.timestamp"], found["numbers"]["ttn.future.a"]) == (12, 1)


def test_wrong_types_cost_a_value_and_not_the_record() -> None:
    found = uplink(
        "uplink_message", {"received_at": 5}, f_cnt="x", f_port="7", frm_payload=5, rx_metadata="x", settings=3, locations=4,
        consumed_airtime="long", last_battery_percentage="x", version_ids=6, decoded_payload=None,
    )  # fmt: skip
    assert found["numbers"]["lorawan.port"] == 7
    kept = {**found["numbers"], **found["texts"]}
    for name, value in (
        ("f_cnt", "x"),
        ("frm_payload", 5),
        ("rx_metadata", "x"),
        ("settings", 3),
        ("consumed_airtime", "long"),
    ):
        assert kept[f"ttn.{name}"] == value
    odd: tuple[Any, ...] = (None, [], "x", 7)
    for body in odd:
        assert record({"end_device_ids": IDS, "uplink_message": body})["type"] == "uplink_message"


def test_what_is_nested_to_exhaust_us_is_quarantined() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    for body in (
        {"decoded_payload": deep},
        {"normalized_payload": [deep]},
        {"network_ids": deep},
        {"settings": deep},
        {"locations": {"user": deep}},
    ):
        found = made({"end_device_ids": IDS, "uplink_message": body})
        assert isinstance(found, Defect)
        assert found.reason == "nested_too_deep"
    assert isinstance(made({"end_device_ids": IDS, "service_data": deep}), Defect)


def test_a_data_rate_has_the_name_it_has_from_the_other_network() -> None:  # AC-a40
    assert uplink(settings={"data_rate_index": 5})["numbers"]["lorawan.data_rate"] == 5
    assert "lorawan.data_rate" not in uplink(settings={})["numbers"]
