"""Real clients against the real server and the real Kafka: paho over MQTT 3.1, 3.1.1 and 5, and mosquitto_pub."""

import pytest

from tests.ingress.mqtt.helpers import Served, connected

pytestmark = pytest.mark.stack


def test_thin(served: Served) -> None:
    with connected(served.port, served.tokens["device"]) as client:
        assert client.publish("v1/devices/me/telemetry", b'{"a": 1}') == 0
        assert b'{"a": 1}' in served.bodies()
