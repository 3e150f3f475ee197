"""The README's first payloads, pasted as they stand into a shell beside a whole stack on free ports."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from fleetline.local.process import free_port
from fleetline.settings import DOORS, Settings
from tests.support import until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
MOSQUITTO = shutil.which("mosquitto_pub")
PRELUDE = f"""
set -euo pipefail
fleetline() {{ {sys.executable} -m fleetline "$@"; }}
python() {{ {sys.executable} "$@"; }}
"""


def test_the_readmes_payloads_are_answered_and_can_be_looked_at(whole: Settings) -> None:
    prepare, send, look = (_here(block, whole) for block in _blocks("Send your first payloads")[1:])
    sent = _shell(prepare + send, whole)
    assert sent.count("HTTP/1.1 200 OK") == 2
    assert '{"type":"ack","id":7,"count":1}' in sent
    rows = "fleetline sql --json 'select latitude from telemetry order by observed_at'"
    promised = 4 if MOSQUITTO else 3
    stored = until(
        lambda: (found := orjson.loads(_shell(rows, whole))) and len(found) == promised and found, 60, "rows"
    )
    assert stored[0]["latitude"] == 49.069782
    shown = _shell(look, whole)
    assert "24.5" in shown
    assert "24.7" in shown
    assert '"booleans":{"engine.ignition.status":true}' in shown


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Settings]:
    """Start what `fleetline up` starts."""
    ports = {f"{name}_port": free_port() for name in (*DOORS, "kafka", "clickhouse")}
    settings = Settings().model_copy(update={"data_dir": tmp_path / "state", **ports})
    given = [f"--{name.replace('_', '-')}={port}" for name, port in ports.items()]
    command = [sys.executable, "-m", "fleetline", "up", "--json", "--data", str(settings.data_dir), *given]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(settings)
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the stack did not start"
            yield settings
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _blocks(section: str) -> list[str]:
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _here(block: str, settings: Settings) -> str:
    """Return a block with this stack's ports, and without what needs a program that is not installed."""
    for port, there in ((8080, settings.ingress_port), (1883, settings.mqtt_port), (8082, settings.websocket_port)):
        block = block.replace(str(port), str(there))
    block = block.replace(". .venv/bin/activate", "")
    return block if MOSQUITTO else re.sub(r"^mosquitto_pub .*$", "", block, flags=re.MULTILINE)


def _shell(script: str, settings: Settings) -> str:
    done = subprocess.run(
        ["bash", "-c", PRELUDE + script], capture_output=True, env=_environment(settings), check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _environment(settings: Settings) -> dict[str, str]:
    foreign = {"KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"}
    own = {key: value for key, value in os.environ.items() if key not in foreign}
    return {**own, "FLEETLINE_DATA": str(settings.data_dir), "COLUMNS": "200"}
