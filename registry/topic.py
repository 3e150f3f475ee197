"""The registry topic from the consuming side: found, made if need be, and read from its beginning to its end."""

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.local_copy import LocalCopy
from registry.view import RegistryView

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

TOPIC_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
}
"""Compaction spares the open segment, so segments are closed hourly; one partition keeps all changes in one order."""


_BATCH = 2_000
_LOUD = 20
"""So many changes at once are logged one by one."""
_IDENTITY_S = 5.0
_ANSWER_S = 15.0
"""For one answer of the broker, and between records: the time for a long topic is not for a broker that is gone."""
_INCONSISTENT_TOPIC_ID = 103  # a number of the protocol the client has no name for


class Rewound(Exception):
    """The log read so far is gone (the topic was deleted, recreated or cut back): read it again from the beginning."""


class TopicReader:
    """Feeds a view with every record of the topic, in order, from the beginning. Commits nothing, joins no group.

    Not safe for several threads. `announce`: it will follow for long, so changes are logged and the broker is asked
    calmly. `at_end` turns true once the end of every partition has been seen, and stays true.
    """

    def __init__(
        self, settings: "Settings", view: RegistryView, *, announce: bool = False, copy: LocalCopy | None = None
    ) -> None:
        """`copy` gets every record as it is read, see `registry.local_copy`."""
        from confluent_kafka import Consumer
        from confluent_kafka.admin import AdminClient

        self._topic = settings.topics.registry
        self.view = view
        self._announce = announce
        self._copy = copy
        self.broker_error = ""
        """What the client last said of its connections; empty while all is well."""
        self._waiting: set[int] = set()
        self._next: dict[int, int] = {}
        self.log_id = ""
        """The id of the topic being read; empty before."""
        self._answer: Any = None
        self._next_question = 0.0
        connection = {
            **settings.kafka_config(),
            "error_cb": self._connection_error,
            "log_level": 6 if announce else 0,  # a command raises what went wrong instead
        }
        self._admin = AdminClient(connection, logger=log)
        self._consumer = Consumer(
            {
                **connection,
                "group.id": "fleetline.registry-reader",  # demanded by the client; never joined, never committed to
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",  # a vanished offset means another log: it is read again as a whole
                "isolation.level": "read_committed",  # what a writer gave up is never seen
                "queued.max.messages.kbytes": 8_192,  # memory; enough to read ahead while entries are applied, if
                "fetch.queue.backoff.ms": 10,  # a full queue does not stop it for a second
                "fetch.wait.max.ms": 100 if announce else 10,
                "fetch.error.backoff.ms": 50,
                "topic.metadata.refresh.interval.ms": 2000,
            },
            logger=log,
        )

    def _connection_error(self, error: Any) -> None:
        self.broker_error = str(error.str())

    def open(self, timeout: float) -> bool:
        """Begin at the beginning of every partition. False while there is no such topic.

        Raises KafkaException when no broker answers within `timeout` seconds.
        """
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        asked = self._ask(timeout)
        self._consumer.list_topics(self._topic, timeout=timeout)  # knowing the leaders, it begins at once, not in 0.5 s
        described = self._described(asked)
        if described is None:
            return False
        self.log_id = str(described.topic_id)
        partitions = [each.id for each in described.partitions]
        self._waiting = set(partitions)
        self._next = dict.fromkeys(partitions, 0)
        self._consumer.assign([TopicPartition(self._topic, each, OFFSET_BEGINNING) for each in partitions])
        self._next_question = time.monotonic() + _IDENTITY_S
        if self._copy is not None:
            self._copy.begin()
        return True

    def _ask(self, timeout: float) -> Any:
        from confluent_kafka import TopicCollection

        return self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=timeout)[self._topic]

    @staticmethod
    def _described(answer: Any) -> Any:
        from confluent_kafka import KafkaError, KafkaException

        try:
            return answer.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise

    def check_log(self, *, wait: bool) -> None:
        """Make sure that the topic is still the one being read: at once, or every few seconds. Raises Rewound if not.

        A topic recreated while this process was cut off may by now be longer than the old one was: reading would go on
        in its middle and no offset would tell. Without `wait` a question is put every few seconds and its answer looked at in a
        later call; a broker that gives none is left to the consumer to complain about. With it, that is a KafkaException.
        """
        from confluent_kafka import KafkaException

        if self._answer is None:
            if not wait and time.monotonic() < self._next_question:
                return
            self._answer = self._ask(_IDENTITY_S)
        if not (wait or self._answer.done()):
            return
        answer, self._answer = self._answer, None
        self._next_question = time.monotonic() + _IDENTITY_S
        try:
            described = self._described(answer)
        except KafkaException as error:
            if wait:
                raise
            self.broker_error = str(error)
            return
        if described is None:
            raise Rewound("the topic is gone")
        if str(described.topic_id) != self.log_id or len(described.partitions) != len(self._next):
            raise Rewound("the topic was recreated")

    @property
    def at_end(self) -> bool:
        """Tell whether everything that was in the topic has been applied."""
        return not self._waiting and bool(self._next)

    @property
    def position(self) -> int:
        """The offset that is read next, of the partition that is furthest."""
        return max(self._next.values(), default=0)

    def step(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for something, and apply all that has come. Returns how many messages that was.

        Raises Rewound when the log is another one, KafkaException on errors that do not pass by themselves.
        """
        first = self._consumer.poll(timeout)
        if first is None:
            return 0
        messages = [first, *self._consumer.consume(_BATCH, 0)]
        self.broker_error = ""
        following = self._announce and self.at_end  # the many that were there before are not news
        if following and len(messages) > _LOUD:
            log.info("registry: %d changes", len(messages))
            following = False
        for message in messages:
            if message.error() is not None:
                self._troubled(message)
                continue
            partition, offset = message.partition(), message.offset()
            if offset < self._next[partition]:
                raise Rewound(f"offset {offset} came after {self._next[partition] - 1}")
            key, value = message.key(), message.value()
            if key is not None:
                if following:
                    log.info("registry: %s %.100r", "removed" if value is None else "put", key)
                self.view.apply(key, value)
            self._next[partition] = offset + 1  # now and not before: other threads take it for what the view shows
        if self._copy is not None:
            self._copy.append([(each.key(), each.value()) for each in messages if each.error() is None and each.key()])
        return len(messages)

    def _troubled(self, message: Any) -> None:
        from confluent_kafka import KafkaError, KafkaException

        error = message.error()
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public name for it
            if message.offset() < self._next[message.partition()]:
                raise Rewound(f"the log ends at {message.offset()}, before {self._next[message.partition()]}")
            self._next[message.partition()] = message.offset()
            self._waiting.discard(message.partition())
            return
        gone = (
            KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
            KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
            KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.OFFSET_OUT_OF_RANGE,
            KafkaError.UNKNOWN_TOPIC_ID,
            _INCONSISTENT_TOPIC_ID,
        )
        if code in gone:
            raise Rewound(str(error.str()))
        if error.fatal():
            raise KafkaException(error)
        self.broker_error = str(error.str())

    def read_to_end(self, timeout: float) -> bool:
        """Apply everything that is in the topic at this moment; False when it takes longer than `timeout` seconds.

        Raises KafkaException when no broker answers for some seconds; False when records stop coming for as long.
        """
        from confluent_kafka import TopicPartition

        if self.at_end:  # not the first time
            self.check_log(wait=True)
        deadline = time.monotonic() + timeout
        for partition in self._next:
            asked = TopicPartition(self._topic, partition)
            _, end = self._consumer.get_watermark_offsets(asked, timeout=min(timeout, _ANSWER_S))
            if end < self._next[partition]:
                raise Rewound(f"the log ends at {end}, before {self._next[partition]}")
            came = time.monotonic()
            while partition in self._waiting or self._next[partition] < end:
                if self.step(0.1):
                    came = time.monotonic()
                if time.monotonic() > min(deadline, came + _ANSWER_S):
                    return False
        return True

    def close(self) -> None:
        """Let go of the broker."""
        with contextlib.suppress(RuntimeError):  # closed before
            self._consumer.close()
