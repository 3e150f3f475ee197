"""The generic webhook: whose reading it is, and that a token is never kept."""

import hashlib
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.errors import Refused
from sources.sealed_token import seal_json as seal

SOURCE = load_source("generic")
NOW = 1_767_322_900_000_000


def one(body: Any, **more: Any) -> Canonical | Defect:
    (made,) = canonicalize(SOURCE, Request(body=orjson.dumps(body), received_us=NOW, tenant_id="t", **more))
    return made


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@given(st.text(min_size=1))
def test_a_token_in_the_body_is_replaced_by_its_digest_before_it_is_stored(token: str) -> None:
    sealed = orjson.loads(seal(orjson.dumps({"deviceToken": token, "temperature": 1})))
    expected = token if token.startswith("sha256:") else f"sha256:{digest(token)}"
    assert sealed == {"deviceToken": expected, "temperature": 1}


def test_a_sealed_body_reads_the_same_as_the_one_that_was_sent() -> None:  # AC-a25
    body = orjson.dumps({"deviceToken": "s3cret", "temperature": 22.5})
    sent, stored = (next(canonicalize(SOURCE, Request(body=each, received_us=NOW))) for each in (body, seal(body)))
    assert isinstance(sent, Canonical)
    assert isinstance(stored, Canonical)
    assert sent.record == stored.record
    assert sent.identities == stored.identities
    assert sent.identities[0].value == digest("s3cret")
    assert b"s3cret" not in msgspec.json.encode([stored.record["texts"], stored.record["source_device"]])


def record(body: Any, **more: Any) -> Canonical:
    made = one(body, **more)
    assert isinstance(made, Canonical), made
    return made


def test_the_flat_form_names_its_device_by_token() -> None:  # AC-a25
    made = record({"deviceToken": "s3cret", "temperature": 22.5, "humidity": 60})
    assert [(each.kind, each.value) for each in made.identities] == [("token_digest", digest("s3cret"))]
    assert made.record["numbers"] == {"temperature": 22.5, "humidity": 60}
    assert (made.record["texts"], made.record["time_source"]) == ({}, "received")


def test_the_nested_form_names_its_device_by_external_id() -> None:  # AC-a26, AC-a29
    made = record({"externalDeviceId": "device-uuid", "telemetry": {"temperature": 22.5, "ts": 5, "tenantId": 6}})
    assert [(each.kind, each.value) for each in made.identities] == [("external_id", "device-uuid")]
    assert made.record["numbers"] == {"temperature": 22.5, "generic.ts": 5, "generic.tenantId": 6}
    assert made.record["source_device"] == "device-uuid"


def test_of_a_token_and_an_external_id_the_token_is_looked_up_first() -> None:  # AC-c06
    made = record({"externalDeviceId": "1", "deviceToken": "s3cret", "n": 1})
    assert [each.kind for each in made.identities] == ["token_digest", "external_id"]


def test_ids_may_be_numbers_and_null_is_none() -> None:
    assert record({"externalDeviceId": 4711, "n": 1}).identities[0].value == "4711"
    assert record({"externalDeviceId": "1", "deviceToken": None, "n": 1}).identities[0].kind == "external_id"
    number = {"deviceToken": 4711, "n": 1}
    assert record(number).identities[0].value == digest("4711")
    (sealed,) = canonicalize(SOURCE, Request(body=seal(orjson.dumps(number)), received_us=NOW, tenant_id="t"))
    assert isinstance(sealed, Canonical)
    assert sealed.record == record(number).record


@pytest.mark.parametrize("owner", [{"deviceToken": "gateways-token"}, {"externalDeviceId": "gateways-id"}])
def test_a_child_may_be_relayed_by_the_gateways_token_or_id(owner: Any) -> None:  # AC-a28
    for telemetry in ({"temperature": 1}, {"telemetry": {"temperature": 1}}):
        made = record({**owner, "childDeviceId": "c1", **telemetry})
        assert made.child == "c1"
        assert [each.kind for each in made.identities] in (["token_digest"], ["external_id"])
        assert made.record["numbers"] == {"temperature": 1}


