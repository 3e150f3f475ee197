"""Writing to the registry as the only one who may: a Kafka transaction that whoever wrote before can no longer make.

Every writer uses the same transactional id. Becoming the writer fences all others, and a fenced one's commit fails: so
between reading the registry to its end and committing, nobody else can have committed. That is what optimistic concurrency,
unique ids and "one level of gateways" rest on, with any number of admin servers and command lines.
"""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from registry.errors import RegistryError

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
_TRANSACTION_MS = 20_000
"""A writer that died in the middle of a transaction keeps readers waiting so long at most, or until the next writer."""

Message = tuple[str, bytes, bytes | None]
"""(topic, key, value); None removes."""


class Fenced(RegistryError):
    """Another writer came after this one was prepared. What was to be written was not, unless an answer got lost before."""


class Undecided(RegistryError):
    """The commit failed, or its answer was lost: whether it was made shows once somebody is the writer again."""


class RegistryWriter:
    """One transactional producer. Not safe for several threads."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._producer: Any = None

    def prepare(self) -> None:
        """Become the writer, unless this one still is as far as it knows. Raises KafkaException.

        Once it returns, everything that others have committed can be read.
        """
        from confluent_kafka import Producer

        if self._producer is not None:
            return
        producer = Producer(
            {
                **self._settings.kafka_config(),
                "transactional.id": f"{self._settings.topic_prefix}registry",
                "transaction.timeout.ms": _TRANSACTION_MS,
                "compression.type": "lz4",
                "linger.ms": 1,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,  # errors come back as exceptions
            }
        )
        producer.init_transactions(TIMEOUT_S)
        self._producer = producer

    def commit(self, messages: Iterable[Message]) -> dict[str, int]:
        """Write all or nothing; returns the highest offset written by topic (of one partition), once it is durable.

        Raises Fenced when another writer came in between, Undecided when it is not known whether it is durable.
        """
        from confluent_kafka import KafkaException

        producer = self._producer
        written: dict[str, int] = {}

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                written[message.topic()] = max(message.offset(), written.get(message.topic(), -1))

        try:
            producer.begin_transaction()
            for topic, key, value in messages:
                producer.produce(topic, key=key, value=value, on_delivery=delivered)
                producer.poll(0)
            producer.commit_transaction(TIMEOUT_S)
        except (KafkaException, BufferError) as error:
            self._give_up()
            if _is_fenced(error):
                raise Fenced(str(error)) from error
            raise Undecided(str(error)) from error
        return written

    def _give_up(self) -> None:
        """Let go of the producer. A transaction left open is ended by the next writer, or by its timeout."""
        from confluent_kafka import KafkaException

        producer, self._producer = self._producer, None
        try:
            producer.abort_transaction(1.0)
        except KafkaException:
            log.debug("the transaction was left to its timeout")

    def close(self) -> None:
        """Let go of the broker."""
        self._producer = None


def _is_fenced(error: Exception) -> bool:
    from confluent_kafka import KafkaError

    first = error.args[0] if error.args else None
    if not isinstance(first, KafkaError):
        return False
    return first.code() in (
        KafkaError._FENCED,  # noqa: SLF001  the client's public name for it
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    )
