"""Kafka and ClickHouse on this machine: they keep what they were given, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import clickhouse_connect
import orjson
import psutil
import pytest

from fleetline.errors import PortTaken
from fleetline.kafka_admin import ensure_topics, topic_manifest
from fleetline.local.clickhouse import LocalClickHouse
from fleetline.local.kafka import LocalKafka, classpath
from fleetline.local.process import free_port, is_listening
from fleetline.settings import DOORS, Settings
from sources.catalog import source_names
from tests.support import environment, produce, read_all, until

pytestmark = pytest.mark.stack


def own(tmp_path: Path) -> Settings:
    kafka, clickhouse = free_port(), free_port()
    return Settings().model_copy(
        update={
            "data_dir": tmp_path,
            "kafka_port": kafka,
            "clickhouse_port": clickhouse,
            **{f"{name}_port": free_port() for name in DOORS},
            "kafka_bootstrap_servers": f"127.0.0.1:{kafka}",
            "clickhouse_url": f"http://127.0.0.1:{clickhouse}",
        }
    )


def test_kafka_keeps_its_records_through_kill_9_and_frees_its_port(tmp_path: Path) -> None:
    settings = own(tmp_path)
    kafka = LocalKafka(settings)
    kafka.start()
    try:
        kafka.wait_ready()
        assert set(ensure_topics(settings)) == set(topic_manifest(settings))
        assert ensure_topics(settings) == []
        assert {settings.topics.raw(name) for name in source_names()} <= set(topic_manifest(settings))
        produce(settings, settings.topics.telemetry, [(b"k", b"kept", [])])
        with pytest.raises(PortTaken, match=str(settings.kafka_port)):
            LocalKafka(settings).start()
        kafka.kill()
        kafka.start()
        kafka.wait_ready()
        assert [record.value() for record in read_all(settings, settings.topics.telemetry)] == [b"kept"]
    finally:
        kafka.stop()
    assert not is_listening("127.0.0.1", settings.kafka_port)


def test_a_second_start_asks_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    import jgo

    classpath(lambda _: None)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network must not be needed")

    monkeypatch.setattr(jgo, "build", refuse)
    assert all(Path(jar).is_file() for jar in classpath(lambda _: None))


def test_clickhouse_keeps_rows_and_tokens_through_kill_9(tmp_path: Path) -> None:
    settings = own(tmp_path)
    server = LocalClickHouse(settings)

    def insert(token: str, rows: int = 200_000) -> int:
        with clickhouse_connect.get_client(
            host="127.0.0.1", port=settings.clickhouse_port, autogenerate_session_id=False, compress="lz4"
        ) as client:
            client.command(
                "CREATE TABLE IF NOT EXISTS t (n UInt64, a UInt64, b UInt64, c UInt64) ENGINE = MergeTree ORDER BY n"
                " SETTINGS non_replicated_deduplication_window = 1000"
            )
            client.insert(
                "t", [list(range(rows))] * 4, column_names=list("nabc"), column_type_names=["UInt64"] * 4, column_oriented=True,
                settings={"insert_deduplication_token": token},
            )  # fmt: skip
            return int(
                client.query("SELECT count() FROM t WHERE n < {most:UInt64}", parameters={"most": rows}).result_rows[0][
                    0
                ]
            )

    server.start()
    try:
        server.wait_ready()
        # A frame takes 2 MiB of rows: at 32 bytes a row it is 65,536, and a one-frame decoder drops what comes after.
        assert insert("a") == 200_000
        assert insert("a") == 200_000
        with pytest.raises(PortTaken, match=str(settings.clickhouse_port)):
            LocalClickHouse(settings).start()
        server.kill()
        server.start()
        server.wait_ready()
        assert insert("a") == 200_000
        assert insert("b") == 400_000
    finally:
        server.stop()
    assert not is_listening("127.0.0.1", settings.clickhouse_port)


PARENT = """
import sys, time
from pathlib import Path
from fleetline.local.process import Child
child = Child("sleeper", ["sleep", "300"], Path(sys.argv[1]), {})
child.start()
print(child.pid, flush=True)
time.sleep(300)
"""


def test_children_do_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    path = {**os.environ, "PYTHONPATH": environment(Settings())["PYTHONPATH"]}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, env=path
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not has_ended(pid)
        parent.kill()
    until(lambda: has_ended(pid), 5, "the end of the child")


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone; where nobody reaps orphans it stays behind as a zombie."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_up_starts_everything_and_leaves_nothing(tmp_path: Path) -> None:
    settings = own(tmp_path / "state")
    ports = [
        f"--{name}-port={getattr(settings, f'{name}_port')}" for name in (*DOORS, "kafka", "clickhouse")
    ]  # fmt: skip
    command = [sys.executable, "-m", "fleetline", "up", "--json", "--data", str(settings.data_dir), *ports]
    clean = {
        key: value for key, value in os.environ.items() if key not in {"KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"}
    }
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean) as process:
        assert process.stdout is not None
        urls = orjson.loads(process.stdout.readline())
        ready = time.monotonic() - started
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 9
        second = subprocess.run(command, capture_output=True, env=clean, check=False)
        assert (second.returncode, b"another stack runs" in second.stderr) == (1, True)
        reset = [sys.executable, "-m", "fleetline", "reset", "--yes", "--data", str(settings.data_dir)]
        refused = subprocess.run(reset, capture_output=True, env=clean, check=False)
        assert (refused.returncode, b"a stack runs on" in refused.stderr) == (1, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert urls["ingress"].endswith(str(settings.ingress_port))
    assert urls["mqtt"] == f"mqtt://127.0.0.1:{settings.mqtt_port}"
    assert urls["admin"] == f"http://127.0.0.1:{settings.admin_port}"
    assert urls["websocket"] == f"ws://127.0.0.1:{settings.websocket_port}"
    assert ready < 40  # the figure on an idle machine is in benchmarks/RESULTS.md
    assert not [child for child in children if child.is_running()]
    assert not any(
        is_listening("127.0.0.1", port)
        for port in (settings.kafka_port, settings.clickhouse_port, *settings.door_ports().values())
    )
