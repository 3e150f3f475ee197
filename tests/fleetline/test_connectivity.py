"""Addresses, the catalogue, webhook URLs, record types and quoting: what follows from the settings and the declarations."""

import subprocess
from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies
from pydantic import SecretStr, ValidationError

from fleetline.connectivity.addresses import addresses
from fleetline.connectivity.catalog import catalog
from fleetline.connectivity.examples import connection, make_secret
from fleetline.connectivity.recipient import Recipient
from fleetline.connectivity.record_types import PAGE, as_json, page, record_types
from fleetline.connectivity.shell import SECRET, VARIABLE, word
from fleetline.connectivity.webhooks import places, webhook_urls
from fleetline.settings import Settings
from sources.autopi.kinds import FIELDS, NESTED
from sources.catalog import load_source, load_sources, source_names
from sources.routes import routes

PUBLIC = "https://fleet.example.com/iot"
DEVICE = Recipient("t-1", "d-1", {"id": "d-1", "external_id": "d-1", "dev_eui": "70b3d57ed0001234"})
ELSEWHERE = {
    "public_api_base_url": PUBLIC,
    "public_mqtt_url": "mqtts://mqtt.example.com",
    "public_websocket_url": "wss://ws.example.com",
}


def urls_in(value: Any) -> list[str]:
    """Return every URL of ours in a JSON-able value; the vendors' pages are not ours."""
    if isinstance(value, dict):
        return [url for key, each in value.items() if key not in {"docs", "examples"} for url in urls_in(each)]
    if isinstance(value, list):
        return [url for each in value for url in urls_in(each)]
    return [value] if isinstance(value, str) and "://" in value else []


