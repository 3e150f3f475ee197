"""A broker that hangs (its connections stay, nothing is answered): every sender is told in time, and nothing is lost."""

import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fleetline.local.kafka import LocalKafka
from fleetline.settings import Settings
from registry.store import RegistryStore
from tests.ingress.test_durable import broker, door, post, readiness, spooled
from tests.support import read_all, until

pytestmark = pytest.mark.stack
__all__ = ["broker"]


@contextmanager
def hanging(kafka: LocalKafka) -> Iterator[None]:
    os.kill(kafka.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.child.pid, signal.SIGCONT)


def test_while_the_broker_hangs_every_sender_is_told_within_4_5_s_and_all_of_it_arrives(
    broker: tuple[Settings, LocalKafka],
) -> None:
    # BT-a08, AC-a37, FL-a24
    settings, kafka = broker
    with RegistryStore(settings) as store:
        tenant = store.create_tenant("T")
        flespi, biketrax = (store.create_credential(tenant, source)[1] for source in ("flespi", "biketrax"))

    def event(number: int) -> tuple[int, float]:
        url = f"http://127.0.0.1:{settings.ingress_port}/in/biketrax"
        request = urllib.request.Request(url, data=b"%d" % number, headers={"Authorization": biketrax})
        started = time.monotonic()
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), time.monotonic() - started

    with door(settings, flespi) as process:
        assert event(0)[0] == 200
        with hanging(kafka):
            told: list[tuple[int, float]] = []
            refused: list[tuple[int, float]] = []
            threads = [threading.Thread(target=lambda n=n: told.append(event(n))) for n in range(1, 11)]
            threads += [
                threading.Thread(target=lambda n=n: refused.append(post(settings, flespi, b"no-%d" % n)[:2]))
                for n in range(5)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            assert [status for status, _ in told] == [200] * 10
            assert [status for status, _ in refused] == [503] * 5
            assert max(seconds for _, seconds in told + refused) < 4.5
            later = [event(number) for number in range(11, 40)]  # one after the other: in this order
            assert [status for status, _ in later] == [200] * 29
            assert max(seconds for _, seconds in later) < 1
            assert post(settings, flespi, b"no")[0] == 503
            assert "spooled" in readiness(settings)
            assert spooled(settings)
        until(lambda: not spooled(settings), 20, process.log_tail())
        until(lambda: readiness(settings) == "ready\n", 10)
        assert event(40)[0] == 200

    bodies = [int(record.value()) for record in read_all(settings, settings.topics.raw("biketrax"))]
    assert set(bodies) == set(range(41))
    times = Counter(bodies)
    # what Kafka may have had when it froze comes from there and from the spool, with the same canonical id
    assert {number for number, count in times.items() if count > 1} <= set(range(1, 11))
    assert [number for number in bodies if number >= 11] == list(range(11, 41))
