"""The proof itself: every sender against the real stack under faults, and a run that is stopped early."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleetline.local.process import is_listening
from sources.catalog import source_names

pytestmark = pytest.mark.stack

COMMAND = [sys.executable, "-m", "fleetline", "simulate"]
CLEAN = {key: value for key, value in os.environ.items() if key not in {"KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"}}
HOLD = ("autopi", "device", "digital_matter", "flespi")
"""Senders that keep what was not acknowledged."""


def simulated(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, env=CLEAN, check=False, timeout=170)
    return done.returncode, orjson.loads(done.stdout or b"{}"), done.stderr.decode()


def test_whatever_was_acknowledged_under_faults_is_stored_once_for_every_sender(tmp_path: Path) -> None:
    # AP-a13, AP-a14, AP-a15, AP-a21, FL-a22, DM-a03, DM-a15, BT-a15
    faults = ["--faults", "lost-ack,broker-restart,duplicate", "--fault-share", "0.2"]
    load = ["--devices", "12", "--rate", "90", "--duration", "6", "--data", str(tmp_path / "state")]
    status, report, said = simulated("all", *load, *faults)
    assert status == 0, (report, said)
    assert report["holds"]
    assert "Kafka was killed" in said
    senders = {sender["source"]: sender for sender in report["senders"]}
    assert set(senders) == set(source_names())
    for name, sender in senders.items():
        assert sender["stored_once"] == sender["acknowledged"] > 0, sender
        assert sender["missing"] == sender["duplicated"] == sender["unexpected"] == sender["quarantined"] == 0, sender
        assert sender["readings"] == sender["acknowledged"] + sender["unacknowledged"], sender
        if name in HOLD:
            assert sender["unacknowledged"] == 0, sender
    # The faults really struck: readings went out again, some after a refusal.
    assert sum(sender["sent_again"] for sender in senders.values()) > 50
    assert sum(senders[name]["answers"].get("503", 0) for name in HOLD) > 0


def test_ctrl_c_ends_the_sending_closes_the_account_and_stops_everything(tmp_path: Path) -> None:
    command = [*COMMAND, "flespi", "--duration", "600", "--rate", "20", "--json", "--data", str(tmp_path / "state")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN)
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith(b"sending"):
                break
        urls = orjson.loads((tmp_path / "state" / "run" / "stack.json").read_bytes())
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    report = orjson.loads(out)
    assert running.returncode == 0
    assert report["interrupted"]
    assert report["holds"]
    for url in (urls["ingress_url"], urls["CLICKHOUSE_URL"], f"kafka://{urls['KAFKA_BOOTSTRAP_SERVERS']}"):
        assert not is_listening("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "no sender 'nobody' to simulate; there are: autopi,"),
        (["flespi", "--faults", "earthquake"], "no fault 'earthquake'; there are: lost-ack,"),
        ([], "say which sender to play"),
        (["flespi", "--url", "http://127.0.0.1:9", "--faults", "broker-restart"], "needs a stack of our own"),
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
    for name in source_names():
        assert name in shown
    listed = subprocess.run([*COMMAND, "--list", "--json"], capture_output=True, env=CLEAN, check=True, timeout=30)
    flespi = next(row for row in orjson.loads(listed.stdout) if row["sender"] == "flespi")
    assert (flespi["success"], flespi["in_flight"]) == ("200", "1 for the stream")
