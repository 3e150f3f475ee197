"""`fleetline device connect` and `fleetline catalog`, on a real broker: tokens are made, shown once, and named when missing."""

import os
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from fleetline.cli import main
from fleetline.settings import Settings
from registry.store import RegistryStore
from schemas.ids import new_id
from sources.catalog import load_sources

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def settings(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of our own whose stack is said to run, with its doors on odd ports."""
    data, prefix = tmp_path / "data", f"{new_id()}."
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "PUBLIC_API_BASE_URL", "FLEETLINE_WEBSOCKET_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLEETLINE_DATA", str(data))
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", prefix)
    (data / "run").mkdir(parents=True)
    said = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "ingress_url": "http://127.0.0.1:4711",
        "mqtt_url": "mqtts://127.0.0.1:4712",
        "websocket_url": "ws://127.0.0.1:4713",
        "pid": os.getpid(),
    }
    (data / "run" / "stack.json").write_bytes(orjson.dumps(said))
    return stack.model_copy(update={"data_dir": data, "topic_prefix": prefix})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def said(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


@pytest.fixture
def device() -> dict[str, Any]:
    said("tenant", "create", "Acme")
    made: dict[str, Any] = said("device", "create", "Van", "--dev-eui", "70b3d57ed0001234")
    return made


def test_a_new_device_is_told_the_command_that_connects_it(settings: Settings) -> None:
    # AC-b03
    said("tenant", "create", "Acme")
    created = CliRunner().invoke(main, ["device", "create", "Van"])
    command = created.stderr.removeprefix("next: ").strip()
    assert command.startswith("fleetline device connect ")
    assert run(*shlex.split(command)[1:]).exit_code == 0


def test_a_device_without_a_token_is_told_how_to_make_one(device: dict[str, Any]) -> None:
    # AC-b03, AP-b01
    before = said("device", "connect", "Van")
    assert before["secret"] is None
    assert before["message"].startswith("There is no device token yet.")
    command = shlex.split(before["make_secret"])
    assert command[0] == "fleetline"
    made = said(*command[1:])
    assert len(made["secret"]) == 43
    assert made["device"]["id"] == device["id"]
    after = said("device", "connect", "Van")
    assert after["secret"] is None
    assert "cannot be shown again" in after["message"]
    assert made["secret"] not in orjson.dumps(after).decode()


def test_rotation_makes_a_new_token_of_the_same_credential(settings: Settings, device: dict[str, Any]) -> None:
    # AP-b01
    first, second = (said("device", "connect", "Van", "--source", "autopi", "--rotate")["secret"] for _ in range(2))
    assert first != second
    (credential,) = said("credential", "list")
    assert (credential["source"], credential["device_id"]) == ("autopi", device["id"])
    with RegistryStore(settings) as store:
        found = store.view.credential(credential["id"])
        assert found is not None
        assert store.view.credential_for("autopi", False, second) == found
        assert found.former_until_us > found.created_us


def test_what_is_printed_for_people_holds_every_command(device: dict[str, Any]) -> None:
    # AC-b03, AC-b07, AC-b14
    printed = run("device", "connect", device["id"], "--rotate", "--ca", "my ca.pem").stdout
    for each in ("http://127.0.0.1:4711/api/v1/", "-h 127.0.0.1 -p 4712 --cafile 'my ca.pem'", "ws://127.0.0.1:4713/"):
        assert each in printed
    assert "X-Webhook-Secret: <secret>" in printed
    assert f"/api/v1/integrations/ttn/telemetry?tenantId={device['tenant_id']}" in printed
    assert "device token: " in printed


def test_a_device_is_found_whoevers_it_is_unless_its_name_is_anothers_too(device: dict[str, Any]) -> None:
    said("tenant", "create", "Beta")
    assert said("device", "connect", "Van")["device"]["id"] == device["id"]
    said("device", "create", "Van", "--tenant", "Beta")
    assert said("device", "connect", device["id"])["device"]["id"] == device["id"]
    assert "--tenant" in run("device", "connect", "Van").output
    assert said("device", "connect", "Van", "--tenant", "Acme")["device"]["id"] == device["id"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nobody",), "no device 'nobody'"),
        (("Van", "--source", "nope"), "no source 'nope'"),
        (("Van", "--source", "ttn", "--rotate"), "fleetline tenant secret"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    device: dict[str, Any], arguments: tuple[str, ...], complaint: str
) -> None:
    result = run("device", "connect", *arguments)
    assert result.exit_code in (1, 2)
    assert complaint in result.output
    assert "Traceback" not in result.output


def test_a_webhook_is_connected_once_its_tenant_has_a_secret(device: dict[str, Any]) -> None:
    # AC-b07
    assert said("device", "connect", "Van", "--source", "ttn")["message"].startswith("There is no tenant secret yet.")
    said("tenant", "secret", "Acme")
    assert "cannot be shown again" in said("device", "connect", "Van", "--source", "ttn")["message"]


def test_the_catalogue_is_printed_without_a_stack(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # AC-b01, AC-b02
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PUBLIC_API_BASE_URL", "https://fleet.example.com")
    assert [each["name"] for each in said("catalog")["sources"]] == list(load_sources())
    (only,) = said("catalog", "flespi")["sources"]
    assert only["http"]["endpoints"][0]["url"] == "https://fleet.example.com/in/flespi"
    printed = run("catalog").stdout
    assert "POST https://fleet.example.com/in/autopi" in printed
    assert "ws://fleet.example.com:8082" in printed
    assert run("catalog", "nope").exit_code == 2
