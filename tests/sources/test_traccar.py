"""Traccar forwarding by URL: placeholders filled into a query, by people who choose their own names."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

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


TEMPLATE = (
    "name={name}&uniqueId={uniqueId}&status={status}&deviceId={deviceId}&protocol={protocol}&deviceTime={deviceTime}"
    "&fixTime={fixTime}&valid={valid}&latitude={latitude}&longitude={longitude}&altitude={altitude}&speed={speed}"
    "&course={course}&accuracy={accuracy}&statusCode={statusCode}&address={address}&attributes={attributes}&gprmc={gprmc}"
)
"""Every placeholder of Traccar's `PositionForwarderUrl`, each under its own name."""
FILLED = {
    "name": "Van+%C3%9C9",
    "uniqueId": "865209031234567",
    "status": "online",
    "deviceId": "9",
    "protocol": "teltonika",
    "deviceTime": "1767172480000",
    "fixTime": "1767172478000",
    "valid": "true",
    "latitude": "-47.37689",
    "longitude": "8.54169",
    "altitude": "408.0",
    "speed": "27.0",
    "course": "301.5",
    "accuracy": "0.0",
    "statusCode": "0xF11C",
    "address": "Quai+1%2C+Z%C3%BCrich",
    "attributes": "%7B%22ignition%22%3Atrue%2C%22sat%22%3A9%2C%22hours%22%3A3600000%7D",
    "gprmc": "$GPRMC,091438.000,A,4722.6134,S,00832.5014,E,27.00,301.50,311225,,*1F",
}


def filled(**other: str) -> dict[str, str]:
    """What the door makes of the URL Traccar calls."""
    return dict(parse_qsl(TEMPLATE.format(**FILLED | other), keep_blank_values=True))


def test_every_placeholder_is_understood() -> None:
    only = view(filled())
    assert (only["source_device"], only["time_source"]) == ("865209031234567", "device")
    assert (only["observed_at"], only["fix_at"]) == ("2025-12-31T09:14:40.000000Z", "2025-12-31T09:14:38.000000Z")
    assert (only["latitude"], only["longitude"], only["altitude_m"]) == (-47.37689, 8.54169, 408)
    assert (only["speed_kmh"], only["course_deg"], only["accuracy_m"]) == (50.004, 301.5, 0)
    assert (only["fix_valid"], only["satellites"]) == (True, 9)
    assert only["numbers"] == {"engine.motorhours": 1, "traccar.device.id": 9}
    assert only["booleans"] == {"engine.ignition.status": True}
    assert only["texts"] == {
        "device.name": "Van Ü9",
        "traccar.device.status": "online",
        "traccar.protocol": "teltonika",
        "traccar.statusCode": "0xF11C",
        "traccar.address": "Quai 1, Zürich",
    }


def test_a_retry_with_what_is_known_of_the_device_by_then_is_the_same_record() -> None:
    (first,), (again,) = (
        canonicalize(SOURCE, request(query)) for query in (filled(), filled(status="offline", name="x"))
    )
    assert isinstance(first, Canonical)
    assert isinstance(again, Canonical)
    assert first.record["id"] == again.record["id"]


def test_the_status_code_of_an_alarm_is_an_alarm() -> None:
    assert view(filled(statusCode="0xF841"))["booleans"]["alarm.event"] is True
    assert view(FORWARD | {"code": "0xF841"})["booleans"]["alarm.event"] is True


def test_a_sentence_alone_is_a_position() -> None:
    only = view({"dev": "van-9", "acct": "fleet", "gprmc": FILLED["gprmc"]})
    assert (only["source_device"], only["observed_at"]) == ("van-9", "2025-12-31T09:14:38.000000Z")
    assert (only["latitude"], only["longitude"]) == (-47.3768900, 8.5416900)
    assert (only["speed_kmh"], only["course_deg"], only["fix_valid"]) == (50.004, 301.5, None)
    assert only["texts"] == {"traccar.acct": "fleet"}


@pytest.mark.parametrize(
    "sentence",
    [
        "$GPGGA,1", "$GPRMC", "$GPRMC,,,,,,,,,,,*00", "$GPRMC,091438,A,x,N,y,E,1,2,311225", "nonsense",
        "$GPRMC,0914,A,4722.6134,N,00832.5014,E,27,301,311225,,*00",
    ],
)  # fmt: skip
def test_a_sentence_that_is_none_is_kept_as_it_is(sentence: str) -> None:
    assert view(FORWARD | {"gprmc": sentence})["texts"]["traccar.gprmc"] == sentence


def test_a_sentence_says_when_there_is_no_fix() -> None:
    assert view({"id": "1", "gprmc": FILLED["gprmc"].replace(",A,", ",V,")})["fix_valid"] is False


@pytest.mark.parametrize(
    ("names", "device"),
    [
        ({"uniqueId": "a", "id": "5"}, "a"),
        ({"id": "a", "imei": "8"}, "a"),
        ({"deviceId": "865209031234567"}, "865209031234567"),
        ({"deviceId": "van"}, "van"),
        ({"deviceId": "12"}, "deviceId:12"),
    ],
)
def test_which_name_is_the_device(names: dict[str, str], device: str) -> None:
    rest = {name: value for name, value in FORWARD.items() if name != "id"}
    assert view(rest | names)["source_device"] == device


def test_the_same_url_again_is_the_same_record() -> None:
    first, again, other = (
        [made.record["id"] for made in canonicalize(SOURCE, request(query)) if isinstance(made, Canonical)]
        for query in (FORWARD, dict(reversed(FORWARD.items())), FORWARD | {"speed": "28.0"})
    )
    assert first == again != other


def test_the_order_of_a_device_is_kept() -> None:
    assert SOURCE.ordering_key(request(FORWARD)) == "van-9"
    assert SOURCE.ordering_key(request({"lat": "1"})) == ""
