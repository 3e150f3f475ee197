"""Digital Matter: whose record it is, by body, path, query and headers; where the secret stands."""

import base64
from typing import Any

import pytest

from sources.contract import Request
from sources.digital_matter import SOURCE
from sources.engine import Canonical
from tests.sources.digital_matter_bodies import EDGE, body, made, record, view


def test_the_serial_in_the_path_agrees_or_is_flagged() -> None:  # DM-a04, DM-a18
    assert "identity.mismatch" not in view(path_params={"serial": "131693"})["booleans"]
    assert "identity.mismatch" not in view(path_params={"serial": ""})["booleans"]  # DM-a21
    assert "identity.mismatch" not in view(path_params={"serial": "356692063643328"})["booleans"]
    assert view(path_params={"serial": "131694"})["booleans"]["identity.mismatch"] is True
    assert view(headers={"x-serial": "131694"})["booleans"]["identity.mismatch"] is True


def test_on_a_mismatch_the_body_is_asked_last() -> None:  # DM-a18
    (only,) = made(body(record()), path_params={"serial": "131694"})
    assert isinstance(only, Canonical)
    serials = [each.value for each in only.identities if each.kind == "serial"]
    assert serials == ["131694", "131693"]


def test_a_device_is_found_by_serial_imei_or_eui() -> None:
    (only,) = made(body(record()))
    assert isinstance(only, Canonical)
    assert [(each.kind, each.value) for each in only.identities[:2]] == [
        ("serial", "131693"),
        ("imei", "356692063643328"),
    ]
    (lora,) = made({**EDGE, "device": {"sn": "0016C001F000ABEC"}})
    assert isinstance(lora, Canonical)
    assert ("dev_eui", "0016c001f000abec") in [(each.kind, each.value) for each in lora.identities]


def test_dynamic_fields_in_headers_are_kept_and_empty_ones_tolerated() -> None:  # DM-a05, DM-a06, DM-a21
    only = view(headers={"x-custom1": "PLANT-7", "x-custom2": "", "x-iccid": ""})
    assert only["texts"]["digital_matter.custom1"] == "PLANT-7"
    assert "digital_matter.custom2" not in only["texts"]
    assert only["texts"]["iccid"] == "8944538523010771676"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic " + base64.b64encode(b"oem:s3cret").decode()},
        {"authorization": "Bearer s3cret"},
        {"authorization": "s3cret"},
        {"x-api-key": "s3cret"},
        {"x-device-key": "s3cret"},
    ],
)
def test_the_credential_may_stand_in_any_of_the_places_a_connector_can_fill(headers: dict[str, str]) -> None:
    found = [extract(Request(headers=headers)) for extract in SOURCE.credentials]
    assert next(secret for secret in found if secret) == "s3cret"


@pytest.mark.parametrize("name", SOURCE.secret_query)
def test_a_key_in_the_query_is_a_secret(name: str) -> None:
    (found,) = {secret for extract in SOURCE.credentials if (secret := extract(Request(query={name: "k"})))}
    assert found == "k"


def test_a_key_in_the_path_is_a_secret() -> None:
    (found,) = {secret for extract in SOURCE.credentials if (secret := extract(Request(path_params={"key": "k"})))}
    assert found == "k"
    assert SOURCE.secret_path_parts == ("key",)


@pytest.mark.parametrize(
    ("content", "path", "key"),
    [
        (b'{"SerNo":131693,"Records":[]}', "", "131693"),
        (b'{ "Records":[] ,"SerNo" : 131693 }', "", "131693"),
        (b'{"device":{"sn":"0016C001F000ABEC"}}', "", "0016C001F000ABEC"),
        (b'{"SerNo":null}', "77", "77"),
        (b"\xff\x00 not json", "77", "77"),
        (b'{"SerNo"', "", ""),
        (b"", "", ""),
    ],
)
def test_the_key_is_found_without_parsing(content: bytes, path: str, key: str) -> None:
    assert SOURCE.ordering_key(Request(body=content, path_params={"serial": path})) == key
