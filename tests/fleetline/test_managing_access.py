"""Tenants, webhook secrets, credentials and API keys on the command line."""

from typing import Any

import pytest

from fleetline.settings import Settings
from registry.model import ApiKey, Credential, integration_id
from registry.secrets import digest
from registry.store import RegistryStore
from schemas.times import now_us, parse_iso_us
from tests.fleetline.commanding import done, refused, said

pytestmark = pytest.mark.stack
DAY_US = 86_400_000_000


@pytest.fixture
def acme(installation: Settings) -> str:
    made: str = said("tenant", "create", "Acme", "--id", "acme")["id"]
    return made


def kept(settings: Settings, credential_id: str) -> Credential | None:
    with RegistryStore(settings) as store:
        return store.view.credential(credential_id)


def test_a_tenant_is_shown_renamed_and_deleted_with_what_is_left_of_it(acme: str) -> None:
    said("device", "create", "Van")
    said("geofence", "create", "Yard", "--circle", "48,16,100")
    said("tenant", "secret")
    said("credential", "create", "--source", "flespi")
    said("api-key", "create", "--name", "k", "--scope", "*")
    shown = said("tenant", "show")
    counted = {"devices": 1, "credentials": 2, "destinations": 0, "geofences": 1, "api_keys": 1}
    assert {key: shown[key] for key in counted} == counted
    assert shown["webhook_secret"]["credential_id"] == integration_id(acme)
    assert "none yet" not in done("tenant", "show", "Acme").stdout

    assert said("tenant", "rename", "Acme", "Beta") == {"id": "acme", "name": "Beta", "version": 2}
    assert "no tenant 'Acme'" in refused("tenant", "show", "Acme")
    assert "at version 2" in refused("tenant", "rename", "Beta", "Gamma", "--version", "1")
    said("tenant", "create", "Delta")
    assert "already" in refused("tenant", "rename", "Beta", "Delta")

    complaint = refused("tenant", "delete", "Beta", typed="y\n")
    assert "still has devices" in complaint
    assert "Delete" not in complaint
    said("device", "delete", "Van", "--yes")
    assert "still has geofences" in refused("tenant", "delete", "Beta", "--yes")
    said("geofence", "delete", "Yard", "--yes")
    assert "Beta (acme) with 2 credentials and 1 API key?" in refused("tenant", "delete", "Beta", typed="n\n")
    assert said("tenant", "delete", "Beta", "--yes") == {"id": "acme", "deleted": True, "credentials": 2, "api_keys": 1}
    assert [each["name"] for each in said("tenant", "list")] == ["Delta"]
    assert said("credential", "list") == []
    assert said("api-key", "list") == []


def test_a_webhook_secret_is_rotated_with_an_overlap_and_taken_back(installation: Settings, acme: str) -> None:
    # AC-b07, AC-b08
    assert "no webhook secret" in refused("tenant", "secret", "--revoke")
    first = done("tenant", "secret").stdout
    assert "former" not in first
    before = now_us()
    second = said("tenant", "secret", "--overlap", "30m")
    credential = kept(installation, integration_id(acme))
    assert credential is not None
    assert credential.digest == digest(second["secret"])
    assert f": {first.splitlines()[0].rpartition(' ')[2]}" in first
    assert credential.former_digest == digest(first.splitlines()[0].rpartition(" ")[2])
    assert 1_800_000_000 <= parse_iso_us(second["former_until"]) - before < 1_860_000_000
    assert second["former_until"] in done("tenant", "show").stdout
    assert "former one opens until" in done("tenant", "secret").stdout
    assert "former one opens nothing" in done("tenant", "secret", "--overlap", "0").stdout
    credential = kept(installation, integration_id(acme))
    assert credential is not None
    assert credential.former_digest == ""
    assert "exclude each other" in refused("tenant", "secret", "--revoke", "--overlap", "0")
    assert said("tenant", "secret", "Acme", "--revoke") == {"tenant_id": acme, "revoked": True}
    assert kept(installation, integration_id(acme)) is None


