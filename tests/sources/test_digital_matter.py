"""Digital Matter: both dialects, their units, repeated fixes, identities and repeated deliveries."""

import base64
from typing import Any

import orjson
import pytest

from schemas.view import telemetry_view
from sources.contract import Request
from sources.digital_matter import SOURCE
from sources.digital_matter.tables import REASONS
from sources.engine import Canonical, Defect, canonicalize

RECEIVED_US = 1_767_323_045_000_000
GPS = {
    "GpsUTC": "2017-05-08 18:04:57",
    "Lat": 43.7370138,
    "Long": -79.3462607,
    "Alt": 197,
    "Spd": 1389,
    "SpdAcc": 13,
    "Head": 66,
    "PDOP": 18,
    "PosAcc": 37,
    "GpsStat": 7,
    "FType": 0,
}
EDGE = {
    "date": "2021-10-04T18:14:55Z",
    "device": {
        "sn": "403809",
        "prod": 85,
        "rev": 1,
        "fw": "1.12",
        "iccid": "89011702278483601922",
        "imei": "352656106127312",
    },
    "sqn": 40925,
    "reason": 1,
    "lat": 26.87366,
    "lng": -80.10618,
    "posAcc": 47.7,
    "posInfo": {"GDOP": 4.68, "BSat": 2, "GSat": 4, "Src": 1},
    "analogues": [{"id": 1, "val": 4265}, {"id": 3, "val": 3800}, {"id": 4, "val": 16}, {"id": 5, "val": 4255}],
    "inputs": 1,
    "outputs": 0,
    "status": 137,
}


def record(*fields: Any, **parts: Any) -> dict[str, Any]:
    return {"SeqNo": 125, "Reason": 11, "DateUTC": "2017-05-11 05:58:44", "Fields": list(fields), **parts}


def body(*records: Any, **parts: Any) -> dict[str, Any]:
    envelope = {
        "SerNo": 131693,
        "IMEI": "356692063643328",
        "ICCID": "8944538523010771676",
        "ProdId": 33,
        "FW": "33.4.1.27",
    }
    return {**envelope, "Records": list(records), **parts}


def request(content: Any, **parts: Any) -> Request:
    return Request(body=orjson.dumps(content), received_us=RECEIVED_US, tenant_id="t", credential_id="c", **parts)


def made(content: Any, **parts: Any) -> list[Canonical | Defect]:
    return list(canonicalize(SOURCE, request(content, **parts)))


def views(content: Any, **parts: Any) -> list[dict[str, Any]]:
    everything = made(content, **parts)
    assert not [each for each in everything if isinstance(each, Defect)]
    return [telemetry_view(each.record) for each in everything if isinstance(each, Canonical)]


def view(*fields: Any, **parts: Any) -> dict[str, Any]:
    (only,) = views(body(record(*fields)), **parts)
    return only


def ids(content: Any) -> list[bytes]:
    return [each.record["id"] for each in made(content) if isinstance(each, Canonical)]


def test_envelope_and_record_are_read() -> None:  # DM-a11, DM-a12
    only = view()
    assert (only["source_device"], only["observed_at"]) == ("131693", "2017-05-11T05:58:44.000000Z")
    assert only["texts"] == {
        "imei": "356692063643328",
        "iccid": "8944538523010771676",
        "firmware.version": "33.4.1.27",
        "reason": "heartbeat",
    }
    assert only["numbers"] == {"digital_matter.ProdId": 33, "digital_matter.SeqNo": 125, "digital_matter.Reason": 11}


def test_a_position_is_converted_with_the_units_of_the_wire() -> None:  # DM-a13
    only = view(GPS)
    assert (only["latitude"], only["longitude"]) == (43.7370138, -79.3462607)
    assert (only["altitude_m"], only["accuracy_m"], only["pdop"]) == (197, 37, 1.8)
    assert only["speed_kmh"] == 50.004
    assert only["fix_valid"] is True
    assert only["numbers"]["digital_matter.SpdAcc"] == 13
    assert only["numbers"]["digital_matter.GpsStat"] == 7


@pytest.mark.parametrize(("head", "course"), [(0, 0), (66, 132), (179, 358), (270, 270)])
def test_a_heading_counts_double_degrees_and_stays_as_sent(head: int, course: float) -> None:  # DM-c07
    only = view(GPS | {"Head": head})
    assert only["course_deg"] == course
    assert only["numbers"]["digital_matter.Head"] == head


