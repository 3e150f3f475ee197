"""The command line does what the rules of the registry allow, all of it, and shows no secret but once."""

import ast
import inspect
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from fleetline.cli import COMMANDS, main
from fleetline.settings import Settings
from registry.model import Credential, Destination, secret_fields
from registry.rules import access, devices, places, tenants
from registry.store import RegistryStore
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
from sinks.clickhouse.migrate import migrate
from tests.fleetline.commanding import run, said
from tests.support import environment, until

Path = tuple[str, ...]
GROUPS = {"settings": ("tenant", "settings")}
"""Resource: where its commands are, when it is no group of its own."""
RULES: dict[Callable[..., Any], tuple[Path, ...]] = {
    tenants.create_tenant: (("tenant", "create"),),
    tenants.change_tenant: (("tenant", "rename"),),
    tenants.remove_tenant: (("tenant", "delete"),),
    tenants.change_settings: (("tenant", "settings"),),
    devices.create_device: (("device", "create"),),
    devices.change_device: (("device", "update"),),
    devices.remove_device: (("device", "delete"),),
    access.create_credential: (("credential", "create"), ("device", "token")),
    access.rotate_credential: (("credential", "rotate"), ("device", "token")),
    access.rotate_integration_secret: (("tenant", "secret"),),
    access.revoke_credential: (("credential", "revoke"), ("device", "token"), ("tenant", "secret")),
    access.create_api_key: (("api-key", "create"),),
    access.revoke_api_key: (("api-key", "revoke"),),
    places.create_destination: (("destination", "create"),),
    places.change_destination: (("destination", "update"), ("destination", "enable"), ("destination", "disable")),
    places.remove_destination: (("destination", "delete"),),
    places.create_geofence: (("geofence", "create"),),
    places.change_geofence: (("geofence", "update"),),
    places.remove_geofence: (("geofence", "delete"),),
}
"""Each rule that changes something, and the commands that follow it."""
CALLED = {
    "attributes": "given", "wanted_id": "wanted_id", "sealed_psk": "psk", "area": "polygon", "expires_us": "expires_s",
    "auto_register": "sources",
}  # fmt: skip
"""Parameter of a rule: parameter of the command, where they differ."""
NOT_ASKED = {"draft", "tenant", "device", "destination", "fence", "credential", "key", "enabled"}
"""What a command is about, and what is a command of its own."""


