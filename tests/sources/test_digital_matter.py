"""Digital Matter: both dialects, their units, repeated fixes and repeated deliveries."""

from typing import Any

import orjson
import pytest

from sources.digital_matter.keep import UNSETTLED
from sources.digital_matter.tables import ALARMS, PRODUCTS, PROFILE_VERSION, REASONS
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


@pytest.mark.parametrize("never", ["2013-01-01 00:00:00", "2013-01-01 07:12:00"])
def test_a_clock_that_was_never_set_is_not_believed(never: str) -> None:  # DM-a16
    only = view(GPS | {"GpsUTC": never})
    assert (only["fix_at"], only["fix_valid"]) == (None, False)
    assert only["texts"]["digital_matter.GpsUTC"] == never
    (record_too,) = views(body(record(DateUTC=never)))
    assert (record_too["time_source"], record_too["observed_at"]) == ("received", record_too["received_at"])
    assert record_too["texts"]["timestamp.sent"] == never.replace(" ", "T") + ".000000Z"


@pytest.mark.parametrize(
    "date", ["2017-05-11 05:58:44", "2017-05-11T05:58:44", "2017-05-11T05:58:44Z", "2017-05-11 05:58:44.000"]
)
def test_a_date_without_a_zone_is_utc(date: str) -> None:  # DM-a12
    (only,) = views(body(record(DateUTC=date)))
    assert only["observed_at"] == "2017-05-11T05:58:44.000000Z"


@pytest.mark.parametrize(
    "date", ["2017-05-11 25:58:44", "2017-13-11 05:58:44", "2017-05-11x05:58:44", "yesterday", {}, 7.5]
)
def test_a_date_that_is_none_is_kept(date: Any) -> None:
    (only,) = views(body(record(DateUTC=date)))
    assert only["time_source"] == "received"
    if date and not isinstance(date, float):
        assert only["texts"]["digital_matter.DateUTC"] == date


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
    assert numbers["digital_matter.AnalogueData.5"] == 10868


@pytest.mark.parametrize(
    ("product", "name"),
    [
        (88, "adc.voltage.1"),
        (89, "adc.voltage.1"),
        (97, "digital_matter.battery.voltage.loaded"),
        ("97", None),
        (77, None),
    ],
)
def test_analogue_5_is_what_a_known_product_says(product: Any, name: str | None) -> None:  # DM-c07
    (only,) = views(body(record({"AnalogueData": {"5": 4500}, "FType": 6}), ProdId=product))
    assert only["numbers"][name or "digital_matter.battery.voltage.loaded"] == 4.5
    assert only["numbers"]["digital_matter.AnalogueData.5"] == 4500
    assert only["texts"]["digital_matter.units"] == f"{product}/{PROFILE_VERSION}"
    assert UNSETTLED not in only["texts"]


@pytest.mark.parametrize("product", [33, 142, 4711, None, "x", 97.5, True, [97]])
def test_analogue_5_of_any_other_product_stays_raw_and_is_flagged(product: Any) -> None:  # DM-c07
    (only,) = views(body(record({"AnalogueData": {"5": 4500}, "FType": 6}), ProdId=product))
    assert only["numbers"]["digital_matter.AnalogueData.5"] == 4500
    assert only["texts"][UNSETTLED] == "AnalogueData.5"
    assert only["texts"]["digital_matter.units"] == f"any/{PROFILE_VERSION}"
    assert not {"adc.voltage.1", "solar.voltage", "digital_matter.battery.voltage.loaded"} & set(only["numbers"])


@pytest.mark.parametrize(
    ("value", "level"), [(0, 0), (873, 87.3), (1000, 100), (9992, 99.92), (10000, 100), (10001, None)]
)
def test_a_level_too_large_for_tenths_is_in_hundredths_and_the_number_stays(value: int, level: float | None) -> None:
    # DM-c07
    (only,) = views(body(record({"AnalogueData": {"6": value}, "FType": 6})))
    edge = {"date": "2026-01-02T03:04:05Z", "device": {"sn": "1"}, "analogues": [{"id": 6, "val": value}]}
    (other,) = views(edge)
    assert only["numbers"].get("battery.level") == other["numbers"].get("battery.level") == level
    assert only["numbers"]["digital_matter.AnalogueData.6"] == other["numbers"]["digital_matter.analogues.6"] == value
    flagged = None if level is None else "AnalogueData.6"
    assert only["texts"].get(UNSETTLED) == flagged


def test_a_high_g_record_of_an_oyster_keeps_its_measurements() -> None:  # DM-a14
    (only,) = views(body(record({"Peak": 2817, "Avg": 2762, "Dur": 20, "FType": 24}, Reason=46), ProdId=77))
    assert only["texts"]["device.product"] == "Oyster2"
    assert only["event"] == {"type": "alarm", "attributes": {"alarm": "highG"}}
    kept = {name: only["numbers"][f"digital_matter.{name}"] for name in ("Peak", "Avg", "Dur", "FType")}
    assert kept == {"Peak": 2817, "Avg": 2762, "Dur": 20, "FType": 24}


