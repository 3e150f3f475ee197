"""What holds for every source and any bytes: a record or a defect comes out, never an exception."""

import functools
import math
import operator
import re
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import telemetry_reader, telemetry_writer
from schemas.view import telemetry_view
from sources.catalog import load_source, source_names
from sources.contract import Request, Source
from sources.engine import NORMALIZER_ERROR, Canonical, Defect, canonicalize
from sources.golden import sample_request
from sources.samples import load_samples

RECEIVED_US = 1_767_323_045_000_000
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["", "null", "1e999", "-0", "2025-12-31T00:00:00Z", "0001-01-01T00:00:00Z", 1e308, -1, 0])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = source_names()


def bodies(name: str) -> list[Any]:
    return [sample.request.body for sample in load_samples(name).values() if sample.request.body is not None]


def check(source: Source, request: Request) -> None:
    write, read = telemetry_writer(), telemetry_reader()
    for made in canonicalize(source, request):
        if isinstance(made, Defect):
            assert made.reason != NORMALIZER_ERROR, made.detail
            continue
        assert isinstance(made, Canonical)
        record = read(write(made.record))
        assert all(math.isfinite(number) for number in record["numbers"].values())
        assert not any(math.isinf(value) for value in record.values() if isinstance(value, float))
        assert orjson.loads(orjson.dumps(telemetry_view(record)))
        assert len(made.record["id"]) == 16
        for identity in made.identities:
            assert identity.value


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, inner in below for path in paths(inner, (*prefix, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: replaced(value[key], tuple(rest), new)}
    return [replaced(each, tuple(rest), new) if index == key else each for index, each in enumerate(value)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_become_records_or_defects(name: str, body: bytes) -> None:
    source = load_source(name)
    request = Request(body=body, received_us=RECEIVED_US, tenant_id="t", credential_id="c")
    assert isinstance(source.ordering_key(request), str)
    check(source, request)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(body=JSON)
def test_any_json_becomes_records_or_defects(name: str, body: Any) -> None:
    source = load_source(name)
    check(source, Request(body=orjson.dumps(body), received_us=RECEIVED_US, tenant_id="t", credential_id="c"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_sample_with_one_value_replaced_becomes_records_or_defects(name: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(bodies(name)))
    path = data.draw(st.sampled_from(paths(body)))
    changed = replaced(body, path, data.draw(JSON))
    check(load_source(name), Request(body=orjson.dumps(changed), received_us=RECEIVED_US, tenant_id="t"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(
    query=st.dictionaries(
        st.sampled_from(["id", "event", "lat", "lon", "timestamp", "speed", "x"]), st.text(max_size=20)
    )
)
def test_any_query_becomes_records_or_defects(name: str, query: dict[str, str]) -> None:
    source = load_source(name)
    request = Request(method=source.methods[-1], query=query, received_us=RECEIVED_US, tenant_id="t", credential_id="c")
    assert isinstance(source.ordering_key(request), str)
    check(source, request)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_ids_whenever_it_arrives(name: str) -> None:
    source = load_source(name)
    for sample in load_samples(name).values():
        request = sample_request(source, sample)
        later = msgspec.structs.replace(request, received_us=request.received_us + 3_600_000_000, offset=7, partition=1)
        timed = [
            m for m in canonicalize(source, request) if isinstance(m, Canonical) and m.record["time_source"] == "device"
        ]
        again = {m.record["id"] for m in canonicalize(source, later) if isinstance(m, Canonical)}
        assert {made.record["id"] for made in timed} <= again


@pytest.mark.parametrize("name", source_names())
@pytest.mark.parametrize("depth", [200, 260, 1000, 100_000])
def test_deep_nesting_is_a_defect_of_the_sender_and_never_the_normalizers(name: str, depth: int) -> None:
    source = load_source(name)
    for body in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        for made in canonicalize(source, Request(body=body, tenant_id="t", credential_id="c", received_us=1)):
            assert isinstance(made, Canonical) or made.reason != NORMALIZER_ERROR, made.detail


MEASURED = ("latitude", "longitude", "altitude_m", "speed_kmh", "course_deg", "numbers", "booleans")
AROUND = re.compile(
    r"Id$|^dr$|deviceInfo|device\b|devices|rxInfo|rx_metadata|txInfo|settings|locations|result|position|metadata"
)
"""Where the surroundings of a message stand (the device and its numbers, who heard it, the copy of its position): two copies of
one message may differ there, so they are no part of the id."""


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_measurement_changes_the_id(name: str) -> None:
    source, changes = load_source(name), 0
    for sample in load_samples(name).values():
        request = sample_request(source, sample)
        before = {made.record["id"]: made for made in canonicalize(source, request) if isinstance(made, Canonical)}
        for path in paths(sample.request.body) if sample.request.body is not None else ():
            value = functools.reduce(operator.getitem, path, sample.request.body)
            if isinstance(value, bool) or not isinstance(value, int | float) or AROUND.search(".".join(map(str, path))):
                continue
            body = orjson.dumps(replaced(sample.request.body, path, value + 1))
            for made in canonicalize(source, msgspec.structs.replace(request, body=body)):
                if isinstance(made, Canonical) and made.record["id"] in before:
                    same = telemetry_view(before[made.record["id"]].record)
                    assert all(telemetry_view(made.record)[each] == same[each] for each in MEASURED), path
                else:
                    changes += 1
    assert changes