def leaves(group: click.Command, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    if not isinstance(group, click.Group):
        yield path, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def command(*path: str) -> click.Command:
    found: click.Command | None = main
    for name in path:
        assert isinstance(found, click.Group), path
        found = found.get_command(click.Context(found), name)
    assert found is not None, path
    return found


def changing(module: ModuleType) -> set[Callable[..., Any]]:
    """Return the public functions of the module that take a draft to put something into it."""
    own = (each for name, each in inspect.getmembers(module, inspect.isfunction) if not name.startswith("_"))
    return {
        each
        for each in own
        if each.__module__ == module.__name__ and next(iter(inspect.signature(each).parameters)) == "draft"
    }


def test_every_resource_has_commands() -> None:
    for resource in access.RESOURCES:
        assert command(*GROUPS.get(resource, (resource.removesuffix("s").replace("_", "-"),)))


def test_every_rule_that_changes_something_has_its_command() -> None:
    every = set().union(*(changing(module) for module in (tenants, devices, access, places)))
    assert every == set(RULES)
    for paths in RULES.values():
        assert all(command(*path) for path in paths)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_a_rule_can_be_told_its_command_can_be_told(rule: Callable[..., Any]) -> None:
    found = command(*RULES[rule][0])
    options = {each.name for each in found.params}
    for name in set(inspect.signature(rule).parameters) - NOT_ASKED - {"source", "overlap_s"}:
        assert CALLED.get(name, name) in options or f"{name}_argument" in options, (name, sorted(map(str, options)))


def test_the_rules_are_called_and_not_written_again() -> None:
    """No command changes an object past the rules: `put` and `delete` of the store are for tests and restores."""
    for path in (*COMMANDS.glob("*.py"), *(COMMANDS.parent / "managing").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {
                    ("store", "put"),
                    ("store", "delete"),
                    ("draft", "put"),
                    ("draft", "remove"),
                }


def test_every_command_of_the_registry_prints_json_and_talks_to_any_installation() -> None:
    for group in ("tenant", "device", "credential", "destination", "geofence", "api-key", "audit", "unmapped"):
        for path, found in leaves(command(group), (group,)):
            assert {"as_json", "data"} <= {each.name for each in found.params}, path
            assert found.help, path


@pytest.mark.stack
def test_no_command_shows_a_secret_but_when_it_is_made(topics: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(topics).items():
        monkeypatch.setenv(name, value)
    tenant = said("tenant", "create", "Acme")["id"]
    said("device", "create", "Van", "--id", "van")
    secrets = [said("device", "token", "Van")["secret"], said("tenant", "secret")["secret"]]
    made = said("credential", "create", "--source", "flespi", "--device", "Van")
    secrets += [made["secret"], said("credential", "rotate", made["id"])["secret"]]
    key = said("api-key", "create", "--name", "k", "--scope", "*")
    secrets.append(key["secret"])
    target = said("destination", "create", "--url", "https://example.com/", "--psk", "Bearer psk-1")
    said("destination", "update", target["id"], "--psk", "Bearer psk-2")
    said("geofence", "create", "Yard", "--circle", "48,16,5")
    with RegistryStore(topics) as store:
        entries = list(store.view.entries())
        assert {type(each) for each in entries} >= {Credential, Destination}
        hidden = {str(getattr(each, name)) for each in entries for name in secret_fields(each)} - {""}
    assert len(hidden) == 6  # digests, the former one of the rotation, the sealed PSK
    hidden |= {"psk-1", "psk-2", *secrets}
    load_audit_trail(topics)

    given: dict[Path, tuple[str, ...]] = {
        ("tenant", "show"): ("Acme",), ("tenant", "rename"): ("Acme", "Beta"), ("tenant", "settings"): ("Beta",),
        ("device", "show"): ("Van",), ("device", "update"): ("Van", "--set", "a=b"), ("device", "list"): ("--all",),
        ("device", "connect"): ("Van",), ("credential", "show"): (made["id"],), ("credential", "list"): ("--all",),
        ("destination", "show"): (target["id"],), ("destination", "update"): (target["id"], "--name", "x"),
        ("destination", "enable"): (target["id"],), ("destination", "disable"): (target["id"],),
        ("geofence", "show"): ("Yard",), ("geofence", "update"): ("Yard", "--name", "Z"), ("api-key", "show"): (key["id"],),
        ("tail",): ("registry", "--no-follow", "--from-beginning"), ("sql",): ("select * from audit",),
        ("credential", "revoke"): (made["id"],), ("api-key", "revoke"): (key["id"],), ("device", "delete"): ("Van", "--yes"),
        ("destination", "delete"): (target["id"],), ("geofence", "delete"): ("Z", "--yes"),
        ("tenant", "secret"): (tenant, "--revoke"), ("tenant", "delete"): (tenant, "--yes"),
    }  # fmt: skip
    making: set[Path] = {
        (group, "create") for group in ("tenant", "device", "credential", "destination", "geofence", "api-key")
    }
    making |= {("credential", "rotate"), ("device", "token")}
    groups = (
        "tenant",
        "device",
        "credential",
        "destination",
        "geofence",
        "api-key",
        "audit",
        "unmapped",
        "tail",
        "sql",
    )
    every = {path for group in groups for path, _ in leaves(command(group), (group,))} - making
    order = [*sorted(every - set(given)), *(each for each in given if each in every)]
    for path in order:
        for form in ((), ("--json",)):
            result = run(*path, *given.get(path, ()), *form)
            assert isinstance(result.exception, SystemExit | None), path
            assert path not in given or result.exit_code == 0 or form, (path, result.output)
            shown = [each for each in hidden if each in result.output]
            assert not shown, (path, form)
    tailed = CliRunner().invoke(main, ["tail", "audit", "--no-follow", "--from-beginning", "--json"]).output
    assert tailed.count('"action":"created"') >= 8
    assert not [each for each in hidden if each in tailed]


def load_audit_trail(settings: Settings) -> None:
    with connect(settings) as client:
        migrate(client)
        loader = Loader(settings, client, linger_s=0.05)
        try:
            until(lambda: loader.step() > 0, 20)
        finally:
            loader.close()


@pytest.mark.stack
def test_the_end_of_a_topic_of_transactions_is_not_waited_for(
    topics: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(topics).items():
        monkeypatch.setenv(name, value)
    for name in ("Acme", "Beta", "Gamma"):
        said("tenant", "create", name)
    started = time.monotonic()
    lines = run("tail", "registry", "-n", "2", "--no-follow", "--json").stdout.splitlines()
    assert time.monotonic() - started < 4
    assert [msgspec.json.decode(line)["value"]["name"] for line in lines] == ["Beta", "Gamma"]