@pytest.mark.parametrize(("number", "value"), [("4", 98), ("4", -1), ("6", 65535), ("3", -32768), ("1", -5)])
def test_an_analogue_that_cannot_be_what_its_number_says_stays_raw(number: str, value: int) -> None:
    (only,) = views(body(record({"AnalogueData": {number: value}, "FType": 6})))
    assert only["numbers"][f"digital_matter.AnalogueData.{number}"] == value
    assert not {"gsm.signal.csq", "battery.level", "device.temperature", "battery.voltage"} & set(only["numbers"])


def test_analogues_split_over_two_fields_are_all_read() -> None:
    numbers = view({"AnalogueData": {"1": 4100}, "FType": 6}, {"AnalogueData": {"3": 2150, "1": 9}, "FType": 6})[
        "numbers"
    ]
    assert (numbers["battery.voltage"], numbers["device.temperature"]) == (4.1, 21.5)
    assert numbers["digital_matter.AnalogueData.1"] == 9


@pytest.mark.parametrize("name", sorted(set(PRODUCTS.values())))
def test_a_product_is_named(name: str) -> None:  # DM-a11
    for number in (each for each, known in PRODUCTS.items() if known == name):
        (only,) = views(body(record(), ProdId=number))
        assert only["texts"]["device.product"] == name
        assert only["numbers"]["digital_matter.ProdId"] == number


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
    assert (only["numbers"]["engine.motorhours"], only["numbers"]["digital_matter.RH"]) == (1.5, 5400)
    assert only["numbers"]["digital_matter.Odo"] == 7
    assert "vehicle.mileage" not in only["numbers"]  # three receivers, three units
    assert only["texts"][UNSETTLED] == "RH,Odo"


def test_trip_data_is_converted_and_stays_as_sent() -> None:  # DM-a13, DM-c07
    only = view({"Dist": 12345, "IdleTime": 90, "FType": 9})
    assert (only["numbers"]["trip.mileage"], only["numbers"]["trip.idle.duration"]) == (12.345, 90)
    assert (only["numbers"]["digital_matter.Dist"], only["numbers"]["digital_matter.IdleTime"]) == (12345, 90)
    assert only["texts"][UNSETTLED] == "Dist,IdleTime"


def test_sensors_on_a_bus_are_told_apart_by_their_address() -> None:  # DM-a14
    probe = {"FType": 4, "DevAddr": 48, "DevId": "13AquaChckACHSDI001S2000009"}
    other = {"FType": 4, "DevAddr": 49, "DevId": "13AquaChckEC1VER"}
    moisture, heat = {"FType": 5, "MType": 0, "Ms": [31125, -250]}, {"FType": 5, "MType": 1, "Ms": [18500]}
    only = view(GPS, probe, moisture, heat, other, {"FType": 5, "MType": 0, "Ms": [7, None, "x"]})
    measured = {name: value for name, value in only["numbers"].items() if ".sdi12." in name}
    assert measured == {
        "digital_matter.sdi12.0.M0.1": 31.125,
        "digital_matter.sdi12.0.M0.2": -0.25,
        "digital_matter.sdi12.0.M1.1": 18.5,
        "digital_matter.sdi12.1.M0.1": 0.007,
    }
    assert only["texts"]["digital_matter.sdi12.1.device"] == "13AquaChckEC1VER"
    assert only["texts"]["digital_matter.DevId"] == "13AquaChckACHSDI001S2000009"
    assert only["texts"]["digital_matter.Ms.3"] == '[7,null,"x"]'


def test_measurements_ahead_of_the_only_sensor_are_its_own() -> None:
    probe, value = {"FType": 4, "DevAddr": 51, "DevId": "x"}, {"FType": 5, "MType": 2, "Ms": [1000]}
    assert view(value, probe)["numbers"]["digital_matter.sdi12.3.M2.1"] == 1
    assert view(value)["numbers"]["digital_matter.sdi12.M2.1"] == 1


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


@pytest.mark.parametrize("code", sorted(ALARMS))
def test_a_reason_that_is_an_event_raises_an_alarm(code: int) -> None:
    (only,) = views(body(record(Reason=code)))
    assert only["event"] == {"type": "alarm", "attributes": {"alarm": ALARMS[code]}}
    assert only["texts"]["alarm.type"] == ALARMS[code]
    assert only["booleans"]["alarm.event"] is True
    (same,) = views({**EDGE, "reason": code})
    assert same["event"] == only["event"]


@pytest.mark.parametrize("code", sorted(set(REASONS) - set(ALARMS)))
def test_other_reasons_are_no_event(code: int) -> None:
    (only,) = views(body(record(Reason=code)))
    assert only["event"] is None


@pytest.mark.parametrize("reason", ["12", 12.5, True, None, [12], {"code": 12}])
def test_an_odd_reason_is_no_event(reason: Any) -> None:
    (only,) = views(body(record(Reason=reason)))
    assert only["event"] is None


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
    assert only["texts"][UNSETTLED] == "analogues.5,spd" or only["texts"][UNSETTLED] == "spd,analogues.5"


def test_edge_records_are_counted_except_over_lorawan() -> None:
    (cellular,) = views(EDGE)
    assert cellular["numbers"]["sequence.number"] == 40925
    (lora,) = views({**EDGE, "sqn": 347263802, "lora": {"dev_id": "yabby"}})
    assert "sequence.number" not in lora["numbers"]
    assert lora["numbers"]["digital_matter.sqn"] == 347263802


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
