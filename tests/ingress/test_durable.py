"""A 200 is durable: the real ingress process before a real broker that dies and comes back."""

import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetline.kafka_admin import ensure_topics
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import Child, free_port, is_listening
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


def post(settings: Settings, secret: str, body: bytes, source: str = "flespi") -> tuple[int, float, str]:
    """Return status, seconds and Retry-After."""
    url = f"http://127.0.0.1:{settings.ingress_port}/in/{source}"
    request = urllib.request.Request(url, data=body, headers={"Authorization": f"Bearer {secret}"})
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, time.monotonic() - started, ""
    except urllib.error.HTTPError as error:
        return error.code, time.monotonic() - started, error.headers.get("Retry-After", "")
    except urllib.error.URLError:
        return 0, time.monotonic() - started, ""


@contextmanager
def ingress(settings: Settings) -> Iterator[tuple[Child, str]]:
    """Run the real ingress with one tenant, and return its process and a credential of flespi."""
    with RegistryStore(settings) as store:
        _, secret = store.create_credential(store.create_tenant("T"), "flespi")
    with door(settings, secret) as process:
        yield process, secret


@contextmanager
def door(settings: Settings, secret: str) -> Iterator[Child]:
    """Run the real ingress, from when it takes the credential on."""
    process = child(settings, "ingress", "-m", "fleetline", "serve", "ingress")
    process._environment["FLEETLINE_INGRESS_PORT"] = str(settings.ingress_port)
    with running(process):
        until(lambda: readiness(settings) == "ready\n", 40, process.log_tail())
        until(lambda: post(settings, secret, b"first")[0] == 200, 40, process.log_tail())
        yield process