@pytest.mark.parametrize(
    ("given", "http", "mqtt", "websocket"),
    [
        ({}, "http://127.0.0.1:8080", "mqtt://127.0.0.1:1883", "ws://127.0.0.1:8082"),
        ({"host": "0.0.0.0"}, "http://localhost:8080", "mqtt://localhost:1883", "ws://localhost:8082"),
        ({"host": "::1"}, "http://[::1]:8080", "mqtt://[::1]:1883", "ws://[::1]:8082"),
        ({"tls_certificate": "c.pem", "ingress_port": 8443}, "https://127.0.0.1:8443", "mqtts://127.0.0.1:1883", "wss://127.0.0.1:8082"),
        ({"public_api_base_url": f"{PUBLIC}/", "websocket_port": 9000}, PUBLIC, "mqtt://fleet.example.com:1883", "ws://fleet.example.com:9000"),
        (ELSEWHERE, PUBLIC, "mqtts://mqtt.example.com", "wss://ws.example.com"),
    ],
)  # fmt: skip
def test_every_door_is_where_the_settings_say(given: dict[str, Any], http: str, mqtt: str, websocket: str) -> None:
    # AC-b02, AC-b14
    doors = addresses(Settings(**given))
    assert (doors.http.url, doors.mqtt.url, doors.websocket.url) == (http, mqtt, websocket)
    for door in (doors.http, doors.mqtt, doors.websocket):
        assert door.tls == (door.url.split(":")[0] in {"https", "mqtts", "wss"})
        assert door.port > 0
        assert door.host in door.url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_api_base_url", "fleet.example.com"),
        ("public_api_base_url", "https://fleet.example.com/?a=b"),
        ("public_api_base_url", "ftp://fleet.example.com"),
        ("public_mqtt_url", "mqtt.example.com:1883"),
        ("public_mqtt_url", "mqtt://mqtt.example.com/path"),
        ("public_websocket_url", "https://ws.example.com"),
    ],
)
def test_an_address_that_is_none_is_said_at_the_start(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


@pytest.mark.parametrize("given", [{}, {"public_api_base_url": PUBLIC}])
def test_every_url_begins_with_the_public_address(given: dict[str, Any]) -> None:
    # AC-b02
    doors = addresses(Settings(**given))
    found = urls_in(catalog(Settings(**given), load_sources()))
    found += [each["url"] for each in webhook_urls(Settings(**given), "t-1")]
    for name in source_names():
        made = connection(Settings(**given), load_source(name), DEVICE)
        found += [field.value for field in made.setup if "://" in field.value]
        found += [each.command.split("http", 1)[1] for each in made.examples if each.transport == "http"]
    for url in found:
        assert url.startswith((doors.http.url, doors.mqtt.url, doors.websocket.url)) or f"http{url}".startswith(
            doors.http.url
        )
    assert len(found) > 50


def test_the_catalogue_holds_every_source_with_everything_it_declares() -> None:
    # AC-b01
    made = catalog(Settings(path_map={"/": "autopi"}, https_only=frozenset({"flespi"})), load_sources())
    assert orjson.loads(orjson.dumps(made)) == made
    assert [each["name"] for each in made["sources"]] == list(load_sources())
    for each in made["sources"]:
        source = load_sources()[each["name"]]
        mapped = ["/"] if source.name == "autopi" else []
        assert [endpoint["path"] for endpoint in each["http"]["endpoints"]] == [*routes(source), *mapped]
        assert tuple(each["http"]["methods"]) == source.methods
        assert each["http"]["https_only"] == (source.name == "flespi")
        assert tuple(topic["topic"] for topic in (each["mqtt"] or {"topics": ()})["topics"]) == source.mqtt_topics
        assert bool(each["websocket"]) == source.websocket
        assert each["examples"]
        assert each["record_types"]
        assert each["opened_by"]["places"]
        assert each["docs"] == list(source.links)
        assert source.on_failure.consequence in each["without_acknowledgement"]
    device = next(each for each in made["sources"] if each["name"] == "device")
    assert device["limits"] == {"body_bytes": Settings().max_body_bytes, "batch_items": 100}
    assert device["opened_by"]["kind"] == "device token"
    assert {"application/json", "application/cbor"} <= set(device["http"]["content_types"])
    assert device["http"]["endpoints"][0]["parts"] == {"deviceToken": "the device's token"}
    chirpstack = next(each for each in made["sources"] if each["name"] == "chirpstack")
    assert chirpstack["opened_by"]["kind"] == "tenant secret"
    assert chirpstack["http"]["endpoints"][0]["url"].endswith("/telemetry?tenantId={tenant}")


def test_the_catalogue_holds_the_transports_and_where_they_are() -> None:
    # AC-b01, AC-b11, AC-b14
    made = catalog(Settings(websocket_port=9123, mqtt_port=1900), load_sources())["transports"]
    assert set(made) == {"http", "mqtt", "websocket"}
    assert made["websocket"]["port"] == 9123
    assert made["websocket"]["port"] != made["http"]["port"]
    assert made["mqtt"]["port"] == 1900
    assert made["mqtt"]["sources"] == made["websocket"]["sources"] == ["device"]
    assert orjson.loads(made["websocket"]["frames"]["auth"]) == {"type": "auth", "deviceToken": "{secret}"}


def test_the_catalogue_holds_no_secret() -> None:
    # AC-b01
    names = ("integration_webhook_secret", "secret_key", "kafka_sasl_password")
    login = {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_sasl_username": "u",
    }
    settings = Settings.model_validate({**login, **{name: SecretStr("hidden") for name in names}})
    made = catalog(settings, load_sources())
    assert b"hidden" not in orjson.dumps(made)
    assert SECRET.encode() not in orjson.dumps(made)
    assert b"\\u0000" not in orjson.dumps(made)


def test_a_tenants_webhook_urls_name_it_and_the_header_to_set() -> None:
    # AC-b07, AC-b03
    made = webhook_urls(Settings(public_api_base_url=PUBLIC), "t&1 x")
    assert {each["source"] for each in made} == {name for name, each in load_sources().items() if each.tenant_secret}
    for each in made:
        assert each["url"].startswith(f"{PUBLIC}/")
        assert each["url"].endswith("?tenantId=t%261%20x")
        assert each["header"] == "X-Webhook-Secret: {secret}"
    assert f"{PUBLIC}/api/v1/integrations/ttn/telemetry?tenantId=t%261%20x" in [each["url"] for each in made]


def test_autopis_fields_hold_the_url_and_the_token() -> None:
    # AP-b01, AP-b02
    made = connection(Settings(public_api_base_url=PUBLIC), load_source("autopi"), DEVICE, "s3cret")
    assert [(field.where, field.value) for field in made.setup] == [
        ("Advanced → Settings → Cloud API → Url", f"{PUBLIC}/in/autopi"),
        ("Advanced → Settings → Cloud API → Auth Token", "s3cret"),
    ]
    assert "shown this once" in made.message


@pytest.mark.parametrize("source", source_names())
def test_without_the_secret_the_examples_hold_a_variable_and_say_how_to_get_one(source: str) -> None:
    # AC-b03
    declared = load_source(source)
    for has_secret, said in ((True, "cannot be shown again"), (False, "There is no")):
        made = connection(Settings(), declared, DEVICE, has_secret=has_secret)
        assert said in made.message
        assert made.make_secret in made.message
        assert made.make_secret.startswith("fleetline ")
        assert made.examples
        for each in made.examples:
            assert f"${VARIABLE}" in each.command
            assert SECRET not in each.command
    known = connection(Settings(), declared, DEVICE, "s3cret")
    assert all("s3cret" in each.command and VARIABLE not in each.command for each in known.examples)
    assert "s3cret" not in repr((known, known.examples, known.setup))


def test_an_example_that_will_wait_for_its_device_says_so() -> None:
    nobody = Recipient("t-1", "d-1", {"id": "d-1", "external_id": "d-1"})
    (example,) = connection(Settings(), load_source("chirpstack"), nobody).examples
    assert "dev eui" in example.note
    (example,) = connection(Settings(), load_source("chirpstack"), DEVICE).examples
    assert not example.note
    assert "70b3d57ed0001234" in example.command


def test_a_gateway_without_children_is_told_to_make_one() -> None:
    gateway = Recipient("t-1", "g-1", {"id": "g-1", "external_id": "g-1"}, gateway=True)
    found = [each for each in connection(Settings(), load_source("device"), gateway).examples if "behind" in each.title]
    assert found
    assert all("--parent g-1" in each.note and "CHILD" in each.command for each in found)


def test_webhooks_are_opened_by_the_tenants_secret() -> None:
    assert make_secret(load_source("ttn"), DEVICE) == "fleetline tenant secret t-1"
    assert make_secret(load_source("device"), DEVICE) == "fleetline device connect d-1 --rotate"
    assert (
        make_secret(load_source("flespi"), Recipient("t'1"))
        == """fleetline credential create --source flespi --tenant 't'"'"'1'"""
    )


@pytest.mark.parametrize("source", source_names())
def test_every_source_says_where_its_secret_stands(source: str) -> None:
    # AC-b01
    declared = load_source(source)
    assert len(places(declared)) >= len(declared.credentials) - 1
    assert all(vars(extract).get("places") for extract in declared.credentials)


def test_every_documented_autopi_type_has_an_example() -> None:
    # AP-b03
    found = {each.name: each for each in record_types(load_source("autopi"))}
    assert set(FIELDS) | set(NESTED) | {"track.pos", "event.system.minion", "event.system.power"} <= set(found)
    for name, each in found.items():
        assert each.example["@t"] == name
        assert each.example["@ts"]
    assert found["track.pos"].example["loc"]
    assert "engine.rpm" in found["obd.rpm"].becomes
    assert found["event.system.power"].event == "system/power/on"


def test_the_page_of_record_types_is_the_one_that_would_be_written_now() -> None:
    # AP-b03
    assert PAGE.read_text("utf-8") == page(), "run `make docs` and commit docs/record-types.md"
    for name in source_names():
        assert load_source(name).title in page()
        assert as_json(load_source(name))


TEXTS = strategies.text(strategies.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@settings(max_examples=60, deadline=None)
@given(strategies.lists(TEXTS, min_size=1, max_size=3))
def test_a_word_is_what_it_was_whatever_stands_in_it(parts: list[str]) -> None:
    text, token = SECRET.join(parts), "to'k$e\"n"
    for secret in (None, token):
        script = f"printf '%s' {word(text, secret)}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={VARIABLE: token})
        assert done.stdout.decode() == text.replace(SECRET, token)
