"""The proof itself: every sender against the real stack under faults, and a run that is stopped early."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleetline.local.process import is_listening
from fleetline.settings import Settings
from fleetline.simulator.catalog import load_profiles
from registry.store import RegistryStore
from sources.catalog import source_names

pytestmark = pytest.mark.stack

COMMAND = [sys.executable, "-m", "fleetline", "simulate"]
CLEAN = {key: value for key, value in os.environ.items() if key not in {"KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"}}
HOLD = ("autopi", "device", "device-mqtt", "device-websocket", "digital_matter", "flespi")
"""Senders that keep what was not acknowledged."""


def simulated(*arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    command = [*COMMAND, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, env=CLEAN | environment, check=False, timeout=170)
    return done.returncode, orjson.loads(done.stdout or b"{}"), done.stderr.decode()


def test_whatever_was_acknowledged_under_faults_is_stored_once_for_every_sender(tmp_path: Path) -> None:
    # AP-a13, AP-a14, AP-a21, FL-a22, DM-a03, BT-a15, AC-a15, AC-c10
    faults = ["--faults", "lost-ack,broker-restart,duplicate", "--fault-share", "0.25", "--longest-pause", "0.3"]
    load = ["--devices", "12", "--rate", "100", "--duration", "5", "--data", str(tmp_path / "state")]
    status, report, said = simulated("all", *load, *faults)
    assert status == 0, (report, said)
    assert report["holds"]
    assert "Kafka was killed" in said
    senders = {sender["sender"]: sender for sender in report["senders"]}
    assert set(senders) == set(load_profiles())
    for name, sender in senders.items():
        assert sender["stored_once"] == sender["acknowledged"] > 0, sender
        assert sender["missing"] == sender["duplicated"] == sender["unexpected"] == sender["quarantined"] == 0, sender
        assert sender["readings"] == sender["acknowledged"] + sender["unacknowledged"], sender
        if name in HOLD:
            assert sender["unacknowledged"] == 0, sender
    # The faults really struck: whoever keeps its data sent it again after a refusal and after an answer it did not hear.
    for name in ("autopi", "flespi"):
        answers = senders[name]["answers"]
        assert answers.get("answer not heard", 0) + answers.get("gone before the answer", 0) > 0, answers
        assert answers.get("503", 0) > 0, answers
    # MQTT: what Kafka had not taken ended the connection, and nothing else was ever acknowledged.
    assert senders["device-mqtt"]["answers"].get("connection lost", 0) > 0, senders["device-mqtt"]
    assert senders["device-mqtt"]["sent_again"] > 0
    assert senders["device-websocket"]["sent_again"] > 0
    assert sum(senders[name]["answers"].get("503", 0) for name in ("device", "digital_matter")) > 0
    assert senders["biketrax"]["sent_again"] > 0  # webhooks that were acknowledged, once more


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Start a long simulation and return it with the addresses of its stack."""
    command = [*COMMAND, "flespi", "--duration", "600", "--rate", "20", "--json", "--data", str(tmp_path / "state")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"sending"):
                break
        yield process, orjson.loads((tmp_path / "state" / "run" / "stack.json").read_bytes())
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_running_stack_is_simulated_against_and_ctrl_c_ends_what_it_started(
    running: tuple[subprocess.Popen[bytes], dict[str, str]], tmp_path: Path
) -> None:
    process, urls = running
    brief = [
        "--duration",
        "1",
        "--rate",
        "30",
        "--url",
        urls["ingress_url"],
        "--clickhouse-url",
        urls["CLICKHOUSE_URL"],
    ]
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": urls["KAFKA_BOOTSTRAP_SERVERS"]}

    status, report, said = simulated("ttn", *brief, **kafka)  # registers its devices
    assert status == 0, (report, said)
    assert report["senders"][0]["stored_once"] == 30

    for name in ("device-mqtt", "device-websocket"):
        transport = name.removeprefix("device-")
        status, report, said = simulated(name, *brief, f"--{transport}-url", urls[f"{transport}_url"], **kafka)
        assert status == 0, (report, said)
        assert report["senders"][0]["stored_once"] == 30
        assert report["senders"][0]["unmapped"] == 0  # a gateway's children are found by their names

    status, report, said = simulated("generic", *brief, "--credentials", str(existing_credentials(tmp_path, kafka)))
    assert status == 0, (report, said)  # shows credentials that exist: nobody knows its devices, and nothing is lost
    assert report["senders"][0]["stored_once"] == report["senders"][0]["unmapped"] == 30

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    report = orjson.loads(out)
    assert process.returncode == 0
    assert report["interrupted"]
    assert report["holds"]
    assert report["senders"][0]["acknowledged"] > 0
    for url in (urls["ingress_url"], urls["CLICKHOUSE_URL"], f"kafka://{urls['KAFKA_BOOTSTRAP_SERVERS']}"):
        assert not is_listening("127.0.0.1", int(url.rpartition(":")[2]))


def existing_credentials(folder: Path, kafka: dict[str, str]) -> Path:
    settings = Settings().model_copy(update={"kafka_bootstrap_servers": kafka["KAFKA_BOOTSTRAP_SERVERS"]})
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("Existing")
        secret = store.rotate_tenant_secret(tenant)
    given = {"tenant_id": tenant.id, "credentials": [{"source": "integration", "secret": secret}]}
    path = folder / "credentials.json"
    path.write_bytes(orjson.dumps(given))
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "no sender 'nobody' to simulate; there are: autopi,"),
        (["flespi", "--faults", "earthquake"], "no fault 'earthquake'; there are: lost-ack,"),
        ([], "say which sender to play"),
        (["flespi", "--url", "http://127.0.0.1:9", "--faults", "broker-restart"], "needs a stack of our own"),
        (["device-mqtt", "--url", "http://127.0.0.1:9"], "device-mqtt needs --mqtt-url"),
        (["flespi", "--url", "http://127.0.0.1:9"], "set KAFKA_BOOTSTRAP_SERVERS; or name existing credentials"),
    ],
)
def test_a_wrong_wish_is_answered_in_one_line_at_once(arguments: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, env=CLEAN, check=False, timeout=30)
    assert done.returncode in {1, 2}
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_the_list_shows_every_sender_and_its_behaviour() -> None:
    done = subprocess.run([*COMMAND, "--list"], capture_output=True, env=CLEAN, check=True, timeout=30)
    shown = done.stdout.decode()
    for name in (*source_names(), "device-mqtt", "device-websocket"):
        assert name in shown
    listed = subprocess.run([*COMMAND, "--list", "--json"], capture_output=True, env=CLEAN, check=True, timeout=30)
    flespi = next(row for row in orjson.loads(listed.stdout) if row["sender"] == "flespi")
    assert (flespi["success"], flespi["in_flight"]) == ("200", "1 for the stream")
