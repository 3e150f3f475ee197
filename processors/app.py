"""Builds the Faust app: one agent per source, one that detects, one that routes. Built by a function, never at import."""

import logging
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import faust
import yarl
from faust.serializers.codecs import Codec, register

from fleetline.kafka_security import KafkaSecurity
from fleetline.local.health import Heartbeat
from fleetline.settings import Settings
from processors.detect import Detection
from processors.detectors import load_detectors
from processors.limits import DefectLimits
from processors.normalize import Normalizer
from processors.output import Output
from processors.route import Router
from processors.transport import chunk_transport
from registry.view import RegistryView
from schemas.topics import Topics
from sources.catalog import load_sources
from sources.contract import Source

log = logging.getLogger(__name__)

STAGES = ("normalize", "detect", "route")
FAILED = 70
"""Exit status of a worker that must be started again (EX_SOFTWARE)."""
_CHUNKS_BUFFERED = 8


class AsIs(Codec):
    """A chunk's value is a list of records already: hand it on."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, obj: Any) -> Any:
        return obj


class ProcessorsApp(faust.App):
    """Faust with the chunk transport."""

    chunked_topics: frozenset[str] = frozenset()

    def _new_transport(self) -> Any:
        transport = chunk_transport(self.chunked_topics.__contains__)
        return transport(self.conf.broker_consumer, self, loop=self.loop)


def build_app(settings: Settings, view: RegistryView, stages: Collection[str] = STAGES) -> Any:
    """Build the app over a registry view that is complete. `stages` says which agents this worker runs."""
    register("fleetline-as-is", AsIs())
    sources, topics = load_sources(), settings.topics
    app = ProcessorsApp(
        f"{settings.topic_prefix}processors",
        broker=[yarl.URL(f"kafka://{server}") for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=KafkaSecurity.of(settings).faust_credentials(),
        store="memory://",
        datadir=settings.data_dir / "processors",
        topic_disable_leader=True,
        topic_replication_factor=settings.replication_factor,
        topic_partitions=settings.partitions,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        consumer_group_instance_id=os.environ.get("FLEETLINE_INSTANCE_ID"),
        broker_max_poll_records=5000,
        broker_commit_interval=0.5,
        broker_session_timeout=settings.kafka_session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.kafka_session_timeout_ms / 4000,
        producer_request_timeout=30.0,
        stream_buffer_maxsize=_CHUNKS_BUFFERED,
        stream_wait_empty=False,  # a failed worker must exit at once, not wait for the chunk it failed on
    )
    output = Output(settings)
    app.chunked_topics = frozenset(
        [*(topics.raw(name) for name in sources), topics.telemetry, topics.events] if stages else []
    )
    beat = Heartbeat(settings, "processors").beat
    if "normalize" in stages:
        for source in sources.values():
            _normalize_agent(app, source, topics, view, output, beat)
    if "detect" in stages:
        _detect_agent(app, settings, output, beat)
    if "route" in stages:
        _route_agent(app, topics, view, output, beat)
    _liveness(app, beat)
    return app


def _chunks(app: Any, name: str) -> Any:
    return app.topic(
        name, value_serializer="fleetline-as-is", key_serializer="raw", internal=False, maxsize=_CHUNKS_BUFFERED
    )


def _agent(
    app: Any,
    name: str,
    topic: str,
    work: Callable[[list[Any]], Any],
    output: Output,
    after: Callable[[Any], Any] | None,
    beat: Callable[[], None],
) -> None:
    """Run `work` over the chunks of a topic: produce, flush, `after`, and only then acknowledge."""

    async def agent(stream: Any) -> None:
        async for chunk in stream.noack().events():
            try:
                made = work(chunk.value)
                await output.flush()
                if after is not None:
                    await after(made)
            except Exception:
                # Faust would log this, acknowledge the chunk and go on: a silent loss. So the process ends here, nothing
                # is committed past the chunk, and whoever watches starts it again.
                log.critical("%s failed; this worker ends now and must be started again", name, exc_info=True)
                end_process()
            await stream.ack(chunk)
            beat()

    agent.__name__ = name
    app.agent(_chunks(app, topic), name=name, concurrency=1)(agent)


def end_process() -> None:
    """End the process at once, without the graceful stop that would wait for the failed chunk for ever."""
    logging.shutdown()
    os._exit(FAILED)


def _normalize_agent(
    app: Any, source: Source, topics: Topics, view: RegistryView, output: Output, beat: Callable[[], None]
) -> None:
    normalizer = Normalizer(source, topics, view, output, DefectLimits())
    _agent(app, f"normalize.{source.name}", topics.raw(source.name), normalizer.take, output, None, beat)


def _detect_agent(app: Any, settings: Settings, output: Output, beat: Callable[[], None]) -> None:
    table = app.Table("device-states", partitions=settings.partitions)
    detection = Detection(load_detectors(), settings.topics, output)

    def work(records: Iterable[Any]) -> dict[str, Any]:
        return detection.take(records, table)

    async def after(changed: dict[str, Any]) -> None:
        for device, state in changed.items():
            table[device] = state
        if changed:
            await app.producer.flush()

    _agent(app, "detect", settings.topics.telemetry, work, output, after, beat)


def _route_agent(app: Any, topics: Topics, view: RegistryView, output: Output, beat: Callable[[], None]) -> None:
    _agent(app, "route", topics.events, Router(topics, view, output).take, output, None, beat)


def _liveness(app: Any, beat: Callable[[], None]) -> None:
    """Beat while there is nothing to do; while there is, only finished chunks beat."""

    @app.timer(1.0, on_leader=False)  # type: ignore[untyped-decorator]  # Faust is untyped
    async def idle() -> None:
        consumer = app.consumer
        assigned = [tp for tp in consumer.assignment() if tp.topic in app.chunked_topics]
        if assigned and all(_is_read(consumer, tp) for tp in assigned):
            beat()


def _is_read(consumer: Any, tp: Any) -> bool:
    end = consumer.highwater(tp)
    read = consumer._read_offset.get(tp)  # noqa: SLF001  Faust has no public name for it
    return not end or (read is not None and read + 1 >= end)