def readiness(settings: Settings) -> str:
    """Ask the readiness probe; what it says when it is ready, else nothing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.ingress_port}/readyz", timeout=5) as answer:
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


def stored(settings: Settings, source: str = "flespi") -> set[bytes]:
    return {record.value() for record in read_all(settings, settings.topics.raw(source))}


def spooled(settings: Settings) -> list[Path]:
    return list(settings.data_dir.glob("spool/*/*.spool"))


def head(secret: str, *lines: str) -> bytes:
    fields = ["POST /in/flespi HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", *lines]
    return "".join(f"{field}\r\n" for field in [*fields, ""]).encode()


def test_a_200_is_durable_and_a_dead_broker_is_503_until_it_is_back(broker: tuple[Settings, LocalKafka]) -> None:
    settings, kafka = broker
    with ingress(settings) as (process, secret):
        acknowledged = {b"first"}
        for number in range(5):
            assert post(settings, secret, b"before-%d" % number)[0] == 200
            acknowledged.add(b"before-%d" % number)
            assert acknowledged <= stored(settings)  # at the moment of the 200, not some time later

        kafka.kill()
        for number in range(3):
            status, seconds, retry_after = post(settings, secret, b"away-%d" % number)
            assert (status, retry_after) == (503, "5")
            assert seconds < 4.5  # two networks give up at 5 s
        parallel: list[tuple[int, float, str]] = []
        threads = [threading.Thread(target=lambda: parallel.append(post(settings, secret, b"away"))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert [status for status, _, _ in parallel] == [503] * 10
        seconds_each = sorted(seconds for _, seconds, _ in parallel)
        assert seconds_each[-1] < 1  # the broker is looked for in the background; nobody waits for it

        kafka.start()
        kafka.wait_ready()
        until(lambda: post(settings, secret, b"back")[0] == 200, 30, process.log_tail())
        acknowledged.add(b"back")
        for number in range(50):
            assert post(settings, secret, b"after-%d" % number)[0] == 200
            acknowledged.add(b"after-%d" % number)
        assert process.is_running  # it was never restarted
        assert acknowledged <= stored(settings)


def test_a_stream_that_waits_for_each_reply_waits_little(broker: tuple[Settings, LocalKafka]) -> None:
    # FL-a04: the next portion comes after the reply, so a slow reply is a slow stream
    settings, _ = broker
    with ingress(settings) as (_process, secret):
        waits = sorted(
            post(settings, secret, b'[{"ident": "1", "timestamp": %d}]' % number)[1] for number in range(200)
        )
        assert waits[100] < 0.05


def test_who_goes_away_stores_nothing_and_who_is_slow_is_served_through_sigterm(
    broker: tuple[Settings, LocalKafka],
) -> None:
    settings, _ = broker
    address = ("127.0.0.1", settings.ingress_port)
    with ingress(settings) as (process, secret):
        for framing, part in (("Content-Length: 100", b"half"), ("Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
            with socket.create_connection(address) as gone:
                gone.sendall(head(secret, framing) + part)
                time.sleep(0.2)
        assert post(settings, secret, b"next")[0] == 200
        with socket.create_connection(address, timeout=10) as slow:
            slow.sendall(head(secret, "Content-Length: 8") + b"slow")
            time.sleep(0.3)
            process.signal_stop()
            until(lambda: not is_listening(*address), 5, "the door closes to new senders")
            assert process.is_running
            slow.sendall(b"body")
            assert slow.recv(1000).startswith(b"HTTP/1.1 200 ")
        until(lambda: process.exit_status is not None, 10, "the end after SIGTERM")
        assert process.exit_status == 0
    assert stored(settings) == {b"first", b"next", b"slowbody"}


def test_who_never_sends_again_is_spooled_through_a_kill_of_broker_and_ingress(
    broker: tuple[Settings, LocalKafka],
) -> None:
    # BT-a08, AC-a37, FL-a24: a 200 within 5 s for those who give up then, a 503 at once for those who come again
    settings, kafka = broker
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        flespi, biketrax = (store.create_credential(tenant, source)[1] for source in ("flespi", "biketrax"))
    url = f"http://127.0.0.1:{settings.ingress_port}/in/biketrax"

    def event(number: int) -> int:
        request = urllib.request.Request(url, data=b"%d" % number, headers={"Authorization": biketrax})
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert time.monotonic() - started < 4.5
            return int(answer.status)

    with door(settings, flespi) as process:
        assert event(0) == 200
        kafka.kill()
        assert [event(number) for number in range(1, 30)] == [200] * 29
        status, seconds, _ = post(settings, flespi, b"away")
        assert (status, seconds < 1) == (503, True)
        assert spooled(settings)
        assert "spooled" in readiness(settings)
        process.kill()
    kafka.start()
    kafka.wait_ready()
    with door(settings, flespi):
        assert event(30) == 200
        until(lambda: not spooled(settings), 20, "the spool is replayed")
    assert stored(settings, "biketrax") == {b"%d" % number for number in range(31)}


def test_a_door_started_while_kafka_is_away_knows_its_senders_from_the_local_copy_and_spools(
    broker: tuple[Settings, LocalKafka],
) -> None:
    settings, kafka = broker
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        flespi, biketrax = (store.create_credential(tenant, source)[1] for source in ("flespi", "biketrax"))

        def event(secret: str, number: int) -> int:
            url = f"http://127.0.0.1:{settings.ingress_port}/in/biketrax"
            request = urllib.request.Request(url, data=b"%d" % number, headers={"Authorization": secret})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        with door(settings, flespi) as process:
            assert event(biketrax, 0) == 200
            _, later = store.create_credential(tenant, "biketrax")
            until(lambda: event(later, 1) == 200, 5)
            process.kill()
        kafka.kill()
        process = child(settings, "ingress", "-m", "fleetline", "serve", "ingress")
        process._environment["FLEETLINE_INGRESS_PORT"] = str(settings.ingress_port)
        with running(process):
            until(lambda: "spooled" in readiness(settings), 40, process.log_tail())
            assert [event(biketrax, 2), event(later, 3), event("a stranger's", 4)] == [200, 200, 401]
            assert post(settings, flespi, b"away")[0] == 503
            kafka.start()
            kafka.wait_ready()
            until(lambda: not spooled(settings), 30, process.log_tail())
            _, last = store.create_credential(tenant, "biketrax")
            until(lambda: event(last, 5) == 200, 10, process.log_tail())
    assert stored(settings, "biketrax") == {b"%d" % number for number in (0, 1, 2, 3, 5)}
