"""The limit: a bare confluent-kafka batch loop, nothing else."""

import sys

from confluent_kafka import Consumer, Producer

from benchmarks.peers.work import Work
from fleetline.settings import Settings

settings = Settings()
work = Work(settings)
raw, out = settings.topics.raw("flespi"), sys.argv[1]
consumer = Consumer(
    {**settings.kafka_config(), "group.id": out, "auto.offset.reset": "earliest", "enable.auto.commit": False}
)
producer = Producer(
    {**settings.kafka_config(), "acks": "all", "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 5,
     "queue.buffering.max.messages": 1_000_000}
)  # fmt: skip
consumer.subscribe([raw])
while True:
    messages = consumer.consume(5000, 0.2)
    for message in messages:
        for key, value in work.records(message.headers(), message.value(), raw, message.partition(), message.offset()):
            producer.produce(out, value, key)
    producer.flush()
    if messages:
        consumer.commit(asynchronous=False)
