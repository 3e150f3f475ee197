"""Administration on the command line, on a real broker: what is printed is true, and running components see it at once."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from fleetline.cli import main
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.follower import RegistryFollower
from registry.sealing import unseal
from schemas.ids import new_id
from sources.catalog import load_sources, source_names
from sources.contract import Request
from sources.samples import load_samples, route_parts
from tests.support import until

pytestmark = pytest.mark.stack

Run = Callable[..., Any]


@pytest.fixture
def settings(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of our own, which the commands find by its data directory alone."""
    data, prefix = tmp_path / "data", f"{new_id()}."
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("PUBLIC_API_BASE_URL", raising=False)
    monkeypatch.setenv("FLEETLINE_DATA", str(data))
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", prefix)
    (data / "run").mkdir(parents=True)
    said = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "ingress_url": "http://127.0.0.1:4711",
        "pid": os.getpid(),
    }
    (data / "run" / "stack.json").write_bytes(orjson.dumps(said))
    return stack.model_copy(update={"data_dir": data, "topic_prefix": prefix})


@pytest.fixture
def follower(settings: Settings) -> Iterator[RegistryFollower]:
    started = RegistryFollower(settings)
    started.start()
    try:
        yield started
    finally:
        started.stop()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def said(*arguments: str) -> Any:
    """Run a command with --json and return what it printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def refused(*arguments: str) -> str:
    """Run a command that must fail, and return its complaint."""
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, AssertionError)
    return result.output


@pytest.fixture
def tenant(settings: Settings) -> dict[str, Any]:
    made: dict[str, Any] = said("tenant", "create", "Acme")
    return made


def test_a_tenant_is_created_and_listed(tenant: dict[str, Any]) -> None:
    assert said("tenant", "list") == [{"id": tenant["id"], "name": "Acme", "version": 1, "devices": 0}]
    listed = run("tenant", "list").output
    assert tenant["id"] in listed
    assert "Acme" in listed
    assert "already" in refused("tenant", "create", "Acme")


def test_a_device_is_created_with_all_it_may_have(tenant: dict[str, Any]) -> None:
    gateway = said("device", "create", "Gate", "--gateway")
    made = said(
        *(
            "device",
            "create",
            "--tenant",
            "Acme",
            "--name",
            "Van",
            "--external-id",
            "E-1",
            "--dev-eui",
            "70:B3:D5:7E:D0:00:12:34",
        ),
        *("--imei", "357454075000000", "--serial", "S1", "--iccid", "8945", "--custom1", "c1", "--custom2", "c2"),
        *("--custom3", "c3", "--parent", "Gate"),
    )
    wanted = {
        "name": "Van",
        "tenant_id": tenant["id"],
        "external_id": "E-1",
        "dev_eui": "70b3d57ed0001234",
        "serial": "S1",
    }
    wanted |= {"imei": "357454075000000", "iccid": "8945", "custom1": "c1", "custom2": "c2", "custom3": "c3"}
    wanted |= {"parent_id": gateway["id"]}
    assert {key: made[key] for key in wanted} == wanted
    assert gateway["external_id"] == gateway["id"]  # AC-b04
    assert said("device", "list", "--tenant", tenant["id"]) == [gateway, made]
    assert said("device", "list") == [gateway, made]
    assert "70b3d57ed0001234" in run("device", "list").output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("device", "create"), "give the name once"),
        (("device", "create", "A", "--name", "B"), "give the name once"),
        (("device", "create", "A", "--dev-eui", "12"), "DevEUI"),
        (("device", "create", "A", "--parent", "nobody"), "no device 'nobody'"),
        (("device", "create", "A", "--tenant", "nobody"), "no tenant 'nobody'"),
        (("device", "list", "--tenant", "nobody"), "no tenant 'nobody'"),
        (("credential", "create", "--source", "nope"), "flespi"),
        (("credential", "create", "--source", "flespi", "--device", "nobody"), "no device 'nobody'"),
        (("credential", "revoke", "nothing"), "no credential 'nothing'"),
        (("destination", "create", "--url", "ftp://x/"), "http"),
        (("destination", "create", "--url", "http://x/", "--kind", "pigeon"), "webhook"),
        (("destination", "create", "--url", "http://x/", "--psk", "a\nb"), "control characters"),
        (("destination", "delete", "nothing"), "no destination 'nothing'"),
        (("tenant", "secret", "nobody"), "no tenant 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tenant: dict[str, Any], arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in refused(*arguments)
    assert not said("device", "list")
    assert not said("credential", "list")
    assert not said("destination", "list")


def test_the_tenant_must_be_named_when_it_is_not_the_only_one(settings: Settings) -> None:
    assert "tenant create" in refused("device", "create", "Van")
    said("tenant", "create", "Acme")
    said("tenant", "create", "Beta")
    complaint = refused("device", "create", "Van")
    assert "--tenant" in complaint
    assert "Acme" in complaint
    beta = said("device", "create", "Van", "--tenant", "Beta")
    assert said("device", "list", "--tenant", "Acme") == []
    assert said("device", "list") == [beta]


def test_a_secret_opens_its_source_until_it_is_revoked(tenant: dict[str, Any], follower: RegistryFollower) -> None:
    device = said("device", "create", "Van")
    made = said("credential", "create", "--source", "flespi", "--device", "Van")
    assert made["device_id"] == device["id"]
    time.sleep(1)
    found = follower.view.credential_for("flespi", False, made["secret"])
    assert found is not None
    assert (found.id, found.device_id) == (made["id"], device["id"])
    assert said("credential", "list") == [{key: made[key] for key in made if key not in ("secret", "curl")}]
    assert said("credential", "revoke", made["id"]) == {"id": made["id"], "revoked": True}
    time.sleep(1)
    assert follower.view.credential_for("flespi", False, made["secret"]) is None
    assert said("credential", "list") == []


def test_a_secret_is_shown_once_and_with_a_line_to_paste(tenant: dict[str, Any]) -> None:
    output = run("credential", "create", "--source", "flespi").output
    found = re.search(r"shown this once: (\S+)", output)
    assert found is not None
    assert f" {found[1]}'" in output.splitlines()[-1]
    assert output.splitlines()[-1].startswith("curl ")
    assert found[1] not in run("credential", "list").output


@pytest.mark.parametrize("source", source_names())
def test_the_line_to_paste_is_a_request_the_source_takes(tenant: dict[str, Any], source: str) -> None:
    declared = load_sources()[source]
    made = said("credential", "create", "--source", source)
    words = shlex.split(made["curl"])
    url = next(word for word in words if word.startswith("http://127.0.0.1:4711/"))
    path, _, query = url.removeprefix("http://127.0.0.1:4711").partition("?")
    pairs = [word.split(": ", 1) for flag, word in pairwise(words) if flag == "-H" and ": " in word]
    body = words[words.index("--data-raw") + 1] if "--data-raw" in words else ""
    request = Request(
        body=body.encode(),
        path=path,
        path_params=route_parts(declared, path),
        query=dict(pair.split("=", 1) for pair in query.split("&") if pair),
        headers={name.lower(): value for name, value in pairs},
    )
    assert made["secret"] in [extract(request) for extract in declared.credentials]
    assert body.encode() in [sample.request.body_bytes() for sample in load_samples(source).values()]
    if declared.tenant_query:
        assert request.query[declared.tenant_query] == tenant["id"]


def test_a_new_tenant_secret_opens_beside_the_former_unless_that_ends_at_once(
    tenant: dict[str, Any], follower: RegistryFollower
) -> None:
    # AC-b07
    first, former = said("tenant", "secret"), said("tenant", "secret", "Acme")

    def opens(made: dict[str, Any]) -> bool:
        return follower.view.credential_for("chirpstack", True, made["secret"]) is not None

    until(lambda: opens(former), 5, "the new secret opens")
    assert opens(first)
    present = said("tenant", "secret", "Acme", "--overlap", "0")
    until(lambda: opens(present), 5, "the newest secret opens")
    assert not opens(first)
    assert not opens(former)
    opened = {name for name, source in load_sources().items() if source.tenant_secret}
    assert {each["source"] for each in present["urls"]} == opened
    for each in present["urls"]:
        assert each["url"].startswith("http://127.0.0.1:4711/")
        assert not load_sources()[each["source"]].tenant_query or tenant["id"] in each["url"]
    assert re.search(r"shown this once: \S{43}\n", run("tenant", "secret").output)


def test_a_destination_is_created_listed_and_deleted(
    settings: Settings, tenant: dict[str, Any], follower: RegistryFollower
) -> None:
    made = said(
        *("destination", "create", "--kind", "webhook", "--url", "https://example.com/hook"),
        *("--types", "ignition.on, ignition.off", "--psk", "Bearer psk-in-clear"),
    )
    assert made["types"] == ["ignition.on", "ignition.off"]
    assert "psk-in-clear" not in str(made)
    assert said("destination", "list") == [made]
    time.sleep(1)
    (seen,) = follower.view.destinations(tenant["id"])
    assert unseal(settings, seen.sealed_psk) == "Bearer psk-in-clear"
    assert made["id"] in run("destination", "list").output
    said("destination", "delete", made["id"])
    time.sleep(1)
    assert not follower.view.destinations(tenant["id"])


def test_a_command_takes_effect_within_a_second_of_its_start(
    tenant: dict[str, Any], follower: RegistryFollower
) -> None:
    assert follower.wait_caught_up(5)
    started = time.perf_counter()
    command = [sys.executable, "-m", "fleetline", "device", "create", "Van", "--imei", "1", "--json"]
    device = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    ended = time.perf_counter()
    while follower.view.device(device["id"]) is None:
        assert time.perf_counter() - ended < 1
        time.sleep(0.001)
    assert time.perf_counter() - started < 3  # the whole of it, the start of Python on a busy machine included


def test_a_stack_that_does_not_run_is_said_so(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    assert "fleetline up" in refused("tenant", "list")


def test_another_installation_is_reached_with_data(
    tenant: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLEETLINE_DATA")
    assert said("tenant", "list", "--data", str(settings.data_dir))[0]["id"] == tenant["id"]
