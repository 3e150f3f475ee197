"""The whole way with nothing left out: doors and worker as processes, the real Kafka between them, and senders of each kind."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import orjson

from fleetline.kafka_admin import delete_topics, ensure_topics
from fleetline.local.health import is_alive
from fleetline.local.process import free_port
from fleetline.settings import Settings
from registry.model import Entry
from registry.store import RegistryStore
from schemas.ids import new_id
from schemas.records import telemetry_reader
from tests.ingress.mqtt.helpers import connected
from tests.support import TENANT, child, running, until

BASE_S = 1_767_300_000
"""2026-01-01 20:40:00 UTC; a message is known again by its time, in whole seconds from here."""
Found = tuple[str, str, bool]
"""Device, gateway, and whether the message named another device than its credential's; no device: it waits."""


class House:
    """Sends, and tells what became of what was sent."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Consumer, TopicPartition

        self.settings = settings
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{settings.ingress_port}")
        self._read = telemetry_reader()
        self._found: dict[int, list[Found]] = {}
        self._last = 0
        self._consumer = Consumer({**settings.kafka_config(), "group.id": "house", "enable.auto.commit": False})
        topics = (settings.topics.telemetry, settings.topics.unmapped)
        self._consumer.assign([TopicPartition(each, n, 0) for each in topics for n in range(settings.partitions)])

    def mark(self) -> int:
        """Return the time of the next message, seconds since 1970."""
        self._last += 1
        return BASE_S + self._last

    def became(self, mark: int, count: int = 1) -> list[Found]:
        """Wait for so many records of a message; they came in this order."""
        until(lambda: len(self._seen(mark)) >= count, 20, f"message {mark - BASE_S}")
        return self._found[mark]

    def _seen(self, mark: int) -> list[Found]:
        for message in self._consumer.consume(1_000, 0.05):
            assert message.error() is None, message.error()
            if any(name == "released-offset" for name, _ in message.headers() or ()):
                continue
            record = self._read(message.value())
            found = (record["device_id"], record["gateway_id"], record["booleans"].get("identity.mismatch", False))
            self._found.setdefault(record["observed_us"] // 1_000_000, []).append(found)
        return self._found.get(mark, [])

    def post(self, path: str, body: Any, **headers: str) -> None:
        """Post to the ingress, which must take it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.http.post(path, content=orjson.dumps(body), headers=named)
        assert answer.status_code == 200, answer.text

    def webhook(self, source: str, body: Any, secret: str, tenant: str = TENANT) -> None:
        """Post to a tenant's webhook."""
        self.post(f"/api/v1/integrations/{source}/telemetry?tenantId={tenant}", body, x_webhook_secret=secret)

    def publish(self, token: str, topic: str, body: Any) -> None:
        """Publish over MQTT."""
        with connected(self.settings.mqtt_port, token) as client:
            assert client.publish(topic, orjson.dumps(body)) == 0

    def speak(self, token: str, body: Any) -> None:
        """Send a frame over the WebSocket and have it acknowledged."""
        from websockets.sync.client import connect

        with connect(f"ws://127.0.0.1:{self.settings.websocket_port}/") as client:
            for frame in ({"type": "auth", "deviceToken": token}, {"type": "telemetry", "data": body}):
                client.send(orjson.dumps(frame).decode())
                answer = orjson.loads(client.recv(10))
                assert answer["type"] != "error", answer

    def close(self) -> None:
        self.http.close()
        self._consumer.close()


@contextmanager
def open_house(stack: Settings, folder: Any, entries: Sequence[Entry]) -> Iterator[House]:
    """Start everything over a registry with `entries`."""
    ports = {f"{name}_port": free_port() for name in ("ingress", "mqtt", "websocket")}
    more: dict[str, Any] = {"topic_prefix": f"h{new_id()[-12:]}.", "data_dir": folder, "partitions": 2, **ports}
    settings = stack.model_copy(update={**more, "kafka_session_timeout_ms": 6_000})
    ensure_topics(settings)
    with RegistryStore(settings) as store:
        store.put(entries)
    with ExitStack() as closing:
        closing.callback(delete_topics, settings)
        for name in ("ingress", "mqtt", "websocket", "processors"):
            process = child(settings, name, "-m", "fleetline", "-v", "serve", name)
            process._environment.update({f"FLEETLINE_{key.upper()}": str(port) for key, port in ports.items()})
            closing.enter_context(running(process))
        for name in ("mqtt", "processors"):
            until(lambda name=name: is_alive(settings, name), 40, f"{name} is up")  # type: ignore[misc]
        for port in (settings.ingress_port, settings.websocket_port):
            until(lambda port=port: _is_ready(port), 40, f"port {port} is up")  # type: ignore[misc]
        house = House(settings)
        closing.callback(house.close)
        yield house


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False
