"""The real MQTT server as a process before the real Kafka, and a registry with a device, a gateway and its child."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fleetline.local.health import is_alive
from fleetline.local.process import Child, free_port
from fleetline.settings import Settings
from registry.model import Credential
from registry.store import RegistryStore
from schemas.ids import new_id
from tests.support import _watermarks, child, running, until


@dataclass
class Served:
    """A running server, and who may speak to it."""

    settings: Settings
    process: Child
    tokens: dict[str, str]
    devices: dict[str, str]
    credentials: dict[str, Credential]
    _reader: "TopicReader | None" = None

    @property
    def port(self) -> int:
        return self.settings.mqtt_port

    def stored(self) -> list[Any]:
        """Return the raw records that are durable now, in the order of each partition."""
        if self._reader is None:
            self._reader = TopicReader(self.settings)
        return self._reader.read()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.consumer.close()

    def bodies(self) -> list[bytes]:
        return [record.value() for record in self.stored()]

    def record(self, body: bytes) -> Any:
        """Return the one record with this body."""
        found = [record for record in self.stored() if record.value() == body]
        assert len(found) == 1, (len(found), body)
        return found[0]

    def log(self) -> str:
        return self.process.log_file.read_text(encoding="utf-8")


class TopicReader:
    """Reads the raw topic to its present end, and later what came since: a consumer of its own would cost a second each time."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Consumer, TopicPartition

        topic = settings.topics.raw("device")
        quick = {"fetch.wait.max.ms": 20, "fetch.queue.backoff.ms": 20, "enable.auto.commit": False}
        self.consumer = Consumer({**settings.kafka_config(), "group.id": "reader", **quick})
        self._partitions = [TopicPartition(topic, each, 0) for each in range(settings.partitions)]
        self._records: list[list[Any]] = [[] for _ in self._partitions]
        self.consumer.assign(self._partitions)

    def read(self) -> list[Any]:
        """Return all records."""
        ends = [_watermarks(self.consumer, each)[1] for each in self._partitions]
        while any(end > len(records) for end, records in zip(ends, self._records, strict=True)):
            message = self.consumer.poll(10)
            assert message is not None
            assert message.error() is None, message.error()
            self._records[message.partition()].append(message)
        return [record for records in self._records for record in records]


@contextmanager
def serving(settings: Settings, **environment: str) -> Iterator[Served]:
    """Run `fleetline serve mqtt` with a tenant, a device with two tokens, a stranger, a gateway and its child."""
    folder = settings.data_dir / new_id()  # of its own: signs of life of another server there would be taken for its
    settings = settings.model_copy(update={"mqtt_port": free_port(), "data_dir": folder})
    tokens: dict[str, str] = {}
    credentials: dict[str, Credential] = {}
    with RegistryStore(settings) as store:
        tenant = store.create_tenant(f"T {new_id()}")
        gateway = store.create_device(tenant, "Gateway", gateway=True)
        owners = {
            "device": store.create_device(tenant, "Device"),
            "stranger": store.create_device(tenant, "Stranger"),
            "gateway": gateway,
            "child": store.create_device(tenant, "Child", parent=gateway),
        }
        for name, owner in (*owners.items(), ("second", owners["device"]), ("revoked", owners["device"])):
            credentials[name], tokens[name] = store.create_credential(tenant, "device", owner)
    process = child(settings, "mqtt", "-m", "fleetline", "-v", "serve", "mqtt")
    process._environment.update(FLEETLINE_MQTT_PORT=str(settings.mqtt_port), **environment)
    with running(process):
        until(lambda: is_alive(settings, "mqtt"), 40, "the server listens")
        served = Served(settings, process, tokens, {name: each.id for name, each in owners.items()}, credentials)
        yield served
        served.close()


@dataclass
class Client:
    """A paho client with what happened to it."""

    paho: paho.Client
    connected: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    answers: list[int] = field(default_factory=list)
    acknowledged: dict[int, int] = field(default_factory=dict)
    endings: list[int] = field(default_factory=list)
    grants: list[list[int]] = field(default_factory=list)

    def publish(self, topic: str, body: bytes, qos: int = 1, **more: Any) -> int:
        """Publish, wait for the acknowledgement, and return its reason."""
        message = self.paho.publish(topic, body, qos, **more)
        message.wait_for_publish(10)
        assert message.is_published()
        if qos:
            until(lambda: message.mid in self.acknowledged, 10, "the acknowledgement")
        return self.acknowledged.get(message.mid, 0)


@contextmanager
def connected(port: int, token: str, *, v5: bool = False, wait: bool = True, **more: Any) -> Iterator[Client]:
    """Connect a real client; it does not reconnect by itself unless `reconnect` is given."""
    protocol = paho.MQTTv5 if v5 else more.pop("protocol", paho.MQTTv311)
    options: dict[str, Any] = {"reconnect_on_failure": more.pop("reconnect", False)}
    if not v5:
        options["clean_session"] = more.pop("clean_session", True)
    client = Client(
        paho.Client(CallbackAPIVersion.VERSION2, more.pop("client_id", f"c-{new_id()}"), protocol=protocol, **options)
    )
    client.paho.username_pw_set(token, more.pop("password", None))
    _listen(client)
    prepare = more.pop("prepare", None)
    if prepare:
        prepare(client.paho)
    client.paho.connect("127.0.0.1", port, more.pop("keepalive", 60))
    client.paho.loop_start()
    try:
        if wait:
            assert client.connected.wait(10), client.answers
        yield client
    finally:
        client.paho.disconnect()
        client.paho.loop_stop()


def _listen(client: Client) -> None:
    def on_connect(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        client.answers.append(reason.value)
        if reason.value == 0:
            client.connected.set()

    def on_disconnect(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        client.endings.append(reason.value)
        client.gone.set()

    def on_publish(_: Any, __: Any, number: int, reason: Any, ___: Any) -> None:
        client.acknowledged[number] = reason.value

    def on_subscribe(_: Any, __: Any, ___: int, reasons: Any, ____: Any) -> None:
        client.grants.append([reason.value for reason in reasons])

    client.paho.on_connect = on_connect
    client.paho.on_disconnect = on_disconnect
    client.paho.on_publish = on_publish
    client.paho.on_subscribe = on_subscribe
