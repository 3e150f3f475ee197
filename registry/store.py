"""Changing the registry: for the command line and the admin API. Components follow with `registry.follower`."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from registry import rules
from registry.errors import RegistryUnavailable
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Destination, Device, Entry, Tenant
from registry.sealing import seal
from registry.secrets import digest, new_secret
from registry.topic import TOPIC_CONFIG, Rewound, TopicReader
from registry.view import RegistryView, entry_key

if TYPE_CHECKING:
    from fleetline.settings import Settings

TIMEOUT_S = 5.0
_DELIVERY_MS = 10_000
_QUEUE = 50_000
"""Half of what the client queues by default."""

Change = tuple[Entry, bytes | None]
"""An entry and what is to stand under its key: its JSON, or None to remove it."""


class RegistryStore:
    """Reads the whole topic, checks a change against it, writes it with `acks=all` and returns once it is durable.

    Everything raises RegistryUnavailable when the broker cannot be reached, RegistryRefused when a rule is broken.
    Two writers at the same moment do not see each other: a value both claim is then found for the first device by id.
    Not safe for several threads.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._topic = settings.topics.registry
        self._view = RegistryView()
        self._reader: TopicReader | None = None
        self._topic_exists = False
        self._producer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def view(self) -> RegistryView:
        """What was in the topic when it was last read; read on first use, then by every `create_…` and `refresh`."""
        if self._reader is None:
            self.refresh()
        return self._view

    def refresh(self) -> RegistryView:
        """Read the topic to its present end."""
        from confluent_kafka import KafkaException

        try:
            try:
                self._read()
            except Rewound:
                self.close()
                self._read()
        except (KafkaException, Rewound) as error:
            self.close()
            raise self._unavailable(_said(error)) from error
        return self._view

    def _read(self) -> None:
        if self._reader is None:
            self._view = RegistryView()
            self._topic_exists = False
            self._reader = TopicReader(self._settings, self._view)
        if not self._topic_exists:
            self._topic_exists = self._reader.open(TIMEOUT_S)
        if self._topic_exists and not self._reader.read_to_end(TIMEOUT_S):
            raise self._unavailable(self._reader.broker_error or "the registry could not be read to its end")

    def put(self, entries: Entry | Iterable[Entry]) -> None:
        """Store entries, all in one go; returns once each is durable. Storing one again changes nothing."""
        many = (entries,) if isinstance(entries, Entry) else entries
        self._send([(entry, msgspec.json.encode(entry)) for entry in many])

    def delete(self, entries: Entry | Iterable[Entry]) -> None:
        """Remove entries, all in one go; returns once each removal is durable."""
        many = (entries,) if isinstance(entries, Entry) else entries
        self._send([(entry, None) for entry in many])

    def _send(self, changes: Sequence[Change]) -> None:
        from confluent_kafka import KafkaException

        self._ensure_topic()
        failures: list[str] = []

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failures.append(str(error.str()))

        try:
            producer = self._connected_producer()
            for number, (entry, value) in enumerate(changes):
                if number % _QUEUE == _QUEUE - 1:
                    producer.flush(_DELIVERY_MS / 1000 + TIMEOUT_S)
                producer.produce(self._topic, key=entry_key(entry).encode(), value=value, on_delivery=delivered)
            left = producer.flush(_DELIVERY_MS / 1000 + TIMEOUT_S)
        except (KafkaException, BufferError) as error:
            raise self._unavailable(_said(error)) from error
        if failures or left:
            self._producer = None
            raise self._unavailable(failures[0] if failures else "no acknowledgement in time")
        for entry, value in changes:
            self._view.apply(entry_key(entry), value)

    def _connected_producer(self) -> Any:
        from confluent_kafka import Producer

        if self._producer is None:
            self._producer = Producer(
                {
                    **self._settings.kafka_config(),
                    "acks": "all",
                    # One request at a time keeps the order, and writing an entry twice changes nothing: that saves the
                    # 0.5 s an idempotent producer takes to get its id.
                    "max.in.flight.requests.per.connection": 1,
                    "linger.ms": 1,
                    "message.timeout.ms": _DELIVERY_MS,
                    "log_level": 0,  # errors come back through the delivery reports
                }
            )
        return self._producer

    def _ensure_topic(self) -> None:
        """Make the topic where nobody has: the registry works before any other component has run."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        if self._reader is None:
            self.refresh()
        if self._topic_exists:
            return
        wanted = NewTopic(
            self._topic,
            num_partitions=1,
            replication_factor=self._settings.replication_factor,
            config=dict(TOPIC_CONFIG),
        )
        admin = AdminClient({**self._settings.kafka_config(), "log_level": 0})  # the futures die with it
        made = admin.create_topics([wanted], request_timeout=TIMEOUT_S)
        try:
            made[self._topic].result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._unavailable(_said(error)) from error
        self._await_topic()

    def _await_topic(self) -> None:
        """Wait until brokers know a topic just made: metadata follows its creation by some milliseconds."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self._topic_exists:
            if time.monotonic() > deadline:
                raise self._unavailable(f"the topic {self._topic} was made but does not appear")
            time.sleep(0.02)
            self.refresh()

    def _unavailable(self, detail: str) -> RegistryUnavailable:
        servers = self._settings.kafka_bootstrap_servers
        return RegistryUnavailable(
            f"the registry cannot be reached at {servers} ({detail}). Is the stack running? Start it with `fleetline up`, "
            "name its folder with --data, or set KAFKA_BOOTSTRAP_SERVERS"
        )

    def create_tenant(self, name: str, id: str | None = None) -> Tenant:  # noqa: A002  called `id` in the entry too
        """Create a tenant."""
        made = rules.make_tenant(self.refresh(), name, id)
        self.put(made)
        return made

    def create_device(  # noqa: PLR0913  one parameter per thing a device may have
        self,
        tenant: str | Tenant,
        name: str,
        *,
        external_id: str | None = None,
        dev_eui: str | None = None,
        imei: str | None = None,
        serial: str | None = None,
        iccid: str | None = None,
        custom1: str | None = None,
        custom2: str | None = None,
        custom3: str | None = None,
        gateway: bool = False,
        parent: str | Device | None = None,
        id: str | None = None,  # noqa: A002
    ) -> Device:
        """Create a device; `tenant` and `parent` by id or name. See `registry.rules.make_device` for what is refused."""
        view = self.refresh()
        attributes = {
            EXTERNAL_ID: external_id,
            DEV_EUI: dev_eui,
            "imei": imei,
            "serial": serial,
            "iccid": iccid,
            "custom1": custom1,
            "custom2": custom2,
            "custom3": custom3,
        }
        made = rules.make_device(
            view,
            rules.find_tenant(view, tenant),
            name,
            {key: value for key, value in attributes.items() if value is not None},
            gateway=gateway,
            parent=parent,
            wanted_id=id,
        )
        self.put(made)
        return made

    def create_credential(
        self, tenant: str | Tenant, source: str, device: str | Device | None = None
    ) -> tuple[Credential, str]:
        """Create a credential and return it with its secret, which is not stored and cannot be shown again."""
        rules.check_source(source)
        view = self.refresh()
        owner = rules.find_tenant(view, tenant)
        bound = None if device is None else rules.find_device(view, owner, device)
        secret = new_secret()
        made = rules.make_credential(owner, source, digest(secret), bound)
        self.put(made)
        return made, secret

    def rotate_tenant_secret(self, tenant: str | Tenant) -> str:
        """Give a tenant a new integration secret and return it. The former one opens nothing from now on."""
        view = self.refresh()
        owner = rules.find_tenant(view, tenant)
        secret = new_secret()
        former = [each for each in view.credentials(owner.id) if each.source == INTEGRATION]
        made = rules.make_credential(owner, INTEGRATION, digest(secret))
        if former:  # the same key: the new secret takes the old one's place in one write
            made = msgspec.structs.replace(made, id=former[0].id, version=former[0].version + 1)
        changes: list[Change] = [(made, msgspec.json.encode(made))]
        changes += [(each, None) for each in former[1:]]
        self._send(changes)
        return secret

    def create_destination(
        self, tenant: str | Tenant, kind: str, url: str, types: Sequence[str] = (), psk: str = ""
    ) -> Destination:
        """Create a destination; `types` empty means every event. The PSK is sealed before it is stored."""
        rules.check_psk(psk)
        view = self.refresh()
        made = rules.make_destination(rules.find_tenant(view, tenant), kind, url, types, seal(self._settings, psk))
        self.put(made)
        return made


def _said(error: Exception) -> str:
    """Return what Kafka's client said, without the numbers around it."""
    from confluent_kafka import KafkaError

    first = error.args[0] if error.args else error
    return str(first.str() if isinstance(first, KafkaError) else first)
