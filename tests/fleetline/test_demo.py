"""The demo is the whole road at once: it must close its account, and be able to fail."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from fleetline.demo.plan import Plan, make_plan
from fleetline.demo.receiver import Receiver
from fleetline.demo.run import close_account
from fleetline.settings import Settings
from sources.catalog import source_names

pytestmark = pytest.mark.stack


def plan_in(folder: Path) -> Plan:
    return make_plan(Settings().model_copy(update={"data_dir": folder}), "http://127.0.0.1:1/webhooks")


def test_the_demo_closes_its_account(tmp_path: Path) -> None:
    clean = {
        key: value for key, value in os.environ.items() if key not in {"KAFKA_BOOTSTRAP_SERVERS", "CLICKHOUSE_URL"}
    }
    command = [sys.executable, "-m", "fleetline", "demo", "--json", "--data", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, env=clean, check=False, timeout=150)
    account = orjson.loads(done.stdout)
    assert account["closes"], account
    assert done.returncode == 0
    promised = {line["what"]: line["promised"] for line in account["account"]}
    assert promised["canonical records in ClickHouse"] == plan_in(tmp_path).records


def test_the_demo_sends_every_source(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert {posting.source for posting in plan.postings} == set(source_names())
    assert plan.quarantined > 0
    assert plan.sender_events > 0


def test_an_account_with_one_record_missing_does_not_close(tmp_path: Path) -> None:
    plan, receiver = plan_in(tmp_path), Receiver()
    events = plan.sender_events + 2
    receiver.webhooks = {str(n): {} for n in range(events)}
    found = {
        "telemetry": plan.records,
        "unmapped": 0,
        "quarantine": plan.quarantined,
        "sender events": plan.sender_events,
        "detected events": 2,
        "delivered": events,
    }
    assert close_account(plan, found, receiver).closes
    for name in ("telemetry", "quarantine", "sender events", "delivered"):
        assert not close_account(plan, {**found, name: found[name] - 1}, receiver).closes
    receiver.repeats = 1
    assert not close_account(plan, found, receiver).closes
