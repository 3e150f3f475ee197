"""An acknowledged publish is durable: the real server before a real broker that hangs, dies and comes back, and dying itself."""

import os
import signal
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from fleetline.local.kafka import LocalKafka
from fleetline.local.process import free_port
from fleetline.settings import Settings
from sources.catalog import load_source
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw
from tests.ingress.mqtt import packets as client
from tests.ingress.mqtt.helpers import Served, connected, serving
from tests.support import until

pytestmark = pytest.mark.stack

ME = "v1/devices/me/telemetry"
Broker = tuple[Settings, LocalKafka]


def body(number: int) -> bytes:
    """Make a reading with a time of its own: sent again it is the same reading."""
    return orjson.dumps({"ts": 1_767_322_805_000 + number, "values": {"number": number}})


def canonical_ids(served: Served) -> list[Any]:
    """Return the ids of the canonical records, one for each raw record."""
    source, ids = load_source("device"), []
    for record in served.stored():
        request = request_from_raw(
            record.headers(), record.value(), record.topic(), record.partition(), record.offset()
        )
        ids += [made.record["id"] for made in canonicalize(source, request) if isinstance(made, Canonical)]
    return ids


def open_socket(served: Served, who: str = "device", **more: Any) -> socket.socket:
    """Connect without a library."""
    opened = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    opened.sendall(client.connect(served.tokens[who], **more))
    assert opened.recv(100)[:1] == b"\x20"
    return opened


def read_until_closed(opened: socket.socket) -> bytes:
    """Read what comes until the server closes."""
    found = b""
    while data := opened.recv(65_536):
        found += data
    return found


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_while_the_broker_hangs_nothing_is_acknowledged_and_later_everything_is(
    own_broker: Broker, v5: bool, qos: int
) -> None:
    # AC-c10
    settings, kafka = own_broker
    with (
        serving(settings) as served,
        connected(served.port, served.tokens["device"], v5=v5, clean_session=False, reconnect=True)
        if not v5
        else connected(served.port, served.tokens["device"], v5=True, reconnect=True) as sender,
    ):
        assert sender.publish(ME, body(0), qos) == 0
        os.kill(kafka.child.pid, signal.SIGSTOP)
        try:
            waiting = [sender.paho.publish(ME, body(number), qos) for number in range(1, 11)]
            assert sender.gone.wait(15)  # it cannot be durable in time: the connection ends, so that it is sent again
            assert not any(message.is_published() for message in waiting)
            assert sender.endings[0] == (0x97 if v5 else sender.endings[0])
        finally:
            os.kill(kafka.child.pid, signal.SIGCONT)
        for message in waiting:
            message.wait_for_publish(60)
            assert message.is_published()
        ids = canonical_ids(served)
        assert {body(number) for number in range(11)} <= set(served.bodies())
        assert len(set(ids)) == 11  # whatever came twice is the same record


def test_a_broker_that_dies_and_comes_back_loses_nothing_that_was_acknowledged(own_broker: Broker) -> None:
    # AC-c10
    settings, kafka = own_broker
    with serving(settings) as served:
        acknowledged: set[bytes] = set()
        stopped = threading.Event()

        def send(worker: int) -> None:
            with connected(served.port, served.tokens["device"], clean_session=False, reconnect=True) as sender:
                sender.paho.reconnect_delay_set(1, 1)
                number = worker * 1_000_000
                while not stopped.is_set():
                    number += 1
                    message = sender.paho.publish(ME, body(number), 1)
                    while not message.is_published() and not stopped.is_set():
                        message_waits(message)
                    if message.is_published():
                        acknowledged.add(body(number))

        threads = [threading.Thread(target=send, args=(worker,)) for worker in range(1, 4)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(acknowledged) > 100, 30, "publishes before")
            kafka.kill()
            time.sleep(6)
            before = len(acknowledged)
            time.sleep(1)
            assert len(acknowledged) == before  # nothing is acknowledged without a broker
            kafka.start()
            kafka.wait_ready()
            until(lambda: len(acknowledged) > before + 100, 60, served.process.log_tail())
        finally:
            stopped.set()
            for thread in threads:
                thread.join(20)
        assert served.process.is_running  # it was never restarted
        assert acknowledged <= set(served.bodies())


def message_waits(message: Any) -> None:
    """Wait a little for an acknowledgement; paho raises while it is not connected."""
    try:
        message.wait_for_publish(0.5)
    except (RuntimeError, ValueError):
        time.sleep(0.1)


