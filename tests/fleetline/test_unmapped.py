"""`fleetline unmapped` on a real broker: it lists who waits, and the command it names makes exactly that device known."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from fleetline.cli import main
from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.settings import Settings
from registry.store import RegistryStore
from schemas import topics as names
from tests.processors.waiting import Raw, leave_waiting, raw_generic, release_all, releaser, settle
from tests.support import TENANT, raw_headers

pytestmark = pytest.mark.stack


@pytest.fixture
def installation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """An installation that the commands find by the environment."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("FLEETLINE_DATA", str(settings.data_dir))
    ensure_topics(settings)
    with RegistryStore(settings) as store:
        store.create_tenant("A", TENANT)
        store.create_tenant("B", "tenant-b")
        store.create_device(TENANT, "Gateway", id="gateway", gateway=True)
    yield settings
    delete_topics(settings)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def said(*arguments: str) -> Any:
    return orjson.loads(run(*arguments, "--json"))


def body(value: Any, *headers: tuple[str, bytes]) -> Raw:
    return b"", orjson.dumps(value), [*raw_headers(), *headers]


EUI = "0102030405060708"
IMEI = "352625333222111"
SENT: list[tuple[str, Raw]] = [
    *(("generic", raw_generic("silo 3", n)) for n in range(3)),
    ("generic", raw_generic("silo 3", 5, "tenant-b")),
    ("flespi", body([{"ident": IMEI, "timestamp": 1767322800, "battery.voltage": 4}])),
    ("chirpstack", body({"deviceInfo": {"devEui": EUI}, "fCnt": 1, "object": {"t": 1}}, (names.QUERY, b"event=up"))),
    ("generic", body({"externalDeviceId": "gateway", "childDeviceId": "probe 1", "ts": 1767322800, "temperature": 4})),
    ("generic", body({"externalDeviceId": "new", "childDeviceId": "probe 2", "ts": 1767322800, "temperature": 4})),
    (
        "digital_matter",
        body({"SerNo": 61655, "Records": [{"SeqNo": 1, "DateUTC": "2026-01-02 03:04:05", "Fields": []}]}),
    ),
    ("device", body({"ts": 1767322800, "temperature": 4}, (names.DEVICE, b"gone"))),
]


def test_the_command_it_names_makes_each_of_them_known(installation: Settings) -> None:
    # AC-a41, DM-a19
    assert run("unmapped").strip() == "nothing waits: every device that sent something is known"
    leave_waiting(installation, SENT)
    found = said("unmapped")
    assert (found[0]["source_device"], found[0]["records"]) == ("silo 3", 3)
    assert len(found) == 8
    mine = said("unmapped", "--tenant", "B")
    assert [(row["tenant_id"], row["records"]) for row in mine] == [("tenant-b", 1)]
    assert "--external-id 'silo 3'" in run("unmapped", "--tenant", "A")
    assert "352625333222111" not in run("unmapped", "--limit", "1")
    by_next = {row["next"] for row in found}
    assert any(each.endswith(f"--imei {IMEI}") for each in by_next)
    assert any(each.endswith(f"--dev-eui {EUI}") for each in by_next)
    assert "its credential is that of the device gone, which is gone" in by_next
    for round_number in range(2):  # a child's gateway first, then the child
        for number, row in enumerate(said("unmapped")):
            if row["next"].startswith("fleetline "):
                words = [f"N{round_number}-{number}" if word == "NAME" else word for word in shlex.split(row["next"])]
                run(*words[1:])
    nexts = [row["next"] for row in said("unmapped")]
    assert sum(each.startswith("known as ") for each in nexts) == 7
    with RegistryStore(installation) as store, releaser(installation, store.view) as made:
        release_all(made, 9)
        assert settle(made) == 0
    assert [row["next"] for row in said("unmapped")] == ["its credential is that of the device gone, which is gone"]


def test_a_relaying_device_that_is_no_gateway_is_named(installation: Settings) -> None:
    with RegistryStore(installation) as store:
        store.create_device(TENANT, "Plain", id="plain")
    raw = body({"externalDeviceId": "plain", "childDeviceId": "probe", "ts": 1767322800, "temperature": 4})
    leave_waiting(installation, [("generic", raw)])
    (row,) = said("unmapped")
    assert row["next"] == "plain is no gateway, and relays for 'probe'"


def test_without_a_broker_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv("FLEETLINE_DATA", str(tmp_path))
    result = CliRunner().invoke(main, ["unmapped"])
    assert result.exit_code == 1
    assert "127.0.0.1:9" in result.output
    assert "Traceback" not in result.output
