"""Real clients against the real server and the real Kafka: paho over MQTT 3.1, 3.1.1 and 5, and mosquitto_pub."""

import shutil
import subprocess
from typing import Any

import orjson
import paho.mqtt.client as paho
import pytest

from registry.store import RegistryStore
from schemas import topics as names
from schemas.ids import new_id
from sources.catalog import load_source
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw
from tests.ingress.mqtt.helpers import Served, connected
from tests.support import until

pytestmark = pytest.mark.stack

ME = "v1/devices/me/telemetry"
VERSIONS = [
    pytest.param({"v5": True}, id="5"),
    pytest.param({}, id="3.1.1"),
    pytest.param({"protocol": paho.MQTTv31}, id="3.1"),
]
MOSQUITTO = shutil.which("mosquitto_pub")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto_pub is not installed (mosquitto-clients)")


def body(**more: Any) -> bytes:
    """Make a body that exists once."""
    return orjson.dumps({"telemetry": {"temperature": 24.5, "mark": new_id()}, "ts": 1_767_322_805_000, **more})


def canonical(record: Any) -> Canonical:
    """Return the one canonical record that the normalizer makes of a raw record."""
    request = request_from_raw(record.headers(), record.value(), record.topic(), record.partition(), record.offset())
    (made,) = canonicalize(load_source("device"), request)
    assert isinstance(made, Canonical), made
    return made


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    "topic", ["devices/{token}/telemetry", "v1/devices/{token}/telemetry", ME, "v1/gateway/telemetry"]
)
def test_every_topic_with_every_qos_and_version_is_in_kafka_when_it_is_acknowledged(
    served: Served, topic: str, qos: int, version: dict[str, Any]
) -> None:
    # AC-a06, AC-a07, AC-a08, AC-a11, AC-c07, AC-c10
    sent, token = body(), served.tokens["device"]
    with connected(served.port, token, **version) as client:
        assert client.publish(topic.replace("{token}", token), sent, qos, retain=True) == 0
        if qos:
            record = served.record(sent)  # at the moment of the acknowledgement, not some time later
        else:
            until(lambda: sent in served.bodies(), 10, "the record of QoS 0")
            record = served.record(sent)
    headers = dict(record.headers())
    assert headers[names.DEVICE].decode() == served.devices["device"]
    assert headers[names.TRANSPORT] == b"mqtt"
    assert headers[names.PATH].decode() == topic.replace("{token}", "{deviceToken}")
    assert not [value for value in headers.values() if token.encode() in value]


@needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mosquitto_pub(served: Served, version: str, qos: int) -> None:
    # AC-a08, AC-a11, AC-c10
    sent = body()
    done = mosquitto(served, "device", version, qos, "v1/devices/me/telemetry", sent)
    assert done.returncode == 0, done.stderr
    until(lambda: sent in served.bodies(), 10, "the record")
    assert served.bodies().count(sent) == 1


@needs_mosquitto
def test_mosquitto_pub_is_told_that_its_token_is_wrong(served: Served) -> None:
    # AC-a09
    served.tokens["nobody"] = "wrong"
    for version in ("mqttv311", "mqttv5"):
        done = mosquitto(served, "nobody", version, 1, ME, b"{}")
        assert done.returncode != 0
        assert "not authori" in done.stderr.lower()


