"""CBOR on the device API: the same record as JSON, whatever the encoder writes; and nothing a body may do to us."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.catalog import load_source
from sources.contract import Request
from sources.device.cbor import is_cbor, parse_cbor
from sources.engine import Canonical, Defect, canonicalize
from sources.errors import Unreadable

SOURCE = load_source("device")
NOW = 1_767_322_900_000_000


def made(body: bytes, **more: Any) -> list[Canonical | Defect]:
    return list(canonicalize(SOURCE, Request(body=body, received_us=NOW, tenant_id="t", device_id="d", **more)))


def one(body: bytes, **more: Any) -> Canonical:
    (only,) = made(body, **more)
    assert isinstance(only, Canonical), only
    return only


BODIES: list[Any] = [
    {"temperature": 24.5, "humidity": 61},
    {"telemetry": {"temperature": -3.25, "ignition": True, "door": "offen ü"}, "ts": 1_767_322_800_000},
    {"ts": 1_767_322_800_000, "values": {"gps": {"lat": 52.5, "lon": 13.4}, "codes": [1, "a", None, {"b": 1, "a": 2}]}},
    [{"n": 1, "ts": 1_767_322_800.5}, {"n": 2}],
    {"items": [{"telemetry": {"n": 1}}, 7, {"telemetry": {"n": 2}, "ts": "yesterday"}]},
    {"childDeviceId": "c1", "telemetry": {"n": 1}},
    {"Device A": [{"ts": 1_767_322_800_000, "values": {"n": 1}}]},
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("content_type", ["application/cbor", "Application/CBOR; q=1", "application/json", ""])
def test_cbor_gives_what_json_gives(body: Any, content_type: str) -> None:  # AC-a02
    as_json = made(orjson.dumps(body), content_type="application/json")
    for canonical in (True, False):
        as_cbor = made(cbor2.dumps(body, canonical=canonical), content_type=content_type)
        # Records, ids included; of defects the reason and place: a piece is quarantined as JSON with keys as they came.
        assert [each.record for each in as_cbor if isinstance(each, Canonical)] == [
            each.record for each in as_json if isinstance(each, Canonical)
        ]
        assert [(d.reason, d.index) for d in as_cbor if isinstance(d, Defect)] == [
            (d.reason, d.index) for d in as_json if isinstance(d, Defect)
        ]


def test_json_that_claims_to_be_cbor_is_read_as_json() -> None:
    for body in (b'{"n": 1}', b' \n{"n": 1}', b'\xef\xbb\xbf{"n": 1}'):
        assert one(body, content_type="application/cbor" if body[:1] in b" {" else "").record["numbers"] == {
            "device.n": 1
        }


@pytest.mark.parametrize(
    ("encoded", "read"),
    [
        (b"\xf6", None),
        (b"\xf7", None),  # undefined
        (cbor2.dumps(math.nan), None),
        (cbor2.dumps(math.inf), "Infinity"),
        (cbor2.dumps(-math.inf), "-Infinity"),
        (b"\xf9\x3c\x00", 1.0),  # half precision
        (b"\xfa\x47\xc3\x50\x00", 100_000.0),
        (b"\xc4\x82\x21\x19\x08\x66", 21.5),  # decimal fraction 2150 * 10^-2
        (b"\xc5\x82\x20\x03", 1.5),  # bigfloat 3 * 2^-1
        (b"\xc4\x82\x1a\x3b\x9a\xca\x00\x03", "3E+1000000000"),
        (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 2**64 - 1),
        (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", str(-(2**64))),
        (cbor2.dumps(2**70), str(2**70)),
        (cbor2.dumps(2**100_000), hex(2**100_000)),
        (b"\x43\x01\x02\xff", "0102ff"),
        (b"\x5f\x41\x01\x41\x02\xff", "0102"),  # bytes of indefinite length
        (b"\x7f\x62ab\x61c\xff", "abc"),
        (b"\x9f\x01\x02\xff", [1, 2]),
        (b"\xbf\x61a\x01\xff", {"a": 1}),
        (cbor2.dumps({1: 2, -1: 3, b"\x01": 4, None: 6, 1.5: 7}), {"1": 2, "-1": 3, "01": 4, "null": 6, "1.5": 7}),
        (b"\xc0\x74" + b"2026-01-02T03:00:00Z", "2026-01-02T03:00:00Z"),
        (b"\xc1\x1a\x69\x57\x35\xb0", 1_767_323_056),
        (b"\xd8\x25\x50" + b"\x01" * 16, "01" * 16),
        (b"\xd8\x23\x62(a", "(a"),  # a regular expression that is none
        (b"\xd9\x03\xe7\x18\x2a", 42),  # an unknown tag
        (b"\xd9\xd9\xf7\x05", 5),  # self-described CBOR
        (b"\xf8\x20", 32),  # a simple value
        (b"\xd9\x01\x02\x82\x02\x01", [2, 1]),  # a set
    ],
)
def test_what_json_cannot_say_becomes_what_it_can(encoded: bytes, read: Any) -> None:
    parsed = parse_cbor(b"\xa1\x61k" + encoded)["k"]
    assert parsed == read
    assert type(parsed) is type(read)


def test_times_are_times_in_every_form_cbor_has() -> None:  # AC-c02
    moment = dt.datetime(2026, 1, 2, 3, 0, tzinfo=dt.UTC)
    for encoded in (
        cbor2.dumps(moment),
        cbor2.dumps(moment, datetime_as_timestamp=True),
        b"\xc1" + cbor2.dumps(1_767_322_800.25),
    ):
        record = one(b"\xa2\x61n\x01\x62ts" + encoded).record
        assert abs(record["observed_us"] - 1_767_322_800_000_000) in (0, 250_000)
        assert record["time_source"] == "device"


@pytest.mark.parametrize(
    "body",
    [
        b"\xa1\x61a",  # cut off
        b"\xa1\x61a\x01\xa1\x61b\x02",  # a second item behind the first would be lost
        b"\xa2\x01\x02\x61\x31\x03",  # 1 and "1"
        b"\xa2\x01\x02\xf5\x03",  # 1 and true, which Python takes for the same
        b"\xa2\x61a\x01\x61a\x02",
        b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",  # says it holds 2^63 items
        b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff\x61a\x01",
        b"\x81" * 100_000,
        b"\xc1" * 100_000,
        b"\x81" * 40 + b"\x01",
        b"\xd8\x1c\x81\xd8\x1d\x00",  # an array that holds itself
        b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00",  # a reference to an earlier string
        b"\x81\x62\xff\xfe",  # no UTF-8
        b"\xa1\x61a\xff",
        b"\xc5\x82\x1a\x3b\x9a\xca\x00\x03",
    ],
)
def test_what_cannot_be_read_is_a_defect(body: bytes) -> None:
    (defect,) = made(body)
    assert isinstance(defect, Defect)
    assert defect.reason in ("not_cbor", "too_deep")


def test_references_cannot_blow_a_small_body_up() -> None:
    value: list[Any] = [1]
    for _ in range(20):
        value = [value] * 100
    bomb = cbor2.dumps(value, value_sharing=True)
    assert len(bomb) < 10_000
    with pytest.raises(Unreadable, match="tag 29"):
        parse_cbor(bomb)


@settings(max_examples=500, deadline=None)
@given(body=st.binary(min_size=1, max_size=80) | st.binary(max_size=80).map(lambda rest: b"\xa2\x61a" + rest))
def test_any_bytes_become_records_or_defects(body: bytes) -> None:
    for each in made(body, content_type="application/cbor"):
        assert isinstance(each, Canonical) or each.reason != "normalizer_error", each


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(value=st.dictionaries(st.text(max_size=5), JSON) | st.lists(JSON))
def test_whatever_json_says_cbor_says_the_same(value: Any) -> None:
    encoded = cbor2.dumps(value)
    assert is_cbor(encoded)
    assert not is_cbor(orjson.dumps(value))
    assert parse_cbor(encoded) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
def test_decimal_fractions_are_numbers(value: Decimal) -> None:
    assert parse_cbor(cbor2.dumps([value])) == [float(value)]