def test_a_credential_is_named_rotated_and_revoked(installation: Settings, acme: str) -> None:
    made = said("credential", "create", "--source", "flespi", "--name", "yard gateway")
    hidden = {"secret", "curl"}
    assert said("credential", "list") == [{key: made[key] for key in made if key not in hidden}]
    assert said("credential", "show", made["id"])["name"] == "yard gateway"
    assert "yard gateway" in done("credential", "list").stdout

    new = said("credential", "rotate", made["id"], "--version", "1")
    credential = kept(installation, made["id"])
    assert credential is not None
    assert (credential.digest, credential.former_digest) == (digest(new["secret"]), digest(made["secret"]))
    assert abs(parse_iso_us(new["former_until"]) - now_us() - DAY_US) < 60_000_000
    assert "at version 2" in refused("credential", "rotate", made["id"], "--version", "1")
    printed = done("credential", "rotate", made["id"], "--overlap", "0").stdout
    assert "the former one opens nothing any more" in printed
    assert "at version 3" in refused("credential", "revoke", made["id"], "--version", "1")
    assert said("credential", "revoke", made["id"]) == {"id": made["id"], "revoked": True}
    for verb in ("show", "rotate", "revoke"):
        assert "`fleetline credential list` shows them" in refused("credential", verb, made["id"])


def test_a_key_of_the_admin_api_is_made_listed_and_revoked(installation: Settings, acme: str) -> None:
    said("tenant", "create", "Beta")
    made = said(
        *("api-key", "create", "--name", "dashboard", "--scope", "devices:read", "--scope", "audit:read"),
        *("--tenant", "Acme", "--expires", "90d"),
    )
    assert (made["tenant_id"], made["scopes"]) == (acme, ["devices:read", "audit:read"])
    assert abs(parse_iso_us(made["expires_at"]) - now_us() - 90 * DAY_US) < 60_000_000
    operators = done("api-key", "create", "--name", "ops", "--scope", "*", "--operator").stdout
    secret = operators.splitlines()[1].rpartition(" ")[2]
    with RegistryStore(installation) as store:
        found = store.view.api_key_for(secret)
        assert found is not None
        assert (found.tenant_id, found.scopes, found.expires_us) == ("", ("*",), 0)
        assert store.view.get(ApiKey, made["id"]) == store.view.api_key_for(made["secret"])

    assert [each["name"] for each in said("api-key", "list")] == ["ops", "dashboard"]
    assert [each["name"] for each in said("api-key", "list", "--operator")] == ["ops"]
    assert [each["name"] for each in said("api-key", "list", "--tenant", "Acme")] == ["dashboard"]
    assert said("api-key", "list", "--tenant", "Beta") == []
    assert "every (operator)" in done("api-key", "list").stdout
    assert said("api-key", "show", made["id"]) == {key: made[key] for key in made if key != "secret"}
    assert said("api-key", "revoke", made["id"]) == {"id": made["id"], "revoked": True}
    with RegistryStore(installation) as store:
        assert store.view.api_key_for(made["secret"]) is None
    assert "no api key" in refused("api-key", "revoke", made["id"])


REFUSED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("--name", "k", "--scope", "everything"), "devices:read"),
    (("--name", " ", "--scope", "*"), "empty"),
    (("--name", "k"), "--scope"),
    (("--scope", "*"), "--name"),
    (("--name", "k", "--scope", "*", "--operator", "--tenant", "Acme"), "exclude each other"),
    (("--name", "k", "--scope", "*", "--expires", "0"), "leave it out"),
    (("--name", "k", "--scope", "*", "--expires", "soon"), "write 30m, 24h, 90d"),
    (("--name", "k", "--scope", "*", "--tenant", "nobody"), "no tenant 'nobody'"),
)


def test_a_key_that_cannot_be_is_refused_in_one_line(acme: str) -> None:
    for arguments, complaint in REFUSED:
        assert complaint in refused("api-key", "create", *arguments), arguments
    assert said("api-key", "list") == []


def test_every_group_says_that_the_stack_does_not_run(installation: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleetline.local.process import free_port

    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    commands: list[tuple[Any, ...]] = [
        ("tenant", "rename", "a", "b"), ("device", "show", "x"), ("credential", "rotate", "x"), ("geofence", "list"),
        ("api-key", "list"), ("destination", "enable", "x"),
    ]  # fmt: skip
    for command in commands:
        assert "fleetline up" in refused(*command)
