"""Reads a topic from somewhere before its end, and decodes what is there."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

import orjson

from fleetline.errors import FleetlineError
from fleetline.kafka_reach import Listener
from fleetline.settings import Settings
from schemas.records import MARKER, UnknownSchema, event_reader, telemetry_reader
from schemas.times import format_us
from schemas.view import event_view, telemetry_view

_EXCERPT = 2000


def follow_topic(settings: Settings, name: str, last: int | None, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield the decoded records of a topic, the last `last` ones first (None: all), then what arrives.

    Reads without a consumer group and commits nothing. Raises FleetlineError for an unknown topic or a missing broker.
    """
    from confluent_kafka import Consumer, TopicPartition

    listener = Listener(settings)
    config = {**settings.kafka_config(), "group.id": f"{settings.topic_prefix}tail", "enable.auto.commit": False}
    config["enable.partition.eof"] = True
    consumer = Consumer({**config, "log_level": 2, "error_cb": listener})
    try:
        known = listener.metadata(consumer, 5).topics
        topic = name if name in known else f"{settings.topic_prefix}{name}"
        if topic not in known:
            prefix = settings.topic_prefix
            names = sorted(each.removeprefix(prefix) for each in known if each.startswith(prefix))
            raise FleetlineError(f"no topic {name!r}; there are: {', '.join(names)}")
        ends: dict[int, int] = {}
        start = []
        for partition in known[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)
            ends[partition] = high
            back = 0 if last is None else last * _offsets_a_record(settings, topic)
            start.append(TopicPartition(topic, partition, low if last is None else max(low, high - back)))
        consumer.assign(start)
        backlog = _backlog(consumer, start, ends)
        backlog.sort(key=lambda message: message.timestamp()[1])
        for message in backlog if last is None else backlog[len(backlog) - last :] if last else []:
            yield _decoded(message, settings.topics.registry)
        while follow:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                yield _decoded(message, settings.topics.registry)
    finally:
        consumer.close()


def _offsets_a_record(settings: Settings, topic: str) -> int:
    """Return how many offsets a record may take: where each change is a transaction, another one marks its end."""
    return 2 if topic in {settings.topics.registry, settings.topics.audit} else 1


def _backlog(consumer: Any, start: list[Any], ends: dict[int, int]) -> list[Any]:
    """Read to the ends; the last offsets may be no records but marks of transactions, which only the end of the log shows."""
    from confluent_kafka import KafkaError

    waiting = {tp.partition for tp in start if tp.offset < ends[tp.partition]}
    messages: list[Any] = []
    idle = 0
    while waiting and idle < 20:
        message = consumer.poll(0.25)
        if message is not None and message.error() is None:
            idle = 0
            messages.append(message)
            if message.offset() + 1 >= ends[message.partition()]:
                waiting.discard(message.partition())
        elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
            waiting.discard(message.partition())
        else:
            idle += 1
    return messages


def _decoded(message: Any, registry: str) -> dict[str, Any]:
    headers = {name: str(value or b"", "utf-8", "replace") for name, value in message.headers() or ()}
    value = _value(message.value())
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "written_at": format_us(message.timestamp()[1] * 1000),
        "key": str(message.key() or b"", "utf-8", "replace"),
        **({"headers": headers} if headers else {}),
        "value": _without_secrets(value) if message.topic() == registry else value,
    }


def _value(value: bytes | None) -> Any:
    if value is None:
        return None
    if value.startswith(MARKER):
        with suppress(UnknownSchema):
            return telemetry_view(telemetry_reader()(value))
        with suppress(UnknownSchema):
            return event_view(event_reader()(value))
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return repr(value[:_EXCERPT])


def _without_secrets(value: Any) -> Any:
    """Leave out of the registry's objects what its audit trail leaves out: digests can be tried out."""
    from registry.audit import SET
    from registry.model import Entry

    hidden = {name for kind in get_args(Entry) for name in getattr(kind, "SECRETS", ())}
    if not isinstance(value, dict):
        return value
    return {name: SET if name in hidden and each else each for name, each in value.items()}


def show(record: dict[str, Any], *, as_json: bool) -> str:
    """Print a record as one line of JSON, or as a line for a person."""
    if as_json:
        return orjson.dumps(record).decode()
    place = f"{record['topic']}[{record['partition']}]@{record['offset']}"
    value = record["value"]
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if each not in (None, {}, "")}
    return f"{place} {record['written_at']} {record['key']}\n  {orjson.dumps(value, default=str).decode()[:_EXCERPT]}"
