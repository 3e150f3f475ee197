"""What the engine does for every source, whatever the source hands over."""

from typing import Any

import msgspec
import pytest

from sources.catalog import load_source
from sources.contract import Reading, Request
from sources.engine import Canonical, canonicalize


def only(**reading: Any) -> Canonical:
    made = Reading(type="message", source_device="1", sent_us=1_767_322_800_000_000, **reading)
    source = msgspec.structs.replace(load_source("generic"), split=lambda _: [{}], read=lambda _item, _request: [made])
    request = Request(tenant_id="t", received_us=1_767_322_900_000_000)
    (found,) = canonicalize(source, request)
    assert isinstance(found, Canonical)
    return found


def test_content_with_keys_that_are_no_text_has_an_id_too() -> None:
    assert only(content={1: "a", "b": [{2: 3}]}).record["id"] == only(content={"b": [{"2": 3}], "1": "a"}).record["id"]
    assert only(content={1: "a"}).record["id"] != only(content={1: "b"}).record["id"]


@pytest.mark.parametrize("half", [{"latitude": 91.0}, {"longitude": 181.0}, {"latitude": 47.0}, {"longitude": 8.0}])
def test_half_a_position_is_kept_as_numbers(half: dict[str, float]) -> None:
    record = only(**half).record
    assert record["numbers"] == {f"generic.{name}": value for name, value in half.items()}
    assert record["latitude"] != record["latitude"]
    assert record["longitude"] != record["longitude"]


def test_the_version_tag_is_that_of_a_changed_declaration_too() -> None:
    changed = msgspec.structs.replace(load_source("generic"), version="99")
    assert changed.version_tag == "generic/99"
