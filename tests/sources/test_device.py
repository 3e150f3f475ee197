"""The device API's bodies: every form, every way of telling the time, children of gateways, what is refused and what is kept."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.times import format_us
from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.errors import Refused

SOURCE = load_source("device")
NOW = 1_767_322_900_000_000
TS = 1_767_322_800_000
AT = "2026-01-02T03:00:00.000000Z"
SINGLE, BATCH = "/api/v1/{deviceToken}/telemetry", "/api/v1/{deviceToken}/telemetry/batch"
GATEWAY = "v1/gateway/telemetry"
TOPICS = ("devices/{deviceToken}/telemetry", "v1/devices/{deviceToken}/telemetry", "v1/devices/me/telemetry", GATEWAY)


def request(body: Any, **more: Any) -> Request:
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    return Request(body=encoded, received_us=NOW, tenant_id="t", device_id="d", **{"path": SINGLE, **more})


def made(body: Any, **more: Any) -> list[Canonical | Defect]:
    return list(canonicalize(SOURCE, request(body, **more)))


def said(body: Any, **more: Any) -> list[Any]:
    """Return what was read: (child, time, numbers) of records and (reason, index) of defects."""
    return [
        (each.child, format_us(each.record["observed_us"]), each.record["numbers"])
        if isinstance(each, Canonical)
        else (each.reason, each.index)
        for each in made(body, **more)
    ]


def one(body: Any, **more: Any) -> Canonical:
    (only,) = made(body, **more)
    assert isinstance(only, Canonical), only
    return only


def refusal(body: Any, **more: Any) -> int:
    try:
        SOURCE.check(request(body, **more))
    except Refused as refused:
        return refused.status
    return 0


# --- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": 24.5, "ts": TS},
        {"telemetry": {"temperature": 24.5}, "ts": TS},
        {"telemetry": {"temperature": 24.5}, "timestamp": TS, "deviceToken": "x"},
        {"ts": TS, "values": {"temperature": 24.5}},
        [{"temperature": 24.5, "ts": TS}],
        [{"ts": TS, "values": {"temperature": 24.5}}],
        {"items": [{"telemetry": {"temperature": 24.5}, "ts": TS}]},
        {"items": [{"temperature": 24.5}], "ts": TS},
    ],
)
@pytest.mark.parametrize("transport", ["http", "mqtt", "websocket"])
def test_one_reading_is_one_record_with_one_id_in_every_form(
    body: Any, transport: str
) -> None:  # AC-a01, AC-a03, AC-c04
    record = one(body, transport=transport).record
    assert (record["numbers"], format_us(record["observed_us"])) == ({"temperature": 24.5}, AT)
    assert record["id"] == one({"temperature": 24.5, "ts": TS}).record["id"]
    assert refusal(body) == 0


def test_only_when_all_else_is_reserved_telemetry_is_the_nested_form() -> None:  # AC-c04
    record = one({"telemetry": {"temperature": 24.5}, "humidity": 61}).record
    assert record["numbers"] == {"device.telemetry.temperature": 24.5, "humidity": 61}
    assert one({"telemetry": "on"}).record["texts"] == {"device.telemetry": "on"}


def test_an_object_with_a_time_and_values_is_always_an_envelope() -> None:
    metadata = {"connector": "modbus", "receivedTs": TS + 500, "publishedTs": TS + 700}
    body = {"ts": TS, "values": {"temperature": 24.5, "ts": 7}, "metadata": metadata, "rssi": -70}
    record = one(body).record
    expected = {"temperature": 24.5, "device.ts": 7, "device.metadata.publishedTs": TS + 700, "device.rssi": -70}
    assert record["numbers"] == expected
    assert record["texts"] == {"device.metadata.connector": "modbus"}
    assert (record["observed_us"], record["platform_us"]) == (TS * 1000, (TS + 500) * 1000)
    again = one({**body, "metadata": {"publishedTs": TS + 900}}).record
    assert again["id"] == record["id"]  # a gateway that repeats a message says when it did
    assert one({**body, "rssi": -71}).record["id"] != record["id"]


def test_values_without_a_time_or_that_are_no_object_are_telemetry() -> None:
    assert one({"values": {"a": 1}}).record["numbers"] == {"device.values.a": 1}
    assert one({"ts": TS, "values": [1, 2]}).record["texts"] == {"device.values": "[1,2]"}


def test_nested_values_are_joined_arrays_are_json_and_null_says_nothing() -> None:  # AC-c09
    record = one({"engine": {"load": {"a": 1}, "ok": True}, "codes": ["P0", {"b": 1, "a": 2}], "none": None}).record
    assert record["numbers"] == {"device.engine.load.a": 1}
    assert record["booleans"] == {"device.engine.ok": True}
    assert record["texts"] == {"device.codes": '["P0",{"a":2,"b":1}]'}


def test_strings_are_never_cast() -> None:  # AC-c09
    record = one({"temperature": "24.5", "serial": "007", "on": "true"}).record
    assert (record["numbers"], record["booleans"]) == ({}, {})
    assert record["texts"] == {"device.sent.temperature": "24.5", "device.serial": "007", "device.on": "true"}


def test_reserved_keys_are_never_telemetry() -> None:  # AC-a27
    body = {
        "deviceToken": "x",
        "externalDeviceId": "y",
        "tenantId": "z",
        "childDeviceId": "c",
        "ts": TS,
        "timestamp": 1,
    }
    record = one({**body, "humidity": 61}).record
    assert (record["numbers"], record["booleans"], record["texts"]) == ({"humidity": 61}, {}, {})


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        (TS, AT),
        (TS / 1000, AT),
        (TS // 1000 + 0.5, "2026-01-02T03:00:00.500000Z"),
        (TS + 0.25, "2026-01-02T03:00:00.000250Z"),
        (1_483_228_800, "2017-01-01T00:00:00.000000Z"),
        (1_483_228_800_000, "2017-01-01T00:00:00.000000Z"),
        (str(TS), AT),
        (str(TS / 1000), AT),
        ("2026-01-02T03:00:00Z", AT),
        ("2026-01-02T04:00:00+01:00", AT),
        ("2026-01-02 03:00:00.123456789", "2026-01-02T03:00:00.123456Z"),
    ],
)
@pytest.mark.parametrize("key", ["ts", "timestamp"])
def test_a_time_is_read_in_every_form(key: str, stated: Any, read: str) -> None:  # AC-a05, AC-c02
    for body in ({"n": 1, key: stated}, {"items": [{"telemetry": {"n": 1}, key: stated}]}):
        record = one(body).record
        assert (format_us(record["observed_us"]), record["time_source"]) == (read, "device")


def test_ts_counts_more_than_timestamp_unless_it_is_null() -> None:  # AC-c02
    assert one({"n": 1, "ts": TS, "timestamp": 1_483_228_800}).record["observed_us"] == TS * 1000
    assert one({"n": 1, "timestamp": TS, "ts": None}).record["observed_us"] == TS * 1000


def test_without_a_time_it_is_when_we_received_it() -> None:  # AC-a05
    for body in ({"n": 1}, {"n": 1, "ts": None}, {"items": [{"telemetry": {"n": 1}}]}):
        record = one(body).record
        assert (record["observed_us"], record["time_source"]) == (NOW, "received")
        assert record["texts"] == {}


@pytest.mark.parametrize("stated", [0, "0", 0.0, 1, 1_000_000, "0001-01-01T00:00:00+05:00", NOW // 1000 + 90_000_000])
def test_a_clock_that_cannot_be_right_is_kept_and_not_believed(stated: Any) -> None:
    record = one({"n": 1, "ts": stated}).record
    assert (record["observed_us"], record["time_source"]) == (NOW, "received")
    assert record["texts"]["timestamp.sent"]


@pytest.mark.parametrize("stated", ["yesterday", "", True, False, [], {}, -5, 1e300, "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time_quarantines_the_item_and_no_other(stated: Any) -> None:  # AC-c08
    items = [
        {"telemetry": {"n": 1}, "ts": TS},
        {"telemetry": {"n": 2}, "ts": stated},
        {"telemetry": {"n": 3}, "ts": TS},
    ]
    assert said({"items": items}) == [("", AT, {"device.n": 1}), ("bad_time", 1), ("", AT, {"device.n": 3})]
    assert refusal({"items": items}) == 0
    assert refusal({"n": 1, "ts": stated}) == 400


def test_two_readings_without_a_time_are_two_records_unless_a_key_says_that_it_is_a_repetition() -> None:
    body = {"n": 1}
    first, second = (one(body, record_id=each).record["id"] for each in "ab")
    later = next(canonicalize(SOURCE, msgspec.structs.replace(request(body), received_us=NOW + 1)))
    assert isinstance(later, Canonical)
    assert first == second != later.record["id"]
    keyed = [
        next(
            canonicalize(
                SOURCE, msgspec.structs.replace(request(body), received_us=at, headers={"idempotency-key": key})
            )
        )
        for at, key in ((NOW, "k"), (NOW + 1, "k"), (NOW + 1, "l"))
    ]
    ids = [each.record["id"] for each in keyed if isinstance(each, Canonical)]
    assert ids[0] == ids[1] != ids[2]
    timed = one({"n": 1, "ts": TS}).record["id"]
    assert one({"n": 1, "ts": TS}, headers={"idempotency-key": "k"}).record["id"] == timed


# --- gateways --------------------------------------------------------------------------------------------------------

CHILD = {"childDeviceId": "c1", "telemetry": {"temperature": 24.5}, "ts": TS}


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (CHILD, {}),
        ({"childDeviceId": "c1", "temperature": 24.5, "ts": TS}, {}),
        ({"childDeviceId": "c1", "ts": TS, "values": {"temperature": 24.5}}, {}),
        ([CHILD], {}),
        ({"items": [CHILD]}, {"path": BATCH}),
        ({"childDeviceId": "c1", "items": [{"telemetry": {"temperature": 24.5}, "ts": TS}]}, {"path": BATCH}),
        *((CHILD, {"path": topic, "transport": "mqtt"}) for topic in TOPICS),
        ({"items": [CHILD]}, {"path": GATEWAY, "transport": "mqtt"}),
        (CHILD, {"path": "", "transport": "websocket"}),
        ({"c1": [{"ts": TS, "values": {"temperature": 24.5}}]}, {}),
        ({"c1": [{"ts": TS, "values": {"temperature": 24.5}}]}, {"path": GATEWAY, "transport": "mqtt"}),
        ({"c1": [{"ts": TS, "temperature": 24.5}]}, {"path": GATEWAY, "transport": "mqtt"}),
        ({"c1": {"ts": TS, "values": {"temperature": 24.5}}}, {"path": GATEWAY, "transport": "mqtt"}),
    ],
)
def test_a_gateways_body_is_about_its_child_in_every_form(body: Any, more: Any) -> None:  # AC-a16, AC-a18
    child = one(body, **more)
    assert (child.child, child.record["source_device"]) == ("c1", "c1")
    assert (child.record["numbers"], child.record["observed_us"]) == ({"temperature": 24.5}, TS * 1000)
    assert child.record["id"] == one(CHILD).record["id"] != one({"temperature": 24.5, "ts": TS}).record["id"]


def test_a_batch_may_be_about_several_children_and_the_gateway_itself() -> None:  # AC-a18
    items = [{**CHILD, "childDeviceId": each} for each in ("c1", "", 7)] + [{"telemetry": {"n": 1}, "ts": TS}]
    children = [each.child for each in made({"items": items}) if isinstance(each, Canonical)]
    assert children == ["c1", "", "7", ""]
    assert said({"items": [{**CHILD, "childDeviceId": ["c1"]}]}) == [("bad_child", 0)]
    assert refusal({**CHILD, "childDeviceId": True}) == 400


def test_thingsboards_gateway_form_keeps_every_device_and_moment_and_isolates_what_is_broken() -> None:
    body = {
        "Device A": [
            {"ts": TS, "values": {"t": 1}},
            7,
            {"ts": "soon", "values": {"t": 2}},
            {"ts": TS, "values": {"t": 3}},
        ],
        "Device B": [{"values": {"t": 4}}],
    }
    expected = [
        ("Device A", AT, {"device.t": 1}),
        ("not_an_object", 1),
        ("bad_time", 2),
        ("Device A", AT, {"device.t": 3}),
    ]
    for more in ({}, {"path": GATEWAY, "transport": "mqtt"}):
        assert said(body, **more) == [*expected, ("Device B", format_us(NOW), {"device.t": 4})]
    broken = made(body)[1]
    assert isinstance(broken, Defect)
    assert broken.piece == b'["Device A",7]'


def test_on_the_gateways_topic_names_are_devices_whatever_they_are() -> None:  # AC-a11
    values = [{"ts": TS, "values": {"t": 1}}]
    for name in ("items", "telemetry", "ts", "deviceToken"):
        assert said({name: values}, path=GATEWAY, transport="mqtt") == [(name, AT, {"device.t": 1})]
    assert said({"temperature": 24.5}, path=GATEWAY, transport="mqtt") == [("not_an_object", 0)]


def test_an_array_of_objects_is_a_reading_where_no_gateway_is_expected() -> None:
    assert one({"history": [{"ts": 1, "t": 5}]}).record["texts"] == {"device.history": '[{"t":5,"ts":1}]'}
    assert one({"items": [1, 2]}).record["texts"] == {"device.items": "[1,2]"}
    assert one({"items": 3, "x": 1}).record["numbers"] == {"device.items": 3, "device.x": 1}


# --- what is refused and what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, 101])
@pytest.mark.parametrize(
    "body",
    [
        lambda n: {"items": [{"telemetry": {"n": each}} for each in range(n)]},
        lambda n: [{"n": each} for each in range(n)],
        lambda n: {"A": [{"ts": TS, "values": {"n": each}} for each in range(n)]},
    ],
)
def test_100_items_are_taken_and_101_refused(body: Any, count: int) -> None:  # AC-a04
    assert refusal(body(count)) == (0 if count == 100 else 413)
    assert refusal(body(count), transport="websocket", path="") == (0 if count == 100 else 413)
    assert refusal(body(count), transport="mqtt", path=TOPICS[0]) == (0 if count == 100 else 413)
    assert len(made(body(count), transport="mqtt", path=TOPICS[0])) == count  # where nobody could be told, all is kept


UNREADABLE = (
    (b"", "not_json"),
    (b"{", "not_json"),
    (b'{"telemetry": ', "not_json"),
    (b"nothing", "not_json"),
    (b"\xff\xfe", "not_json"),
    (b"\xa1\x61a", "not_cbor"),
    (b"7", "not_an_object"),
    (b"null", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"{}", "no_telemetry"),
    (b'{"ts": 1767322800}', "no_telemetry"),
    (b'{"telemetry": {}}', "no_telemetry"),
    (b'{"temperature": null}', "no_telemetry"),
    (b'{"n": 1, "ts": "soon"}', "bad_time"),
    (b'{"n": 1, "childDeviceId": []}', "bad_child"),
    (b'{"n": ' + b"[" * 40 + b"]" * 40 + b"}", "too_deep"),
)


@pytest.mark.parametrize(("body", "reason"), UNREADABLE)
def test_an_unreadable_body_is_refused_where_there_is_an_answer_and_quarantined_where_there_is_none(  # AC-c01
    body: bytes, reason: str
) -> None:
    assert refusal(body) == 400
    assert refusal(body, transport="websocket", path="") == 400
    (defect,) = made(body, transport="mqtt", path=TOPICS[1])
    assert isinstance(defect, Defect)
    assert defect.reason == reason


@pytest.mark.parametrize("body", [{"item": [{"telemetry": {"n": 1}}]}, {"n": 1}, {"items": 7}, {"items": [], "n": 1}])
def test_what_is_no_batch_is_refused_on_the_batch_path(body: Any) -> None:
    assert refusal(body, path=BATCH) == 400
    assert refusal(body, path=BATCH + "/") == 400


def test_wrong_items_are_quarantined_and_the_others_kept() -> None:  # AC-c08
    items = [{"telemetry": {"n": 1}, "ts": TS}, 7, None, [], {}, {"telemetry": {}}, {"telemetry": {"n": 2}, "ts": TS}]
    reasons = [*(("not_an_object", each) for each in (1, 2, 3)), ("no_telemetry", 4), ("no_telemetry", 5)]
    assert said({"items": items}, path=BATCH) == [("", AT, {"device.n": 1}), *reasons, ("", AT, {"device.n": 2})]
    assert refusal({"items": items}, path=BATCH) == 0


def test_a_single_column_is_a_reading() -> None:
    for body in (
        {"hdop": 1.2},
        {"pdop": 1.2},
        {"satellites": 0},
        {"altitude": 0},
        {"heading": 0},
        {"gps": {"lat": 1, "lon": 2}},
    ):
        assert one(body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ts", "timestamp", "values", "telemetry", "items", "childDeviceId", "metadata", "a", "gps", "lat"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=14,
)


@settings(max_examples=300, deadline=None)
@given(body=JSON, path=st.sampled_from([SINGLE, BATCH, *TOPICS]))
@example(body={"values": {}, "ts": None, "telemetry": []}, path=SINGLE)
def test_what_is_accepted_alone_is_a_record_and_what_is_refused_is_none(body: Any, path: str) -> None:
    outcome = made(body, path=path)
    assert not any(isinstance(each, Defect) and each.reason == "normalizer_error" for each in outcome)
    if refusal(body, path=path):
        assert not any(isinstance(each, Canonical) for each in outcome)
    elif isinstance(body, dict) and "items" not in body and not path.endswith(GATEWAY) and len(outcome) == 1:
        (only,) = outcome
        assert isinstance(only, Canonical) or only.reason == "no_telemetry"  # nothing but null, somewhere inside


def test_what_a_device_says_about_itself_is_kept_and_told_from_telemetry() -> None:
    (said_so,) = made({"fw_version": "1.2", "serial": "A7"}, transport="mqtt", path="v1/devices/me/attributes")
    assert isinstance(said_so, Canonical)
    assert said_so.record["type"] == "attributes"
    assert said_so.record["texts"] == {"device.fw_version": "1.2", "device.serial": "A7"}