def test_every_item_of_an_array_stands_for_itself() -> None:
    body = orjson.dumps([{"externalDeviceId": "1", "n": 1}, {"n": 1}, 7, {"externalDeviceId": "2", "n": 2, "ts": "x"}])
    request = Request(body=body, received_us=NOW, tenant_id="t")
    SOURCE.check(request)
    made = [each.reason if isinstance(each, Defect) else "" for each in canonicalize(SOURCE, request)]
    assert made == ["", "no_device", "not_an_object", "bad_time"]


@pytest.mark.parametrize(
    ("body", "query", "refused"),
    [
        (b'{"externalDeviceId": "1", "n": 1, "tenantId": "a"}', {"tenantId": "a"}, False),
        (b'{"externalDeviceId": "1", "n": 1, "tenantId": "b"}', {"tenantId": "a"}, True),
        (b'{"externalDeviceId": "1", "n": 1, "tenant\\u0049d": "b"}', {"tenantId": "a"}, True),
        (b'[{"n": 1}, {"n": 1, "tenantId": "b"}]', {"tenantId": "a"}, True),
        (b'{"externalDeviceId": "1", "n": 1, "tenantId": "a"}', {}, False),
        (b'{"externalDeviceId": "1", "n": 1, "tenantId": "b"}', {}, True),
        (b'{"externalDeviceId": "1", "n": 1, "tenantId": null}', {"tenantId": "a"}, False),
        (b'{"externalDeviceId": "1", "telemetry": {"tenantId": "b"}}', {"tenantId": "a"}, False),
        (b'{"tenantId": ', {"tenantId": "a"}, False),  # quarantined instead
        (b'7 "tenantId"', {"tenantId": "a"}, False),
    ],
)
def test_a_body_may_not_name_another_tenant(body: bytes, query: dict[str, str], refused: bool) -> None:  # AC-c05
    request = Request(body=body, query=query, tenant_id="a")
    if not refused:
        SOURCE.check(request)
        return
    with pytest.raises(Refused) as found:
        SOURCE.check(request)
    assert found.value.status == 400


def test_the_ordering_key_is_the_device_and_never_its_token() -> None:
    for body in ({"deviceToken": "s3cret", "n": 1}, {"deviceToken": 4711}):
        key = SOURCE.ordering_key(Request(body=seal(orjson.dumps(body))))
        assert key == digest(str(body["deviceToken"]))[:16]
    assert SOURCE.ordering_key(Request(body=b'{"deviceToken": "x", "externalDeviceId": "silo-3"}')) == "silo-3"
    assert SOURCE.ordering_key(Request(body=b"7")) == ""


def test_reserved_keys_are_never_telemetry() -> None:  # AC-a27
    body = {
        "externalDeviceId": "1",
        "tenantId": "t",
        "childDeviceId": "c",
        "ts": 1767322800,
        "timestamp": 5,
        "humidity": 60,
    }
    made = one(body)
    assert isinstance(made, Canonical)
    assert made.record["numbers"] == {"humidity": 60}
    assert (made.child, made.record["observed_us"]) == ("c", 1_767_322_800_000_000)


def test_the_nested_and_the_flat_form_are_the_same_reading() -> None:  # AC-a25, AC-a26
    flat = one({"externalDeviceId": "1", "temperature": 22.5, "ts": 1767322800000})
    nested = one({"externalDeviceId": "1", "telemetry": {"temperature": 22.5}, "ts": 1767322800000})
    assert isinstance(flat, Canonical)
    assert isinstance(nested, Canonical)
    assert flat.record == nested.record


def test_who_names_no_device_or_tells_nothing_is_quarantined() -> None:
    for body, reason in (
        ({"temperature": 1}, "no_device"),
        ({"externalDeviceId": "1"}, "no_telemetry"),
        ({"externalDeviceId": "1", "temperature": 1, "ts": "soon"}, "bad_time"),
        ({"externalDeviceId": {"a": 1}, "temperature": 1}, "bad_device"),
    ):
        made = one(body)
        assert isinstance(made, Defect)
        assert made.reason == reason
