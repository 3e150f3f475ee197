"""The real Kafka and the real ClickHouse, once for the whole run; sockets only for the tests that say they need them.

`FLEETLINE_STACK=docker` takes containers instead of the local ones.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from typing import Any

import hypothesis
import pytest
import pytest_socket

from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.local.clickhouse import LocalClickHouse
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from schemas.ids import new_id

hypothesis.settings.register_profile("fleetline", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("fleetline")

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.fixture(autouse=True)
def _sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let marked tests talk to this machine, and nobody talk to another."""
    if request.node.get_closest_marker("stack"):
        pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
    pytest_socket._remove_restrictions()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Start Kafka and ClickHouse, and return settings that reach them. No component runs."""
    base = Settings(data_dir=tmp_path_factory.mktemp("stack"), delivery_allow_networks=LOOPBACK)
    with ExitStack() as closing:
        if os.environ.get("FLEETLINE_STACK") == "docker":
            yield _containers(base, closing)
            return
        settings = base.model_copy(update={"kafka_port": free_port(), "clickhouse_port": free_port()})
        kafka, clickhouse = LocalKafka(settings), LocalClickHouse(settings)
        closing.callback(kafka.stop)
        closing.callback(clickhouse.stop)
        clickhouse.start()
        kafka.start()
        kafka.wait_ready()
        clickhouse.wait_ready()
        yield settings.model_copy(
            update={"kafka_bootstrap_servers": kafka.bootstrap_servers, "clickhouse_url": clickhouse.url}
        )


def _containers(base: Settings, closing: ExitStack) -> Settings:
    from testcontainers.clickhouse import ClickHouseContainer
    from testcontainers.kafka import KafkaContainer

    kafka = closing.enter_context(KafkaContainer().with_kraft())
    clickhouse = closing.enter_context(ClickHouseContainer("clickhouse/clickhouse-server:26.3"))
    address = f"{clickhouse.get_container_host_ip()}:{clickhouse.get_exposed_port(8123)}"
    return base.model_copy(
        update={
            "kafka_bootstrap_servers": kafka.get_bootstrap_server(),
            "clickhouse_url": f"http://{clickhouse.username}:{clickhouse.password}@{address}",
        }
    )


@pytest.fixture
def settings(stack: Settings, tmp_path: Any) -> Settings:
    """Give a test its own topic names, its own database and its own state folder."""
    name = f"t{new_id()[-12:]}"
    url = f"{stack.clickhouse_url.rstrip('/')}/{name}"
    return stack.model_copy(
        update={
            "topic_prefix": f"{name}.",
            "clickhouse_url": url,
            "data_dir": tmp_path / "data",
            "partitions": 2,
            "kafka_session_timeout_ms": 3000,
        }
    )


@pytest.fixture
def topics(settings: Settings) -> Iterator[Settings]:
    """Make the test's topics, and remove them afterwards."""
    ensure_topics(settings)
    yield settings
    delete_topics(settings)
