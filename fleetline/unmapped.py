"""Who waits in `unmapped`: unknown devices with what they sent, and the command that makes them known."""

import shlex
import time
from typing import TYPE_CHECKING, Any

from fleetline.errors import FleetlineError
from fleetline.kafka_reach import Listener
from fleetline.kafka_trouble import kafka_trouble
from fleetline.settings import Settings
from schemas.times import format_us

if TYPE_CHECKING:
    from processors.inbox import Inbox, Waiting
    from processors.sender import Sender
    from registry.view import RegistryView

_FETCH = 10_000
_SILENCE_S = 15.0
_OPTIONS = {
    "dev_eui": "--dev-eui",
    "imei": "--imei",
    "external_id": "--external-id",
    "serial": "--serial",
    "iccid": "--iccid",
}
_IMEI_DIGITS = 15


def waiting_senders(settings: Settings, view: "RegistryView", tenant_id: str = "") -> list[dict[str, Any]]:
    """List the senders that wait, of one tenant or of all, the one with the most records first.

    Reads all that the topic retains, some 100,000 records a second, without a consumer group. Raises FleetlineError
    without a broker or when it stops answering.
    """
    from processors.sender import parse_sender

    rows = [
        _row(parse_sender(sender), waiting, view)
        for inbox in _read(settings)
        for sender, waiting in inbox.waiting.items()
        if tenant_id in ("", waiting.tenant_id)
    ]
    return sorted(rows, key=lambda row: (-row["records"], row["tenant_id"], row["source"], row["source_device"] or ""))


def _read(settings: Settings) -> "list[Inbox]":
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

    from processors.inbox import Inbox

    topic = settings.topics.unmapped
    listener = Listener(settings)
    config = {**settings.kafka_config(), "group.id": f"{settings.topic_prefix}unmapped-reader", "error_cb": listener}
    consumer = Consumer({**config, "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2})
    try:
        known = listener.metadata(consumer, 5).topics
        partitions = known[topic].partitions if topic in known else {}
        inboxes = {each: Inbox(lambda _: False, lambda: True) for each in partitions}
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
        _read_to_end(consumer, inboxes)
    except KafkaException as error:
        said = kafka_trouble(error, settings.kafka_bootstrap_servers) or str(error)
        raise FleetlineError(f"what waits could not be read: {said}") from None
    finally:
        consumer.close()
    return list(inboxes.values())


def _read_to_end(consumer: Any, inboxes: "dict[int, Inbox]") -> None:
    from confluent_kafka import KafkaError

    heard = time.monotonic()
    while not all(each.complete for each in inboxes.values()):
        for message in consumer.consume(_FETCH, 0.5):
            heard = time.monotonic()
            if message.error() is None:
                inboxes[message.partition()].take(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
                inboxes[message.partition()].complete = True
        if time.monotonic() - heard > _SILENCE_S:
            raise FleetlineError("Kafka does not answer any more; what waits could not be read to its end")


def _row(sender: "Sender", waiting: "Waiting", view: "RegistryView") -> dict[str, Any]:
    found, tenant = sender.identify(view), view.tenant(sender.tenant_id)
    return {
        "tenant_id": sender.tenant_id,
        "tenant": sender.tenant_id if tenant is None else tenant.name,
        "source": sender.source,
        "source_device": sender.source_device or sender.child or sender.credential_device_id,
        "child": sender.child or None,
        "gateway_id": found.gateway_id or None,
        "identities": {each.kind: each.value for each in reversed(sender.identities)},
        "records": waiting.count,
        "first_at": format_us(waiting.first_ms * 1000),
        "last_at": format_us(waiting.last_ms * 1000),
        "next": _next(sender, view),
    }


def _next(sender: "Sender", view: "RegistryView") -> str:
    """Say what makes the device known: a command wherever one does."""
    found = sender.identify(view)
    if found.device_id:
        return f"known as {found.device_id}; a running `fleetline serve processors` releases it"
    if not sender.child:
        if sender.credential_device_id:
            return f"its credential is that of the device {sender.credential_device_id}, which is gone"
        return _create(sender, *_option(sender))
    if found.gateway_id:
        return _create(sender, "--parent", found.gateway_id, "--external-id", sender.child)
    gateway = view.identify(sender.tenant_id, sender.credential_device_id, sender.identities, "").device_id
    if gateway:
        return f"{gateway} is no gateway, and relays for {sender.child!r}"
    return _create(sender, "--gateway", *_option(sender))


def _option(sender: "Sender") -> tuple[str, ...]:
    for each in sender.identities:
        if each.kind == "imei" and len(each.value) == _IMEI_DIGITS and each.value.isdecimal():
            return ("--imei", each.value)
    for each in sender.identities:
        if each.kind in _OPTIONS:
            return (_OPTIONS[each.kind], each.value)
    return ()


def _create(sender: "Sender", *options: str) -> str:
    return shlex.join(["fleetline", "device", "create", "NAME", "--tenant", sender.tenant_id, *options])
