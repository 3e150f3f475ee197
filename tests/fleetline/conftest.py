"""An installation of a test's own, which the commands find by its environment."""

import os
from pathlib import Path

import orjson
import pytest

from fleetline.settings import Settings
from schemas.ids import new_id


@pytest.fixture
def installation(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics and state folder of its own on the broker all tests share."""
    data, prefix = tmp_path / "data", f"{new_id()}."
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("PUBLIC_API_BASE_URL", raising=False)
    monkeypatch.setenv("FLEETLINE_DATA", str(data))
    monkeypatch.setenv("FLEETLINE_TOPIC_PREFIX", prefix)
    (data / "run").mkdir(parents=True)
    said = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "ingress_url": "http://127.0.0.1:4711",
        "pid": os.getpid(),
    }
    (data / "run" / "stack.json").write_bytes(orjson.dumps(said))
    return stack.model_copy(update={"data_dir": data, "topic_prefix": prefix})
