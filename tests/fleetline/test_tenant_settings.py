"""`fleetline tenant settings` on a real broker: what it sets is what the workers see."""

from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from fleetline.cli import main
from fleetline.settings import Settings
from registry.store import RegistryStore

pytestmark = pytest.mark.stack


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation that the commands find by the environment, with one tenant."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("FLEETLINE_DATA", str(settings.data_dir))
    with RegistryStore(settings) as opened:
        opened.create_tenant("Acme", "acme")
        yield opened


def said(*arguments: str) -> Any:
    result = CliRunner().invoke(main, ["tenant", "settings", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def test_auto_registration_is_shown_switched_on_changed_and_switched_off(store: RegistryStore) -> None:
    assert said("Acme") == {"tenant_id": "acme", "auto_register": [], "version": 0}
    assert said("acme", "--auto-register", "ttn, flespi")["auto_register"] == ["flespi", "ttn"]
    assert store.refresh().settings_of("acme").auto_register == ("flespi", "ttn")
    assert said()["auto_register"] == ["flespi", "ttn"]
    text = CliRunner().invoke(main, ["tenant", "settings"]).stdout
    assert text == "Acme: auto-registration of flespi, ttn\n"
    assert said("--no-auto-register")["auto_register"] == []
    assert store.refresh().settings_of("acme").auto_register == ()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["acme", "--auto-register", "flespy"], "no source 'flespy'"),
        (["acme", "--auto-register", " , "], "names no sender"),
        (["acme", "--auto-register", "ttn", "--no-auto-register"], "exclude each other"),
        (["nobody", "--auto-register", "ttn"], "no tenant 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    arguments: list[str], complaint: str, store: RegistryStore
) -> None:
    result = CliRunner().invoke(main, ["tenant", "settings", *arguments])
    assert result.exit_code in (1, 2)
    assert complaint in result.output
    assert "Traceback" not in result.output
    assert store.refresh().settings_of("acme").auto_register == ()
