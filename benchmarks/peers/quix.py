"""Quix Streams doing the same."""

import sys
from typing import Any

from quixstreams import Application
from quixstreams.kafka.configuration import ConnectionConfig

from benchmarks.peers.work import Work
from fleetline.settings import Settings

settings = Settings()
work = Work(settings)
app = Application(
    broker_address=ConnectionConfig.from_librdkafka_dict(settings.kafka_config(), ignore_extras=True),
    consumer_group=sys.argv[1],
    auto_offset_reset="earliest",
    loglevel="ERROR",
)
raw = app.topic(settings.topics.raw("flespi"), value_deserializer="bytes", key_deserializer="bytes")
out = app.topic(sys.argv[1], value_serializer="bytes", key_serializer="bytes")


def normalize(value: bytes, _key: Any, _timestamp: int, headers: Any) -> list[bytes]:
    """Return the Avro bytes of what a raw record holds."""
    return [made for _, made in work.records(headers, value, raw.name, 0, 0)]


app.dataframe(raw).apply(normalize, expand=True, metadata=True).to_topic(out)
app.run()
