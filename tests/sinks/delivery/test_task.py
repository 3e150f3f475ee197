"""A task and what is sent of it."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import new_id
from sinks.delivery.endpoint import log_url
from sinks.delivery.task import read_task, write


def test_a_task_survives_its_topic_with_what_it_remembers(task_for: Any) -> None:
    first = read_task(orjson.dumps(task_for("d", attempt=3, charged=2, parked=1, not_before_us=17)))
    assert read_task(write(first)) == first


def test_the_body_is_the_same_on_every_attempt(task_for: Any) -> None:
    task = read_task(orjson.dumps(task_for("d")))
    again = read_task(write(task))
    again.attempt += 1
    assert again.body() == task.body()


def test_an_event_without_a_place_has_no_position(task_for: Any) -> None:
    raw = task_for("d")
    raw["event"]["latitude"] = None
    assert orjson.loads(read_task(orjson.dumps(raw)).body())["position"] is None


@given(st.integers(0, 2**52))
def test_the_transaction_id_is_a_uuid7_of_the_task_alone(created_us: int) -> None:
    raw = {"id": new_id(), "destination_id": "d", "tenant_id": "t", "event": {}, "created_us": created_us}
    task = read_task(orjson.dumps(raw))
    number = UUID(task.txn_id())
    assert number.version == 7
    assert number.int >> 80 == (created_us // 1000) & 0xFFFF_FFFF_FFFF
    assert read_task(orjson.dumps({**raw, "attempt": 4})).txn_id() == task.txn_id()
    assert read_task(orjson.dumps({**raw, "id": new_id()})).txn_id() != task.txn_id()


@given(st.binary(max_size=80))
def test_any_bytes_are_a_task_or_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any of them
        read_task(value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@example.com/hook?token=s#f", "https://example.com/hook"),
        ("http://example.com:8080/a%20b", "http://example.com:8080/a%20b"),
        ("http://[::1", ""),
        ("//example.com:99999/x", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert log_url(url) == shown