def test_a_repeated_fix_keeps_its_own_time() -> None:  # DM-a16
    only = view(GPS)
    assert only["fix_at"] == "2017-05-08T18:04:57.000000Z"
    assert only["observed_at"] == "2017-05-11T05:58:44.000000Z"


def test_a_fix_without_status_bits_is_not_valid() -> None:  # DM-a16
    only = view(GPS | {"GpsStat": 0})
    assert only["fix_valid"] is False
    assert only["latitude"] == 43.7370138


def test_zero_zero_is_no_fix() -> None:
    only = view(GPS | {"Lat": 0, "Long": 0})
    assert (only["latitude"], only["longitude"], only["fix_valid"], only["speed_kmh"]) == (None, None, False, None)


def test_fields_come_in_any_order_or_not_at_all() -> None:
    digital, analogue = {"DIn": 2, "DOut": 0, "DevStat": 2, "FType": 2}, {"AnalogueData": {"1": 14641}, "FType": 6}
    forwards, backwards = view(GPS, digital, analogue), view(analogue, digital, GPS)
    for name in ("latitude", "numbers", "booleans", "texts"):
        assert forwards[name] == backwards[name]
    assert view()["latitude"] is None


def test_input_zero_is_the_ignition() -> None:
    on, off = view({"DIn": 5, "DOut": 2, "DevStat": 1, "FType": 2}), view({"DIn": 2, "DOut": 0, "FType": 2})
    assert on["booleans"] == {"engine.ignition.status": True}
    assert off["booleans"] == {"engine.ignition.status": False}
    assert (on["numbers"]["din"], on["numbers"]["dout"], on["numbers"]["digital_matter.DevStat"]) == (5, 2, 1)


def test_analogues_are_converted_where_every_product_agrees() -> None:
    numbers = view({"AnalogueData": {"5": 10868, "4": 26, "3": -250, "2": 1365, "1": 14641, "6": 873}, "FType": 6})[
        "numbers"
    ]
    assert numbers["battery.voltage"] == 14.641
    assert numbers["external.powersource.voltage"] == 13.65
    assert numbers["device.temperature"] == -2.5
    assert numbers["gsm.signal.csq"] == 26
    assert numbers["battery.level"] == 87.3
    assert numbers["digital_matter.AnalogueData.5"] == 10868  # DM-c07: the product decides what it is


def test_32_bit_analogues_stay_raw() -> None:
    numbers = view({"AnalogueData": {"11": 34, "15": -3}, "FType": 7})["numbers"]
    assert (numbers["digital_matter.AnalogueData.11"], numbers["digital_matter.AnalogueData.15"]) == (34, -3)


def test_the_other_known_fields_are_kept() -> None:
    only = view(
        {"TT": 2, "Trim": 300, "FType": 15},
        {"DType": 1, "Data": "AAAJtuE5", "FType": 3},
        {"Odo": 7, "RH": 5400, "FType": 27},
    )
    assert (only["numbers"]["digital_matter.TT"], only["numbers"]["digital_matter.Trim"]) == (2, 300)
    assert only["texts"]["driver.id"] == "AAAJtuE5"
    assert (only["numbers"]["engine.motorhours"], only["numbers"]["digital_matter.Odo"]) == (1.5, 7)


def test_unknown_fields_keep_their_number_and_their_values() -> None:  # DM-a14
    only = view({"FType": 99, "Foo": 1, "Bar": {"Baz": "x"}}, {"FType": 98, "Foo": 2})
    assert (only["numbers"]["digital_matter.FType"], only["numbers"]["digital_matter.Foo"]) == (99, 1)
    assert only["texts"]["digital_matter.Bar.Baz"] == "x"
    assert (only["numbers"]["digital_matter.FType.2"], only["numbers"]["digital_matter.Foo.2"]) == (98, 2)


def test_repeated_sensor_fields_do_not_overwrite_each_other() -> None:
    only = view({"FType": 5, "MType": 0, "Ms": [31000, 32000]}, {"FType": 5, "MType": 1, "Ms": [18500]})
    assert only["texts"]["digital_matter.Ms"] == "[31000,32000]"
    assert (only["numbers"]["digital_matter.MType.2"], only["texts"]["digital_matter.Ms.2"]) == (1, "[18500]")


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_has_its_name(code: int) -> None:
    (only,) = views(body(record(Reason=code)))
    assert only["texts"]["reason"] == REASONS[code]


