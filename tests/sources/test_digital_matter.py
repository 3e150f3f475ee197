"""Digital Matter: both dialects, their units, repeated fixes and repeated deliveries."""

import base64
from typing import Any

import orjson
import pytest

from sources.contract import Request
from sources.digital_matter import SOURCE
from sources.digital_matter.tables import ALARMS, PROFILE_VERSION, PRODUCTS, REASONS
from sources.engine import Canonical, Defect
from tests.sources.digital_matter_bodies import EDGE, GPS, body, ids, made, record, view, views


def test_envelope_and_record_are_read() -> None:  # DM-a11, DM-a12
    only = view()
    assert (only["source_device"], only["observed_at"]) == ("131693", "2017-05-11T05:58:44.000000Z")
    assert only["texts"] == {
        "imei": "356692063643328",
        "iccid": "8944538523010771676",
        "firmware.version": "33.4.1.27",
        "reason": "heartbeat",
        "digital_matter.units": f"any/{PROFILE_VERSION}",
    }
    assert only["numbers"] == {"digital_matter.ProdId": 33, "sequence.number": 125, "digital_matter.Reason": 11}


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


def test_null_and_odd_values_cost_nothing_but_themselves() -> None:
    odd = GPS | {"Alt": None, "Spd": "fast", "Head": None, "PosAcc": [1], "GpsUTC": "yesterday"}
    only = view(odd, "not a field", {"FType": "x", "a": 1}, {"AnalogueData": [1], "FType": 6})
    assert only["latitude"] == 43.7370138
    assert only["speed_kmh"] is None
    assert only["texts"]["digital_matter.Spd"] == "fast"
    assert only["texts"]["digital_matter.GpsUTC"] == "yesterday"
    assert only["texts"]["digital_matter.Fields"] == "not a field"
