"""`fleetline audit`: what the commands changed comes out again as who, when, what and each field before and after."""

import getpass
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from fleetline.audit_trail import diff_lines
from fleetline.cli import main
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from registry.model import Device
from registry.rules import devices
from registry.store import RegistryStore
from sinks.clickhouse.connection import connect
from sinks.clickhouse.loader import Loader
from sinks.clickhouse.migrate import migrate
from tests.support import environment, until

pytestmark = pytest.mark.stack
ME = f"cli:{getpass.getuser()}@{socket.gethostname()}"


@pytest.fixture
def client(topics: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in environment(topics).items():
        monkeypatch.setenv(name, value)
    with connect(topics) as made:
        yield made
        made.command(f"DROP DATABASE IF EXISTS {topics.topic_prefix.strip('.')}")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def changes(*arguments: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(run("audit", *arguments, "--json"))
    return made


def load(settings: Settings, client: Client, rows: int) -> None:
    migrate(client)
    loader = Loader(settings, client, linger_s=0.05)

    def loaded() -> bool:
        loader.step()
        return bool(client.query("SELECT count() FROM audit_rows").result_rows[0][0] == rows)

    try:
        until(loaded, 30)
    finally:
        loader.close()


def test_what_was_done_is_shown_with_each_field_before_and_after(topics: Settings, client: Client) -> None:
    acme = json.loads(run("tenant", "create", "Acme", "--json"))["id"]
    beta = json.loads(run("tenant", "create", "Beta", "--json"))["id"]
    van = json.loads(run("device", "create", "Van", "--imei", "1", "--tenant", "Acme", "--json"))["id"]
    secret = json.loads(run("credential", "create", "--source", "flespi", "--tenant", "Acme", "--json"))["secret"]
    with RegistryStore(topics, actor="api-key:7") as store:
        found = store.view.get(Device, van)
        assert found is not None
        store.change(
            lambda draft: devices.change_device(
                draft, found, name="Vän", attributes={"imei": "2", "colour": "red"}, gateway=True
            )
        )
        store.change(lambda draft: devices.change_device(draft, found, attributes={"colour": None}))
    load(topics, client, 6)

    every = changes()
    assert [(each["actor"], each["action"], each["kind"]) for each in every] == [
        (ME, "created", "tenant"),
        (ME, "created", "tenant"),
        (ME, "created", "device"),
        (ME, "created", "credential"),
        ("api-key:7", "changed", "device"),
        ("api-key:7", "changed", "device"),
    ]
    assert every[4]["changes"] == {
        "name": ["Van", "Vän"],
        "attributes.imei": ["1", "2"],
        "attributes.colour": [None, "red"],
        "gateway": [False, True],
    }
    assert sorted(diff_lines(every[4])) == [
        "+ attributes.colour: red",
        "attributes.imei: 1 → 2",
        "gateway: false → true",
        "name: Van → Vän",
    ]
    assert diff_lines(every[5]) == ["- attributes.colour: red"]
    assert every[2]["changes"] == {
        "name": [None, "Van"],
        "attributes.imei": [None, "1"],
        "attributes.integration.external_id": [None, van],
    }
    shown = run("audit")
    assert "name: Van → Vän" in shown
    assert ME in shown
    assert secret not in shown + json.dumps(every)

    assert [each["position"] for each in changes("--limit", "2")] == [each["position"] for each in every[-2:]]
    assert changes("--tenant", "Acme") == changes("--tenant", acme) == [every[0], *every[2:]]
    assert changes("--tenant", "Beta") == changes("--tenant", beta) == [every[1]]
    assert changes("--kind", "device") == changes("--object", van) == changes("--object", "Van")
    assert changes("--object", "Vän") == [every[2], *every[4:]]  # under its former name, too
    assert changes("--actor", "api-key:") == every[4:]
    assert changes("--actor", "pi-key:") == []
    assert changes("--since", "1h") == every
    assert changes("--since", every[3]["at"]) == every[3:]
    assert changes("--since", "2100-01-01") == []
    assert "no changes" in run("audit", "--since", "2100-01-01")


def test_following_shows_what_is_changed_meanwhile(topics: Settings, client: Client, tmp_path: Path) -> None:
    run("tenant", "create", "Acme")
    load(topics, client, 1)
    log = tmp_path / "follow.log"
    follower = Child(
        "audit", [sys.executable, "-m", "fleetline", "audit", "--follow", "--json"], log, environment(topics)
    )
    follower.start()
    try:
        until(lambda: "Acme" in log.read_text(), 20)
        run("tenant", "create", "Beta")
        load(topics, client, 2)
        until(lambda: "Beta" in log.read_text(), 20)
    finally:
        follower.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["after"]["name"] for line in lines] == ["Acme", "Beta"]


def complaint(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["audit", *arguments])
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    return result.output


def test_what_keeps_it_from_answering_is_said_in_one_line(
    topics: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "serve clickhouse" in complaint()
    migrate(client)
    assert changes() == []
    assert "how long ago" in complaint("--since", "yesterday")
    assert "device" in complaint("--kind", "pigeon")
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}")
    assert "fleetline up" in complaint()
