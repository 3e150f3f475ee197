"""A stock Faust agent: an event at a time, `await topic.send`."""

import sys
from typing import Any

import faust

from benchmarks.peers.work import Work
from fleetline.kafka_security import KafkaSecurity
from fleetline.settings import Settings

settings = Settings()
work = Work(settings)
app = faust.App(
    sys.argv[1],
    broker=f"kafka://{settings.kafka_bootstrap_servers}",
    broker_credentials=KafkaSecurity.of(settings).faust_credentials(),
    store="memory://",
    value_serializer="raw",
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)
out = app.topic(sys.argv[1], value_serializer="raw", key_serializer="raw")


@app.agent(app.topic(settings.topics.raw("flespi"), value_serializer="raw", key_serializer="raw"))
async def normalize(stream: Any) -> None:
    """Normalize each event and send what it holds."""
    async for event in stream.events():
        message = event.message
        headers = message.headers.items() if isinstance(message.headers, dict) else message.headers
        for key, value in work.records(headers, message.value, message.topic, message.partition, message.offset):
            await out.send(key=key, value=value)


if sys.argv[2:] == ["uvloop"]:
    import uvloop

    uvloop.install()
faust.Worker(app, loglevel="ERROR", quiet=True).execute_from_commandline()
