"""Traccar forwarding by URL: placeholders filled into a query, by people who choose their own names."""

from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.view import telemetry_view
from sources.contract import Request
from sources.engine import Canonical, Defect, canonicalize
from sources.traccar import SOURCE

RECEIVED_US = 1_767_323_045_000_000
FORWARD = {
    "id": "van-9",
    "fixTime": "1767172478000",
    "lat": "47.37689",
    "lon": "8.54169",
    "speed": "27.0",
    "course": "301.5",
}


def request(query: dict[str, str], **parts: Any) -> Request:
    return Request(method="GET", query=query, received_us=RECEIVED_US, tenant_id="t", credential_id="c", **parts)


def view(query: dict[str, str]) -> dict[str, Any]:
    (only,) = canonicalize(SOURCE, request(query))
    assert isinstance(only, Canonical), only
    return telemetry_view(only.record)


def test_traccar_may_come_by_get() -> None:
    assert set(SOURCE.methods) == {"POST", "GET"}


def test_a_forwarded_url_is_a_position() -> None:
    only = view(FORWARD)
    assert (only["type"], only["source_device"]) == ("position", "van-9")
    assert (only["latitude"], only["longitude"], only["course_deg"]) == (47.37689, 8.54169, 301.5)
    assert only["speed_kmh"] == 50.004  # knots
    assert only["observed_at"] == only["fix_at"] == "2025-12-31T09:14:38.000000Z"


@pytest.mark.parametrize(
    "names",
    [
        {
            "uniqueId": "van-9",
            "timestamp": "1767172478",
            "latitude": "47.37689",
            "longitude": "8.54169",
            "bearing": "301.5",
        },
        {"deviceid": "van-9", "time": "2025-12-31T09:14:38Z", "location": "47.37689,8.54169", "heading": "301.5"},
        {"id": "van-9", "timestamp": "2025-12-31 09:14:38", "lat": "47.37689", "lng": "8.54169", "course": "301.5"},
    ],
)
def test_other_names_for_the_same(names: dict[str, str]) -> None:
    only = view(names)
    assert (only["source_device"], only["observed_at"]) == ("van-9", "2025-12-31T09:14:38.000000Z")
    assert (only["latitude"], only["longitude"], only["course_deg"]) == (47.37689, 8.54169, 301.5)


def test_the_devices_time_and_validity_have_their_own_names() -> None:
    only = view(FORWARD | {"deviceTime": "1767172480000", "valid": "false"})
    assert (only["observed_at"], only["fix_valid"]) == ("2025-12-31T09:14:40.000000Z", False)


def test_attributes_come_as_json_or_one_by_one() -> None:
    only = view(
        FORWARD | {"attributes": '{"ignition":true,"hours":3600000}', "batt": "81", "charge": "true", "io9": "4"}
    )
    assert only["booleans"] == {"engine.ignition.status": True, "battery.charging.status": True}
    assert only["numbers"] == {"engine.motorhours": 1, "battery.level": 81, "traccar.io9": 4}


def test_missing_values_are_left_out() -> None:
    only = view(FORWARD | {"batteryLevel": "null", "address": "{address}", "charge": ""})
    assert (only["numbers"], only["booleans"], only["texts"]) == ({}, {}, {})


def test_an_id_of_digits_stays_a_text_and_keeps_its_zeros() -> None:
    assert view(FORWARD | {"id": "0123", "driverUniqueId": "0007"})["source_device"] == "0123"
    assert view(FORWARD | {"driverUniqueId": "12"})["texts"]["driver.id"] == "12"


def test_the_servers_number_is_kept_beside_the_unique_id() -> None:
    assert view(FORWARD | {"deviceId": "9"})["numbers"] == {"traccar.device.id": 9}


def test_osmands_zero_zero_is_no_fix() -> None:
    assert view(FORWARD | {"lat": "0", "lon": "0.0"})["latitude"] is None


def test_the_token_is_a_secret_and_never_data() -> None:
    extracted = [extract(request({"token": "s3cret"})) for extract in SOURCE.credentials]
    assert [secret for secret in extracted if secret] == ["s3cret"]
    assert SOURCE.secret_query == ("token",)
    assert "s3cret" not in str(view(FORWARD | {"token": "s3cret"}))


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer k"}, {"x-api-key": "k"}, {"authorization": "Basic dXNlcjpr"}]
)
def test_the_credential_may_stand_in_a_header(headers: dict[str, str]) -> None:
    assert [secret for extract in SOURCE.credentials if (secret := extract(Request(headers=headers)))] == ["k"]


def test_a_get_without_a_query_holds_nothing() -> None:
    assert list(canonicalize(SOURCE, request({}))) == []


@pytest.mark.parametrize(("query", "reason"), [({"lat": "1", "lon": "2"}, "no_device"), ({"id": "a"}, "unknown_shape")])
def test_a_query_that_cannot_be_read_says_why(query: dict[str, str], reason: str) -> None:
    (defect,) = canonicalize(SOURCE, request(query))
    assert isinstance(defect, Defect)
    assert defect.reason == reason


def test_a_form_is_read_like_a_query() -> None:
    body = urlencode(FORWARD).encode()
    form = Request(body=body, content_type="application/x-www-form-urlencoded", received_us=RECEIVED_US, tenant_id="t")
    (only,) = canonicalize(SOURCE, form)
    assert isinstance(only, Canonical)
    assert only.record["latitude"] == 47.37689


def test_the_same_url_again_is_the_same_record() -> None:
    first, again, other = (
        [made.record["id"] for made in canonicalize(SOURCE, request(query)) if isinstance(made, Canonical)]
        for query in (FORWARD, dict(reversed(FORWARD.items())), FORWARD | {"speed": "28.0"})
    )
    assert first == again != other


def test_the_order_of_a_device_is_kept() -> None:
    assert SOURCE.ordering_key(request(FORWARD)) == "van-9"
    assert SOURCE.ordering_key(request({"lat": "1"})) == ""
