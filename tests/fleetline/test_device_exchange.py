"""`fleetline device import` and `export` on a real broker: what is printed is true, also after kill -9."""

import csv
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from fleetline.cli import main
from fleetline.import_report import ImportReport
from fleetline.settings import Settings
from registry.exchange.events import Event, Progress, RowDone, Started
from registry.exchange.importing import CHUNK_ROWS
from registry.store import RegistryStore
from schemas.ids import new_id

pytestmark = pytest.mark.stack

VANS = "name,external_id,imei\nvan 1,e-1,1\nvan 2,e-2,2\nvan 3,e-3,3\n"


@pytest.fixture
def settings(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of our own, which the commands find by the environment."""
    data, prefix = tmp_path / "data", f"{new_id()}."
    data.mkdir()
    monkeypatch.setenv("FLEETLINE_DATA", str(data))
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", stack.kafka_bootstrap_servers)
    monkeypatch.chdir(tmp_path)
    return stack.model_copy(update={"data_dir": data, "topic_prefix": prefix})


@pytest.fixture
def store(settings: Settings) -> Iterator[RegistryStore]:
    with RegistryStore(settings, "test") as opened:
        opened.create_tenant("Acme")
        yield opened


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=given)
    assert "Traceback" not in result.output
    assert not isinstance(result.exception, AssertionError)
    return result


def names(store: RegistryStore) -> list[str]:
    view = store.refresh()
    return sorted(device.name for tenant in view.tenants() for device in view.devices(tenant.id))


def test_a_file_becomes_devices_and_the_devices_a_file(store: RegistryStore, tmp_path: Path) -> None:
    (tmp_path / "vans.csv").write_text(VANS)
    result = run("device", "import", "vans.csv", "--tenant", "Acme")
    assert result.exit_code == 0, result.output
    assert "3 rows: 3 created, 0 updated, 0 unchanged, 0 skipped, 0 refused" in result.stdout
    assert names(store) == ["van 1", "van 2", "van 3"]
    assert run("device", "export", "-o", "out.ndjson").exit_code == 0
    exported = [orjson.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert {each["external_id"]: each["name"] for each in exported} == {f"e-{n}": f"van {n}" for n in (1, 2, 3)}
    again = run("device", "import", "out.ndjson", "--on-existing", "update", "--json")
    assert again.exit_code == 0, again.output
    counts = orjson.loads(again.stdout)
    assert (counts["rows"], counts["unchanged"], counts["refused_rows"], counts["stopped"]) == (3, 3, [], None)
    piped = run("device", "export", "--format", "csv")
    assert sorted(row["name"] for row in csv.DictReader(piped.stdout.splitlines())) == names(store)
    assert not list(tmp_path.glob("*.part"))


def test_refused_rows_are_listed_with_their_lines_and_the_exit_status_says_so(
    store: RegistryStore, tmp_path: Path
) -> None:
    text = "name,imei,colour\n" + "".join(f"van {n},{n % 5},red\n" for n in range(30))
    result = run("device", "import", "-", "--report", "report.csv", given=text)
    assert result.exit_code == 1
    assert "30 rows: 5 created, 0 updated, 0 unchanged, 0 skipped, 25 refused" in result.stdout
    said = result.stderr.splitlines()
    assert "columns taken for attributes: colour" in said
    assert "line 7 refused: there is a device with this imei already" in said
    assert len([line for line in said if line.startswith("line ")]) == 20
    assert "and 5 more rows were refused; report.csv has all" in said
    with (tmp_path / "report.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["line"]) for row in rows] == list(range(2, 32))
    assert Counter(row["outcome"] for row in rows) == {"created": 5, "refused": 25}
    assert {row["device_id"] for row in rows[5:]} == {row["device_id"] for row in rows[:5]}


def test_a_dry_run_says_what_would_be_and_stores_nothing(store: RegistryStore) -> None:
    result = run("device", "import", "-", "--dry-run", given=VANS)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("dry run, nothing is stored: 3 rows: 3 created")
    assert names(store) == []
    assert run("device", "import", "-", "--dry-run", "--tokens", "t.csv", given=VANS).exit_code == 2


def test_tokens_are_in_a_file_for_its_owner_only_and_open_the_door(store: RegistryStore, tmp_path: Path) -> None:
    # AC-b09
    result = run("device", "import", "-", "--tokens", "tokens.csv", "--report", "report.ndjson", given=VANS)
    assert result.exit_code == 0, result.output
    written = tmp_path / "tokens.csv"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    with written.open(newline="") as opened:
        tokens = {row["device_id"]: row["token"] for row in csv.DictReader(opened)}
    view = store.refresh()
    assert len(tokens) == 3
    for device_id, token in tokens.items():
        credential = view.credential_for("device", False, token)
        assert credential is not None
        assert credential.device_id == device_id
        assert token not in result.output
        assert token not in (tmp_path / "report.ndjson").read_text()
    refused = run("device", "import", "-", "--tokens", "tokens.csv", given="name\nvan 4\n")
    assert refused.exit_code == 1
    assert "there already" in refused.output
    assert names(store) == ["van 1", "van 2", "van 3"]
    assert run("device", "import", "-", "--tokens", "none.csv", "--on-existing", "skip", given=VANS).exit_code == 0
    assert not (tmp_path / "none.csv").exists()


def test_a_file_of_another_kind_is_refused_in_words(store: RegistryStore, tmp_path: Path) -> None:
    (tmp_path / "picture.csv").write_bytes(random.Random(5).randbytes(100_000))
    (tmp_path / "excel.csv").write_bytes(VANS.encode("utf-16"))
    assert run("device", "import", "picture.csv").exit_code == 1
    assert "UTF-16" in run("device", "import", "excel.csv").stderr
    assert "does not exist" in run("device", "import", "nowhere.csv").output
    assert names(store) == []


def test_an_import_killed_anywhere_and_run_again_makes_every_device_once(store: RegistryStore, tmp_path: Path) -> None:
    count = 24 * CHUNK_ROWS
    rows = "".join(f"van {n},e-{n},{n:015}\n" for n in range(count))
    (tmp_path / "vans.csv").write_text(f"name,external_id,imei\n{rows}")
    told: dict[int, str] = {}
    chance = random.Random(11)
    for attempt in range(2):
        report = tmp_path / f"killed-{attempt}.ndjson"
        process = subprocess.Popen(
            [sys.executable, *"-m fleetline device import vans.csv --on-existing skip --report".split(), str(report)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        )
        try:
            wanted = (attempt + 2) * CHUNK_ROWS
            deadline = time.monotonic() + 120
            while len(reported(report)) < wanted and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(chance.random() * 0.2)  # wherever that is: in a plan, a transaction, the report
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        told |= {row["line"]: row["device_id"] for row in reported(report)}
        stored = {device.id for tenant in store.refresh().tenants() for device in store.view.devices(tenant.id)}
        assert set(told.values()) <= stored
        assert len(told) <= len(stored) < count
    result = run("device", "import", "vans.csv", "--on-existing", "skip", "--report", "last.ndjson", "--json")
    assert result.exit_code == 0, result.output
    counts = orjson.loads(result.stdout)
    assert counts["created"] == count - len(stored)
    assert counts["skipped"] == len(stored)
    last = {row["line"]: row["device_id"] for row in reported(tmp_path / "last.ndjson")}
    assert list(last) == list(range(2, count + 2))
    assert last.items() >= told.items()
    assert len(set(last.values())) == count
    assert Counter(names(store)) == {f"van {n}": 1 for n in range(count)}


def reported(path: Path) -> list[dict[str, Any]]:
    """Read a report as far as its last whole line."""
    whole, _, _ = path.read_bytes().rpartition(b"\n") if path.exists() else (b"", b"", b"")
    return [orjson.loads(line) for line in whole.splitlines()]


def test_ctrl_c_leaves_a_report_of_what_is_stored_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def events() -> Iterator[Event]:
        yield Started(format="csv")
        yield RowDone(line=2, outcome="created", device_id="d", name="=van")
        yield Progress(rows=1, created=1, line=2)
        raise KeyboardInterrupt

    with ImportReport(tokens=None, rows=tmp_path / "report.csv") as report:
        report.follow(events())
    report.tell(as_json=False)
    assert not report.is_clean
    assert (tmp_path / "report.csv").read_text().splitlines()[1] == "2,created,d,'=van,"
    said = capsys.readouterr()
    assert "Everything up to line 2 is stored." in said.err
    assert "--on-existing skip" in said.err
    assert "1 rows: 1 created" in said.out