def test_an_unknown_reason_keeps_its_code() -> None:
    (only,) = views(body(record(Reason=200)))
    assert "reason" not in only["texts"]
    assert only["numbers"]["digital_matter.Reason"] == 200


@pytest.mark.parametrize("empty", [{"Records": []}, {}])
def test_a_body_without_records_holds_nothing(empty: dict[str, Any]) -> None:
    assert made({"SerNo": 1, "IMEI": "2", **empty}) == []


def test_the_edge_dialect_is_read() -> None:
    (only,) = views(EDGE)
    assert (only["source_device"], only["observed_at"], only["type"]) == (
        "403809",
        "2021-10-04T18:14:55.000000Z",
        "edge",
    )
    assert (only["latitude"], only["longitude"], only["accuracy_m"]) == (26.87366, -80.10618, 47.7)
    assert only["texts"]["reason"] == "start of trip"
    assert only["texts"]["firmware.version"] == "1.12"
    assert only["numbers"]["battery.voltage"] == 4.265
    assert only["numbers"]["device.temperature"] == 38
    assert only["numbers"]["gsm.signal.csq"] == 16
    assert only["numbers"]["digital_matter.analogues.5"] == 4255
    assert only["numbers"]["digital_matter.posInfo.GDOP"] == 4.68
    assert only["booleans"] == {"engine.ignition.status": True}


@pytest.mark.parametrize(
    "date", ["2021-04-20T11:10:03.702659861Z", "2021-04-20T11:10:03.7026598Z", "2021-04-20T11:10:03Z"]
)
def test_the_edge_dialect_has_up_to_nine_fractional_digits(date: str) -> None:
    (only,) = views(EDGE | {"date": date})
    assert only["observed_at"][:19] == "2021-04-20T11:10:03"
    assert only["time_source"] == "device"


def test_edge_counters_name_the_battery_when_no_analogue_does() -> None:
    counters = [{"id": 0, "val": 5304}, {"id": 1, "val": 8350}, {"id": 142, "val": 1629023}]
    (alone,) = views({**EDGE, "analogues": [], "counters": counters})
    assert (alone["numbers"]["battery.voltage"], alone["numbers"]["battery.level"]) == (5.304, 83.5)
    assert alone["numbers"]["digital_matter.counters.142"] == 1629023
    (both,) = views({**EDGE, "counters": counters})
    assert (both["numbers"]["battery.voltage"], both["numbers"]["digital_matter.counters.0"]) == (4.265, 5304)


def test_edge_speed_is_converted_and_stays_as_sent() -> None:
    (only,) = views({**EDGE, "spd": 389, "head": 90, "alt": 12})
    assert (only["speed_kmh"], only["course_deg"], only["altitude_m"]) == (14.004, 90, 12)
    assert (only["numbers"]["digital_matter.spd"], only["numbers"]["digital_matter.head"]) == (389, 90)


def test_an_edge_device_without_a_fix_has_no_position() -> None:
    (only,) = views({name: value for name, value in EDGE.items() if name not in {"lat", "lng", "posAcc", "posInfo"}})
    assert only["latitude"] is None


def test_one_bad_record_does_not_hold_up_the_device() -> None:  # DM-a17, DM-c05
    everything = made(body(record(), 17, record(SeqNo=126)))
    assert [each.index for each in everything if isinstance(each, Defect)] == [1]
    assert len([each for each in everything if isinstance(each, Canonical)]) == 2


def test_a_quarantined_record_can_be_sent_again_as_it_is() -> None:
    (defect,) = made(body(17))
    assert isinstance(defect, Defect)
    assert orjson.loads(defect.piece) == body(17)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"hello": 1}, "unknown_shape"),
        ({"SerNo": 1, "Records": 5}, "records_not_a_list"),
        ({"Records": [record()]}, "no_device"),
        (5, "not_an_object"),
    ],
)
def test_what_cannot_be_read_says_why(content: Any, reason: str) -> None:
    (defect,) = made(content)
    assert isinstance(defect, Defect)
    assert defect.reason == reason


def test_a_record_sent_again_has_the_same_id_in_any_post() -> None:  # DM-a15
    first, second = record(GPS), record(GPS, SeqNo=126)
    assert ids(body(first))[0] == ids(body(second, first))[1] == ids(body(first, FW="33.4.1.28"))[0]


