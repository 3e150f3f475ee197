"""Where a command finds the stack: the environment, then the running stack's own word, then the defaults."""

import os
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleetline.errors import FleetlineError
from fleetline.local_settings import STACK_FILE, ingress_url, load_settings

VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL", "PUBLIC_API_BASE_URL")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in (
        *VARIABLES,
        *(f"FLEETLINE_{name}" for name in VARIABLES),
        "FLEETLINE_DATA",
        "FLEETLINE_PARTITIONS",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


def written(data_dir: Path, **more: Any) -> Path:
    path = data_dir / STACK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "CLICKHOUSE_URL": "http://127.0.0.1:2",
        "ingress_url": "http://127.0.0.1:3/",
    }
    path.write_bytes(orjson.dumps({**said, **more}))
    return data_dir


def test_a_running_stack_on_other_ports_is_found(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path / "data", pid=os.getpid()))
    assert settings.data_dir == tmp_path / "data"
    assert settings.kafka_bootstrap_servers == "127.0.0.1:1"
    assert settings.clickhouse_url == "http://127.0.0.1:2"
    assert ingress_url(settings) == "http://127.0.0.1:3"


@pytest.mark.parametrize("folder", [".fleetline", "elsewhere"])
def test_the_data_directory_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    written(tmp_path / folder)
    if folder != ".fleetline":
        monkeypatch.setenv("FLEETLINE_DATA", str(tmp_path / folder))
    assert load_settings().kafka_bootstrap_servers == "127.0.0.1:1"


@pytest.mark.parametrize("variable", ["KAFKA_BOOTSTRAP_SERVERS", "FLEETLINE_KAFKA_BOOTSTRAP_SERVERS"])
def test_the_environment_counts_more_than_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "broker:9092")
    monkeypatch.setenv("PUBLIC_API_BASE_URL", "https://in.example.com/")
    settings = load_settings(written(tmp_path))
    assert settings.kafka_bootstrap_servers == "broker:9092"
    assert ingress_url(settings) == "https://in.example.com"
    assert settings.clickhouse_url == "http://127.0.0.1:2"


def test_without_a_stack_there_are_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.kafka_bootstrap_servers == "127.0.0.1:9092"
    assert ingress_url(settings) == "http://127.0.0.1:8080"


def test_the_word_of_a_stack_that_was_killed_does_not_count(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert load_settings(written(tmp_path, pid=ended.pid)).kafka_bootstrap_servers == "127.0.0.1:9092"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (written(tmp_path) / STACK_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(FleetlineError, match=r"stack\.json is damaged"):
        load_settings(tmp_path)


def test_a_setting_that_cannot_be_read_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETLINE_PARTITIONS", "many")
    with pytest.raises(FleetlineError, match="partitions"):
        load_settings()
