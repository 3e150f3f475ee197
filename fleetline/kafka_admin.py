"""Topics: which there must be, derived from the sources, and making them."""

import logging
import time
from collections.abc import Collection, Iterable
from typing import Any

from fleetline.errors import FleetlineError
from fleetline.kafka_reach import KafkaRefused, Listener
from fleetline.kafka_trouble import kafka_trouble
from fleetline.settings import Settings
from registry.topic import TOPIC_CONFIG
from schemas.topics import RETRY_TIERS
from sources.catalog import source_names

log = logging.getLogger(__name__)

HOUR_MS = 3_600_000
_IN_SYNC = 2
_ASK_S = 2.0


def topic_manifest(settings: Settings) -> dict[str, dict[str, str]]:
    """Return every topic with its configuration. Compacted ones have one partition: their order is total."""
    topics = settings.topics
    kept = {
        "retention.ms": str(settings.retention_hours * HOUR_MS),
        "max.message.bytes": str(settings.kafka_message_max_bytes),
        # With replicas, a 200 means that two brokers have it: one alone may die with what it acknowledged.
        "min.insync.replicas": str(min(settings.replication_factor, _IN_SYNC)),
    }
    names = [topics.raw(source) for source in source_names()]
    names += [topics.telemetry, topics.events, topics.quarantine, topics.unmapped, topics.receipts]
    names += [topics.deliveries, topics.deliveries_dead, topics.delivery_attempts]
    names += [topics.deliveries_retry(tier) for tier in RETRY_TIERS]
    return {
        **dict.fromkeys(names, kept),
        topics.registry: {**kept, **TOPIC_CONFIG, "retention.ms": "-1"},
        topics.audit: {**kept, "retention.ms": "-1"},
        topics.pulls: {**kept, **TOPIC_CONFIG, "retention.ms": "-1"},
    }


def ensure_topics(
    settings: Settings, timeout_s: float = 30.0, only: Collection[str] = (), *, patient: bool = False
) -> list[str]:
    """Create the topics that are missing (of `only` these) and return their names.

    Idempotent. Raises FleetlineError without a broker after `timeout_s`; when the broker refuses us, at once, or after
    `timeout_s` too when `patient`: a component may be started before its password is known to the broker.
    """
    from confluent_kafka.admin import AdminClient, NewTopic

    listener = Listener(settings)
    admin = AdminClient({**settings.kafka_config(), "log_level": 2, "error_cb": listener})
    deadline = time.monotonic() + timeout_s
    existing = _existing(admin, listener, settings, deadline, patient=patient)
    manifest = topic_manifest(settings).items()
    missing = {name: config for name, config in manifest if name not in existing and (not only or name in only)}
    if not missing:
        return []
    wanted = [
        NewTopic(
            name,
            num_partitions=1 if "cleanup.policy" in config or name == settings.topics.audit else settings.partitions,
            replication_factor=settings.replication_factor,
            config=config,
        )
        for name, config in missing.items()
    ]
    _wait(admin.create_topics(wanted, request_timeout=30).values())
    while not _can_be_used(admin, missing):
        if time.monotonic() > deadline:
            raise FleetlineError("the broker accepted new topics but they cannot be used; look at its log")
        time.sleep(0.05)
    return sorted(missing)


def _existing(admin: Any, listener: Listener, settings: Settings, deadline: float, *, patient: bool) -> Any:
    """Return the topics there are, as soon as a broker answers."""
    while True:
        try:
            return listener.metadata(admin, _ASK_S).topics
        except KafkaRefused as refusal:
            if not patient or time.monotonic() > deadline:
                raise
            log.error("%s; trying again", refusal.message)
            time.sleep(_ASK_S)
        except FleetlineError:
            if time.monotonic() > deadline:
                raise
            log.warning("no Kafka at %s yet; trying again", settings.kafka_bootstrap_servers)


def _can_be_used(admin: Any, names: Iterable[str]) -> bool:
    """Ask the leader of every partition for its end: a topic is shown before its leaders serve it."""
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    known = admin.list_topics(timeout=5).topics
    if not set(names) <= known.keys():
        return False
    ends = {TopicPartition(name, each): OffsetSpec.latest() for name in names for each in known[name].partitions}
    try:
        for answer in admin.list_offsets(ends, request_timeout=5).values():
            answer.result()
    except KafkaException:
        return False
    return True


def delete_topics(settings: Settings) -> None:
    """Delete every topic of this prefix: for tests, and for whoever starts afresh."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({**settings.kafka_config(), "log_level": 2})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(settings.topic_prefix)]
    if names:
        _wait(admin.delete_topics(names, request_timeout=30).values())


def _wait(futures: Iterable[object]) -> None:
    from confluent_kafka import KafkaError, KafkaException

    passed_over = {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART}
    for future in futures:
        try:
            future.result()  # type: ignore[attr-defined]  # concurrent.futures.Future, untyped in the client
        except KafkaException as error:
            if error.args[0].code() not in passed_over:
                said = kafka_trouble(error) or f"the broker refused a topic: {error}"
                raise FleetlineError(said) from error
