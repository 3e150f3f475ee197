"""Digital Matter: whose record it is, by body, path, query and headers; where the secret stands."""

import base64
from typing import Any

import msgspec
import pytest

from registry.model import Device
from registry.view import RegistryView
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


SAYS_ANOTHER: list[dict[str, Any]] = [
    {"path_params": {"serial": "131694"}},
    {"query": {"serial": "131694"}},
    {"query": {"Serial": "131694"}},
    {"headers": {"x-serial": "131694"}},
    {"headers": {"serial": "131694"}},
    {"headers": {"x-imei": "356692063643329"}},
    {"query": {"imei": "356692063643329"}},
    {"path_params": {"serial": "356692063643329"}},
    {"path_params": {"serial": "131693"}, "headers": {"x-serial": "131694"}},
]
SAYS_THE_SAME: list[dict[str, Any]] = [
    {"path_params": {"serial": " 131693"}},
    {"path_params": {"serial": "00131693"}},
    {"path_params": {"serial": "8944538523010771676"}},
    {"path_params": {"serial": "PLANT-7"}, "headers": {"x-custom1": "PLANT-7"}},
    {"path_params": {"serial": ""}, "headers": {"x-serial": "", "x-imei": " "}, "query": {"iccid": ""}},
    {"headers": {"x-imei": "356692063643328"}, "query": {"serial": "131693", "iccid": "8944538523010771676"}},
]


@pytest.mark.parametrize("parts", SAYS_ANOTHER)
def test_whatever_names_another_device_is_stored_and_flagged(parts: dict[str, Any]) -> None:
    # DM-a18, DM-a06
    only = view(**parts)
    assert only["booleans"] == {"identity.mismatch": True}
    assert only["source_device"] == "131693"


@pytest.mark.parametrize("parts", SAYS_THE_SAME)
def test_whatever_names_the_same_device_is_not_flagged(parts: dict[str, Any]) -> None:
    # DM-a06, DM-a18, DM-a21
    only = view(**parts)
    assert only["booleans"] == {}


@pytest.mark.parametrize(
    ("parts", "identity"),
    [
        ({"path_params": {"serial": "131693"}}, ("serial", "131693")),
        ({"path_params": {"serial": "356692063643328"}}, ("imei", "356692063643328")),
        ({"query": {"imei": "356692063643328"}}, ("imei", "356692063643328")),
        ({"headers": {"x-serial": "131693"}}, ("serial", "131693")),
        ({"path_params": {"serial": "8944538523010771676"}}, ("iccid", "8944538523010771676")),
    ],
)
def test_a_device_can_be_named_by_the_url_or_a_header_alone(parts: dict[str, Any], identity: tuple[str, str]) -> None:
    # DM-a04, DM-a06
    (only,) = made({"Records": [record()]}, **parts)
    assert isinstance(only, Canonical)
    assert (only.identities[0].kind, only.identities[0].value) == identity
    assert only.record["source_device"] == identity[1]


def test_the_device_of_the_credential_wins_over_what_the_message_says() -> None:  # DM-a18
    view_of_registry = RegistryView()
    for name, serial in (("ours", "131700"), ("claimed", "131693")):
        device = Device(id=name, tenant_id="t", name=name, attributes={"serial": serial})
        view_of_registry.apply(f"device/{name}", msgspec.json.encode(device))
    (only,) = made(body(record()), device_id="ours", path_params={"serial": "131693"})
    assert isinstance(only, Canonical)
    found = view_of_registry.identify("t", "ours", only.identities, only.child)
    assert (found.device_id, found.mismatch) == ("ours", True)
    assert view_of_registry.identify("t", "", only.identities, only.child).device_id == "claimed"


def test_custom_fields_in_the_query_are_kept_and_secrets_are_not() -> None:  # DM-a06, DM-a08, DM-a21
    query = {"custom1": "PLANT-7", "CUSTOM2": "", "rego": "ABC 123", "token": "redacted", "Key": "redacted"}
    texts = view(query=query)["texts"]
    assert texts["digital_matter.custom1"] == "PLANT-7"
    assert texts["digital_matter.query.rego"] == "ABC 123"
    assert "redacted" not in texts.values()
    assert not [name for name in texts if "custom2" in name]


def test_a_missing_iccid_is_taken_from_the_request() -> None:  # DM-a06, DM-a21
    (only,) = made(body(record(), ICCID=""), headers={"x-iccid": "8944538523010771676"})
    assert isinstance(only, Canonical)
    assert only.record["texts"]["iccid"] == "8944538523010771676"


@pytest.mark.parametrize("odd", [["131693"], {"n": 1}, True, 1.5])
def test_an_id_of_a_wrong_type_is_kept_and_the_others_are_used(odd: Any) -> None:  # DM-a11, DM-a14
    (only,) = made(body(record(), SerNo=odd, FW=odd))
    assert isinstance(only, Canonical)
    assert only.record["source_device"] == "356692063643328"
    names = {name for kind in ("numbers", "booleans", "texts") for name in only.record[kind]}
    assert any(name.startswith("digital_matter.SerNo") for name in names)


def test_a_key_of_the_device_is_asked_before_the_credential_of_the_connector() -> None:  # DM-a08
    basic = "Basic " + base64.b64encode(b"oem:shared").decode()
    request = Request(headers={"authorization": basic, "x-device-key": "own"}, query={"token": "own too"})
    assert [secret for extract in SOURCE.credentials if (secret := extract(request))][:3] == [
        "own",
        "own too",
        "shared",
    ]


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
