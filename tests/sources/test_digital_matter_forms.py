"""Digital Matter: JSON wrapped in a form, whatever the content type says."""

from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.contract import Request
from sources.digital_matter import SOURCE
from sources.engine import NORMALIZER_ERROR, Canonical, Defect, canonicalize
from tests.sources.digital_matter_bodies import EDGE, GPS, RECEIVED_US, body, record

FORM = "application/x-www-form-urlencoded"
JSON = orjson.dumps(body(record(GPS), record({"DType": 1, "Data": "AAA=&x%7B+", "FType": 3}, SeqNo=126))).decode()


def requested(text: str, content_type: str = FORM) -> Request:
    return Request(
        body=text.encode(), content_type=content_type, received_us=RECEIVED_US, tenant_id="t", credential_id="c"
    )


def records(text: str, content_type: str = FORM) -> list[dict[str, object]]:
    made = list(canonicalize(SOURCE, requested(text, content_type)))
    assert not [each for each in made if isinstance(each, Defect)]
    return [dict(each.record) for each in made if isinstance(each, Canonical)]


def same(text: str) -> None:
    expected = records(JSON, "application/json")
    assert len(expected) == 2
    assert repr(records(text)) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"payload={quote_plus(JSON)}",
        f"payload={quote(JSON, safe='')}",
        f"payload={quote(JSON, safe='').replace('%7B', '%7b')}",
        f"{quote_plus(JSON)}=",
        quote_plus(JSON),
        f"payload={JSON}",
        f"{JSON}=",
        urlencode({"payload": f"[{JSON}]"}),
        f"payload=[{JSON}]",
    ],
)
def test_a_form_is_read_like_the_json_inside(text: str) -> None:
    same(text)


def test_a_form_with_one_field_per_member_is_read_too() -> None:
    members = {
        name: value if isinstance(value, str) else orjson.dumps(value) for name, value in orjson.loads(JSON).items()
    }
    one, other = records(urlencode(members)), records(JSON)
    assert [each["id"] for each in one] == [each["id"] for each in other]
    assert [each["latitude"] for each in one][:1] == [43.7370138]


def test_members_that_were_never_escaped_are_read_too() -> None:
    (only,) = records('SerNo=131693&Records=[{"SeqNo":1,"DateUTC":"2017-05-11 05:58:44"}]')
    assert (only["source_device"], only["time_source"]) == ("131693", "device")


def test_other_fields_of_the_form_are_kept() -> None:
    first, _ = records(urlencode({"plant": "7", "SerNo": "1", "data": JSON}).replace("SerNo=1&", ""))
    assert first["texts"]["digital_matter.plant"] == "7"  # type: ignore[index]


def test_the_edge_dialect_in_a_form() -> None:
    (only,) = records(urlencode({"json": orjson.dumps(EDGE)}))
    assert (only["source_device"], only["type"]) == ("403809", "edge")


@pytest.mark.parametrize(
    "text", ["a=b", "%7B=", "payload=%7Bnot", "payload={", "=", "%", "&&&=", "payload=%7B%7D&" * 2_000]
)
def test_a_form_without_json_is_quarantined_as_no_json(text: str) -> None:
    made = list(canonicalize(SOURCE, requested(text)))
    assert {each.reason for each in made if isinstance(each, Defect)} <= {"not_json", "unknown_shape"}
    assert made
    assert all(isinstance(each, Defect) for each in made)


@given(st.text(alphabet='%7B2D{}[]"=&+:, SerNoRecords1', max_size=60))
def test_any_form_becomes_records_or_defects(text: str) -> None:
    for made in canonicalize(SOURCE, requested(text)):
        assert isinstance(made, Canonical) or made.reason != NORMALIZER_ERROR


def test_the_ordering_key_is_found_in_a_form() -> None:
    for text in (f"payload={quote_plus(JSON)}", quote_plus(JSON), f"payload={JSON}", JSON):
        assert SOURCE.ordering_key(requested(text)) == "131693"
