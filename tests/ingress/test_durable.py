"""A 200 is durable: the real ingress process before a real broker that dies and comes back."""

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetline.kafka_admin import ensure_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.store import RegistryStore
from tests.support import child, read_all, running, until

pytestmark = pytest.mark.stack


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Settings, LocalKafka]]:
    settings = Settings().model_copy(
        update={"data_dir": tmp_path, "kafka_port": free_port(), "ingress_port": free_port()}
    )
    kafka = LocalKafka(settings)
    settings = settings.model_copy(update={"kafka_bootstrap_servers": kafka.bootstrap_servers})
    kafka.start()
    try:
        kafka.wait_ready()
        ensure_topics(settings)
        yield settings, kafka
    finally:
        kafka.stop()


def post(settings: Settings, secret: str, body: bytes) -> tuple[int, float, str]:
    """Return status, seconds and Retry-After."""
    url = f"http://127.0.0.1:{settings.ingress_port}/in/flespi"
    request = urllib.request.Request(url, data=body, headers={"Authorization": f"Bearer {secret}"})
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, time.monotonic() - started, ""
    except urllib.error.HTTPError as error:
        return error.code, time.monotonic() - started, error.headers.get("Retry-After", "")
    except urllib.error.URLError:
        return 0, time.monotonic() - started, ""


def test_a_200_is_durable_and_a_dead_broker_is_503_until_it_is_back(broker: tuple[Settings, LocalKafka]) -> None:
    settings, kafka = broker
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        _, secret = store.create_credential(tenant, "flespi")
    process = child(settings, "ingress", "-m", "fleetline", "serve", "ingress")
    process._environment["FLEETLINE_INGRESS_PORT"] = str(settings.ingress_port)
    with running(process):
        until(lambda: post(settings, secret, b"first")[0] == 200, 40, process.log_tail())
        acknowledged = {b"first"}
        assert b"first" in {record.value() for record in read_all(settings, settings.topics.raw("flespi"))}

        kafka.kill()
        for number in range(3):
            status, seconds, retry_after = post(settings, secret, b"away-%d" % number)
            assert (status, retry_after) == (503, "5")
            assert seconds < 4.6  # two networks give up at 5 s
        parallel: list[tuple[int, float, str]] = []
        threads = [threading.Thread(target=lambda: parallel.append(post(settings, secret, b"away"))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert {status for status, _, _ in parallel} == {503}
        assert max(seconds for _, seconds, _ in parallel) < 4.6

        kafka.start()
        kafka.wait_ready()
        until(lambda: post(settings, secret, b"back")[0] == 200, 30, process.log_tail())
        acknowledged.add(b"back")
        for number in range(50):
            assert post(settings, secret, b"after-%d" % number)[0] == 200
            acknowledged.add(b"after-%d" % number)

        with socket.create_connection(("127.0.0.1", settings.ingress_port)) as half:
            head = f"POST /in/flespi HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: 100\r\n\r\nhalf"
            half.sendall(head.encode())
        process.stop()
        assert process.exit_status == 0
    stored = {record.value() for record in read_all(settings, settings.topics.raw("flespi"))}
    assert acknowledged <= stored
    assert not any(value.startswith(b"half") for value in stored)