def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(served: Served) -> None:
    # AC-c10
    with serving(served.settings) as own, open_socket(own) as opened:
        sent = [client.publish(ME, body(number), 1, number) for number in range(1, 2001)]
        sender = threading.Thread(target=_send, args=(opened, b"".join(sent)))
        sender.start()
        answers = b""
        while len(answers) < 400:
            answers += opened.recv(400)
        own.process.kill()
        with suppress(OSError):
            answers += read_until_closed(opened)
        sender.join(20)
        numbers = [int.from_bytes(answers[at + 2 : at + 4], "big") for at in range(0, len(answers) - 3, 4)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert {body(number) for number in numbers} <= set(own.bodies())


def _send(opened: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        opened.sendall(data)


def test_sigterm_finishes_what_is_in_flight_and_says_goodbye(own_broker: Broker) -> None:
    settings, kafka = own_broker
    with serving(settings) as served, open_socket(served) as four, open_socket(served, level=5, client_id="5") as five:
        four.sendall(client.publish(ME, body(1), 1, 1))
        assert four.recv(100) == client.puback(1)  # the topic is known now
        os.kill(kafka.child.pid, signal.SIGSTOP)
        try:
            four.sendall(client.publish(ME, body(2), 1, 2))
            five.sendall(client.publish(ME, body(3), 2, 3, level=5))
            time.sleep(0.5)
            served.process.signal_stop()
            until(lambda: _is_closed(served.port), 5, "the door closes to new clients")
            assert served.process.is_running
        finally:
            os.kill(kafka.child.pid, signal.SIGCONT)
        assert read_until_closed(four) == client.puback(2)
        assert read_until_closed(five) == client.puback(3, kind=0x50) + b"\xe0\x01\x8b"
        until(lambda: served.process.exit_status is not None, 10, "the end after SIGTERM")
        assert served.process.exit_status == 0
        assert {body(1), body(2), body(3)} == set(served.bodies())


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_qos_0_goes_to_the_spool_while_the_broker_is_away(own_broker: Broker) -> None:
    settings, kafka = own_broker
    with serving(settings) as served, open_socket(served, keep_alive=0) as opened:
        kafka.kill()
        opened.sendall(b"".join(client.publish(ME, body(number), 0) for number in range(20)))
        time.sleep(4)  # the broker's silence has to be noticed
        kafka.start()
        kafka.wait_ready()
        expected = {body(number) for number in range(20)}
        until(lambda: expected <= set(served.bodies()), 60, served.process.log_tail())


def test_slow_and_silent_clients_are_served_and_ended(served: Served) -> None:
    started = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=20) as silent,
        open_socket(served, client_id="slow") as slow,
        open_socket(served, client_id="short", keep_alive=2, level=5) as short,
    ):
        for byte in client.publish(ME, body(77), 1, 5):
            slow.sendall(bytes((byte,)))
            time.sleep(0.005)
        assert slow.recv(100) == client.puback(5)
        assert read_until_closed(short) == b"\xe0\x01\x8d"  # 1.5 × 2 s later
        assert 2.5 < time.monotonic() - started < 7
        assert silent.recv(100) == b""  # no CONNECT within 10 s
        assert 9 < time.monotonic() - started < 13


def test_a_client_that_never_reads_its_answers_is_no_longer_read(served: Served) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", served.port))
        deaf.settimeout(2)
        deaf.sendall(client.connect(served.tokens["device"], client_id="deaf"))
        pings = client.PING * 20_000
        with pytest.raises(TimeoutError):  # their answers fill the pipe back, then nothing is taken from this one
            _send_for_ever(deaf, pings)
        with connected(served.port, served.tokens["device"]) as other:
            assert other.publish(ME, body(78)) == 0  # and nobody else suffers


def _send_for_ever(opened: socket.socket, data: bytes) -> None:
    while True:
        opened.sendall(data)


# --- TLS -----------------------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fleetline test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret


def test_with_a_certificate_clients_speak_tls_and_nothing_else(served: Served, tmp_path: Path) -> None:
    chain, secret = certificate(tmp_path)
    tls = {"FLEETLINE_TLS_CERTIFICATE": str(chain), "FLEETLINE_TLS_KEY": str(secret)}
    with serving(served.settings, **tls) as own:
        trusted = ssl.create_default_context(cafile=str(chain))
        for v5 in (False, True):
            with connected(
                own.port, own.tokens["device"], v5=v5, prepare=lambda made: made.tls_set_context(trusted)
            ) as sender:
                assert sender.publish(ME, body(100 + v5), 1) == 0
                assert body(100 + v5) in own.bodies()
        with socket.create_connection(("127.0.0.1", own.port), timeout=15) as plain:
            plain.sendall(client.connect(own.tokens["device"]))
            with suppress(ConnectionError):
                assert b"\x20\x02" not in read_until_closed(plain)
        outdated = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        outdated.load_verify_locations(str(chain))
        outdated.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(("127.0.0.1", own.port), timeout=15) as raw,
            outdated.wrap_socket(raw, server_hostname="127.0.0.1") as old,
        ):
            assert old.version() == "TLSv1.2"


def test_probes_tell_what_happens(served: Served) -> None:
    from urllib.request import urlopen

    port = free_port()
    with serving(served.settings, FLEETLINE_PROBE_PORT=str(port)) as own:
        with connected(own.port, own.tokens["device"]) as sender:
            assert sender.publish(ME, body(200), 1) == 0

            def ask(path: str) -> str:
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    return str(answer.read().decode())

            assert ask("/healthz") == "alive\n"
            assert ask("/readyz") == "ready\n"
            metrics = ask("/metrics")
        assert "fleetline_mqtt_connections 1.0" in metrics
        assert 'fleetline_mqtt_publishes_total{outcome="stored",qos="1"} 1.0' in metrics
        assert 'fleetline_ingress_requests_total{source="device",status="200"} 1.0' in metrics
