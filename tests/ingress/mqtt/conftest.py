"""The server of a module's tests, and a broker that a test may kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from schemas.ids import new_id
from tests.ingress.mqtt.helpers import Served, serving


@pytest.fixture(scope="module")
def served(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module."""
    update = {"topic_prefix": f"t{new_id()[-12:]}.", "data_dir": tmp_path_factory.mktemp("mqtt"), "partitions": 2}
    settings = stack.model_copy(update=update)
    ensure_topics(settings)
    with serving(settings) as running_server:
        yield running_server
    delete_topics(settings)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[tuple[Settings, LocalKafka]]:
    """A broker of the test's own, to be killed."""
    settings = Settings().model_copy(update={"data_dir": tmp_path, "kafka_port": free_port()})
    kafka = LocalKafka(settings)
    settings = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    kafka.start()
    try:
        kafka.wait_ready()
        ensure_topics(settings)
        yield settings, kafka
    finally:
        kafka.stop()
