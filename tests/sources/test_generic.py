"""The generic webhook: whose reading it is, and that a token is never kept."""

import hashlib
from typing import Any

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from sources.catalog import load_source
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
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
