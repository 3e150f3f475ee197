"""The encoder made for a schema writes the very bytes that fastavro writes."""

import io
import struct
from typing import Any

import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas.encoder import encode_long, record_encoder
from schemas.records import _parsed, schema

TEXT = st.text(max_size=100)
LONG = st.integers(-(2**63), 2**63 - 1)
DOUBLE = st.floats() | st.integers(-(2**53), 2**53)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "double": DOUBLE,
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": LONG,
}
MAPS = {"double": DOUBLE, "boolean": st.booleans(), "string": TEXT}


def strategy(declared: Any) -> st.SearchStrategy[Any]:
    if not isinstance(declared, dict):
        return VALUES[declared]
    if declared["type"] == "fixed":
        return st.binary(min_size=declared["size"], max_size=declared["size"])
    if declared["type"] == "enum":
        return st.sampled_from(declared["symbols"])
    if declared["type"] == "map":
        return st.dictionaries(TEXT, MAPS[declared["values"]], max_size=5)
    return VALUES[declared["type"]]


def records(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field["name"]: strategy(field["type"]) for field in schema(name)["fields"]})


def fastavros(name: str, record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, _parsed(name), record)
    return out.getvalue()


@given(records("telemetry"))
def test_telemetry_is_written_as_fastavro_writes_it(record: dict[str, Any]) -> None:
    assert record_encoder(schema("telemetry"), b"head")(record) == b"head" + fastavros("telemetry", record)


@given(records("event"))
def test_events_are_written_as_fastavro_writes_them(record: dict[str, Any]) -> None:
    assert record_encoder(schema("event"), b"")(record) == fastavros("event", record)


@given(LONG)
def test_a_long_is_read_back(number: int) -> None:
    assert schemaless_reader(io.BytesIO(encode_long(number)), "long", None) == number


@pytest.mark.parametrize("bits", [7, 12, 14, 28, 41, 42, 48, 49, 55, 56, 63])
def test_longs_are_exact_where_their_length_changes(bits: int) -> None:
    for number in (2**bits - 1, 2**bits, 2**bits + 1, -(2**bits), -(2**bits) + 1):
        if -(2**63) <= number < 2**63:
            assert schemaless_reader(io.BytesIO(encode_long(number)), "long", None) == number
            out = io.BytesIO()
            schemaless_writer(out, "long", number)
            assert encode_long(number) == out.getvalue()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**70])
def test_what_does_not_fit_is_an_error_and_not_another_number(number: int) -> None:
    with pytest.raises(OverflowError):
        encode_long(number)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("id", b"short", TypeError),
        ("latitude", "12", struct.error),
        ("time_source", "guessed", KeyError),
        ("numbers", {"a": None}, struct.error),
        ("texts", {"a": "\ud800"}, UnicodeEncodeError),
    ],
)
def test_a_value_of_another_type_is_an_error(field: str, value: Any, error: type[Exception]) -> None:
    record = {each["name"]: each.get("default", b"\0" * 16) for each in schema("telemetry")["fields"]}
    encode = record_encoder(schema("telemetry"), b"")
    assert encode(record)
    with pytest.raises(error):
        encode({**record, field: value})


def test_a_type_that_no_canonical_record_uses_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="no canonical record uses"):
        record_encoder({"fields": [{"name": "x", "type": ["null", "string"]}]}, b"")