def mosquitto(
    served: Served, who: str, version: str, qos: int, topic: str, sent: bytes
) -> subprocess.CompletedProcess[str]:
    assert MOSQUITTO is not None
    options = [
        "-V",
        version,
        "-u",
        served.tokens[who],
        "-q",
        str(qos),
        "-t",
        topic,
        "-m",
        sent.decode(),
        "-i",
        new_id(),
    ]
    return subprocess.run(
        [MOSQUITTO, "-h", "127.0.0.1", "-p", str(served.port), *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
@pytest.mark.parametrize("password", [None, "", "anything"])
def test_a_wrong_token_is_told_so_and_a_password_does_not_matter(
    served: Served, v5: bool, password: str | None
) -> None:
    # AC-a08, AC-a09
    with connected(served.port, served.tokens["device"], v5=v5, password=password):
        pass
    with connected(served.port, "wrong", v5=v5, wait=False, password=served.tokens["device"]) as client:
        until(lambda: client.answers, 10, "CONNACK")
        # paho shows 3.1.1's return code 5 by the name it has in MQTT 5
        assert client.answers == [0x87]


@pytest.mark.parametrize("v5", [False, True], ids=["3.1.1", "5"])
def test_a_publish_to_a_foreign_token_is_refused_and_logged_without_it(served: Served, v5: bool) -> None:
    # AC-a10, AC-c07
    sent, said = body(), served.log().count("refused")
    with connected(served.port, served.tokens["device"], v5=v5) as client:
        topic = f"devices/{served.tokens['stranger']}/telemetry"
        if v5:
            assert client.publish(topic, sent) == 0x87
            assert client.publish(ME, body()) == 0  # MQTT 5 can say so and go on
        else:
            client.paho.publish(topic, sent, 1)
            assert client.gone.wait(10)
            assert client.acknowledged == {}
    assert sent not in served.bodies()
    assert served.log().count("refused") == said + 1
    assert not [token for token in served.tokens.values() if token in served.log()]


@pytest.mark.parametrize("version", VERSIONS[:2])
def test_a_gateway_speaks_for_its_children_and_for_nobody_else(served: Served, version: dict[str, Any]) -> None:
    # AC-a10, AC-a16, AC-a18
    by_body, by_form = body(childDeviceId="Child"), orjson.dumps({"Child": [{"ts": 1, "values": {"mark": new_id()}}]})
    by_topic, foreign = body(), body()
    with connected(served.port, served.tokens["gateway"], **version) as client:
        assert client.publish(ME, by_body) == 0
        assert client.publish("v1/gateway/telemetry", by_form, 2) == 0
        assert client.publish(f"devices/{served.tokens['child']}/telemetry", by_topic) == 0
        client.paho.publish(f"devices/{served.tokens['device']}/telemetry", foreign, 1)
        until(lambda: client.gone.is_set() or 0x87 in client.acknowledged.values(), 10, "the refusal")
    with RegistryStore(served.settings) as store:
        view = store.refresh()
        for sent in (by_body, by_form, by_topic):
            record = served.record(sent)
            headers = {name: value.decode() for name, value in record.headers()}
            made = canonical(record)
            found = view.identify(headers[names.TENANT], headers[names.DEVICE], made.identities, made.child)
            assert found.device_id == served.devices["child"]
            assert found.gateway_id == ("" if sent is by_topic else served.devices["gateway"])
    assert foreign not in served.bodies()


def test_a_revoked_token_stops_at_its_next_publish(served: Served) -> None:
    first, second = body(), body()
    with connected(served.port, served.tokens["revoked"]) as client:
        assert client.publish(ME, first) == 0
        with RegistryStore(served.settings) as store:
            store.delete(served.credentials["revoked"])
        until(lambda: _is_refused(served), 10, "the revocation to arrive")
        assert not client.gone.is_set()
        client.paho.publish(ME, second, 1)
        assert client.gone.wait(10)
    assert first in served.bodies()
    assert second not in served.bodies()


def _is_refused(served: Served) -> bool:
    with connected(served.port, served.tokens["revoked"], wait=False) as probe:
        until(lambda: probe.answers, 10, "CONNACK")
        return probe.answers == [0x87]


def test_subscriptions_of_firmware_that_waits_for_commands_are_granted(served: Served) -> None:
    with connected(served.port, served.tokens["device"]) as client:
        client.paho.subscribe([("v1/devices/me/rpc/request/+", 1), ("v1/devices/me/attributes", 0), ("#", 0)])
        until(lambda: client.grants, 10, "SUBACK")
        assert client.grants == [[1, 0, 0x80]]
        assert client.publish(ME, body()) == 0


def test_a_batch_of_a_gateway_keeps_its_order(served: Served) -> None:
    sent = [body(number=number) for number in range(300)]
    with connected(
        served.port, served.tokens["gateway"], prepare=lambda made: made.max_inflight_messages_set(100)
    ) as client:
        messages = [client.paho.publish(ME, each, 1 + number % 2) for number, each in enumerate(sent)]
        for message in messages:
            message.wait_for_publish(20)
    stored = [each for each in served.bodies() if each in set(sent)]
    assert stored == sent


def test_large_bodies_arrive_whole_and_larger_ones_end_the_connection(served: Served) -> None:
    large = body(padding="x" * 5_000_000)
    with connected(served.port, served.tokens["device"]) as client:
        assert client.publish(ME, large) == 0
        assert large in served.bodies()
        client.paho.publish(ME, b"x" * served.settings.max_body_bytes, 1)
        assert client.gone.wait(10)