def test_a_sequence_number_that_starts_again_is_another_record() -> None:  # DM-a15
    assert ids(body(record())) != ids(body(record(DateUTC="2017-06-01 00:00:00")))


def test_another_device_is_another_record() -> None:
    assert ids(body(record())) != ids(body(record(), SerNo=131694))


def test_the_serial_in_the_path_agrees_or_is_flagged() -> None:  # DM-a04, DM-a18
    assert "identity.mismatch" not in view(path_params={"serial": "131693"})["booleans"]
    assert "identity.mismatch" not in view(path_params={"serial": ""})["booleans"]  # DM-a21
    assert "identity.mismatch" not in view(path_params={"serial": "356692063643328"})["booleans"]
    assert view(path_params={"serial": "131694"})["booleans"]["identity.mismatch"] is True
    assert view(headers={"x-serial": "131694"})["booleans"]["identity.mismatch"] is True


def test_on_a_mismatch_the_body_is_asked_last() -> None:  # DM-a18
    (only,) = made(body(record()), path_params={"serial": "131694"})
    assert isinstance(only, Canonical)
    serials = [each.value for each in only.identities if each.kind == "serial"]
    assert serials == ["131694", "131693"]


def test_a_device_is_found_by_serial_imei_or_eui() -> None:
    (only,) = made(body(record()))
    assert isinstance(only, Canonical)
    assert [(each.kind, each.value) for each in only.identities[:2]] == [
        ("serial", "131693"),
        ("imei", "356692063643328"),
    ]
    (lora,) = made({**EDGE, "device": {"sn": "0016C001F000ABEC"}})
    assert isinstance(lora, Canonical)
    assert ("dev_eui", "0016c001f000abec") in [(each.kind, each.value) for each in lora.identities]


def test_dynamic_fields_in_headers_are_kept_and_empty_ones_tolerated() -> None:  # DM-a05, DM-a06, DM-a21
    only = view(headers={"x-custom1": "PLANT-7", "x-custom2": "", "x-iccid": ""})
    assert only["texts"]["digital_matter.custom1"] == "PLANT-7"
    assert "digital_matter.custom2" not in only["texts"]
    assert only["texts"]["iccid"] == "8944538523010771676"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic " + base64.b64encode(b"oem:s3cret").decode()},
        {"authorization": "Bearer s3cret"},
        {"x-api-key": "s3cret"},
    ],
)
def test_the_credential_may_stand_in_any_of_the_places_a_connector_can_fill(headers: dict[str, str]) -> None:
    found = [extract(Request(headers=headers)) for extract in SOURCE.credentials]  # DM-a07, DM-a08, DM-c02
    assert [secret for secret in found if secret] == ["s3cret"]


def test_a_key_in_the_url_is_a_secret() -> None:  # DM-a08
    assert [secret for extract in SOURCE.credentials if (secret := extract(Request(query={"token": "k"})))] == ["k"]
    assert SOURCE.secret_query == ("token",)


@pytest.mark.parametrize(
    ("content", "path", "key"),
    [
        (b'{"SerNo":131693,"Records":[]}', "", "131693"),
        (b'{ "Records":[] ,"SerNo" : 131693 }', "", "131693"),
        (b'{"device":{"sn":"0016C001F000ABEC"}}', "", "0016C001F000ABEC"),
        (b'{"SerNo":null}', "77", "77"),
        (b"\xff\x00 not json", "77", "77"),
        (b'{"SerNo"', "", ""),
        (b"", "", ""),
    ],
)
def test_the_key_is_found_without_parsing(content: bytes, path: str, key: str) -> None:
    assert SOURCE.ordering_key(Request(body=content, path_params={"serial": path})) == key


def test_null_and_odd_values_cost_nothing_but_themselves() -> None:
    odd = GPS | {"Alt": None, "Spd": "fast", "Head": None, "PosAcc": [1], "GpsUTC": "yesterday"}
    only = view(odd, "not a field", {"FType": "x", "a": 1}, {"AnalogueData": [1], "FType": 6})
    assert only["latitude"] == 43.7370138
    assert only["speed_kmh"] is None
    assert only["texts"]["digital_matter.Spd"] == "fast"
    assert only["texts"]["digital_matter.GpsUTC"] == "yesterday"
    assert only["texts"]["digital_matter.Fields"] == "not a field"
