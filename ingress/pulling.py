"""Runs a source's pull connector: what it fetches goes the way of everything that is posted. Knows no vendor.

`fleetline serve <source>-pull` exists for every source that names a connector in `Source.pull`. State lives in Kafka: the
compacted topic `pulls` holds what the connector saved, the raw topic what has arrived. One process per account.
"""

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetline.errors import FleetlineError
from fleetline.local.health import Heartbeat
from fleetline.settings import Settings
from fleetline.stopping import stop_on_signal, stopped_within
from ingress.errors import NotDurable, RejectedRequest
from ingress.intake import Intake
from ingress.probes import Probes
from ingress.producer import KafkaProducer
from ingress.pulling_topics import TopicReader, last_value, requests_of
from registry.follower import RegistryFollower
from registry.model import Credential
from registry.view import RegistryView
from sources.contract import Request, Source
from sources.errors import PullStopped, Refused
from sources.pulling import PULLED, Account, Connector

log = logging.getLogger(__name__)

SUFFIX = "-pull"
_CATCH_UP_S = 60.0
_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_STALLED_S = 90.0
"""A connector that neither works nor waits on purpose for so long shows no sign of life any more."""


def connectors(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Return the components there are, by name."""
    return {f"{name}{SUFFIX}": source for name, source in sources.items() if source.pull}


def prepare(source: Source) -> Callable[[Settings], None]:
    """Read the connector's settings and return what serves it. Raises FleetlineError, which says what to set."""
    connector = cast("Connector", importlib.import_module(source.pull))
    try:
        account = connector.configure()
    except PullStopped as error:
        raise FleetlineError(str(error)) from None
    return lambda settings: asyncio.run(_serve(settings, source, connector, account))


class PullMetrics(Collector):
    """A connector's counts. The names of items are the connector's; its docs are the runbook."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.counts: dict[str, int] = {}
        self.levels: dict[str, float] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        items = CounterMetricFamily("fleetline_pull_items", "What a connector did", labels=["source", "what"])
        for what, count in tuple(self.counts.items()):
            items.add_metric([self._source, what], count)
        level = GaugeMetricFamily("fleetline_pull_level", "How a connector stands", labels=["source", "what"])
        for what, value in tuple(self.levels.items()):
            level.add_metric([self._source, what], value)
        yield from (items, level)


class Session:
    """What `sources.pulling.PullSession` promises, with Kafka behind it."""

    def __init__(self, settings: Settings, source: Source, view: RegistryView, credential: Credential) -> None:
        self._settings = settings
        self._view = view
        self._credential = credential
        self._key = f"{source.name}/{credential.id}".encode()
        self.producer = KafkaProducer(settings)
        self._intake = Intake(settings, {source.name: source}, view, self.producer)
        self._acceptance = self._intake.of(source.name)
        self._reader = TopicReader(settings, settings.topics.raw(source.name))
        self.metrics = PullMetrics(source.name)
        self.beaten_at = time.monotonic()

    async def start(self) -> None:
        """Begin."""
        await self._intake.start()

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""
        await self._intake.stop()
        await asyncio.to_thread(self._reader.close)

    async def load(self) -> bytes:
        """Return what was saved last."""
        from confluent_kafka import KafkaException

        for pause in _pauses():
            try:
                return await last_value(self._settings, self._settings.topics.pulls, self._key)
            except KafkaException as error:
                await self._kafka_is_away(error, pause)
        raise AssertionError  # the pauses have no end

    async def save(self, state: bytes) -> None:
        """Keep a state; returns once it is durable."""
        await self._until_durable(lambda: self.producer.append(self._settings.topics.pulls, self._key, state, []))

    async def deliver(self, path: str, body: bytes) -> None:
        """Store one body; returns once it is durable. Raises PullStopped when the credential was revoked."""

        def store() -> Awaitable[None]:
            current = self._view.credential(self._credential.id)
            if current is None or current.tenant_id != self._credential.tenant_id:
                raise PullStopped(f"credential {self._credential.id} was revoked; name another one and start again")
            request = Request(body=body, method="GET", path=path, transport=PULLED, content_type="application/json")
            return self._acceptance.store(request, current)

        await self._until_durable(store)

    async def received(self, since_us: int) -> AsyncIterator[Sequence[Request]]:
        """Read the tenant's part of the raw topic to its end."""
        from confluent_kafka import KafkaException

        for pause in _pauses():
            try:
                async for batch in requests_of(self._reader, self._credential.tenant_id, since_us):
                    self.beat()
                    if batch:
                        yield batch
            except KafkaException as error:  # it goes on where it was
                await self._kafka_is_away(error, pause)
            else:
                return

    def beat(self) -> None:
        """Note progress."""
        self.beaten_at = time.monotonic()

    def count(self, what: str, number: int = 1) -> None:
        """Count."""
        self.metrics.counts[what] = self.metrics.counts.get(what, 0) + number

    def level(self, what: str, value: float) -> None:
        """Set a level."""
        self.metrics.levels[what] = value

    async def _until_durable(self, append: Callable[[], Awaitable[None]]) -> None:
        """Try until Kafka has it: the platform keeps the data meanwhile, so nothing is lost by waiting."""
        for pause in _pauses():
            try:
                await append()
            except NotDurable:
                self.count("not_durable")
                self.beat()
                await asyncio.sleep(pause)
            except (RejectedRequest, Refused) as error:  # it would be refused the next time too
                self.count("refused")
                log.error("what was fetched is not taken and is passed over: %s", error)
                return
            else:
                self.beat()
                return

    async def _kafka_is_away(self, error: Exception, pause: float) -> None:
        log.warning("Kafka cannot be read for now: %s", error)
        self.beat()
        await asyncio.sleep(pause)


def _pauses() -> Iterator[float]:
    """Yield how long to wait before the next attempt, without an end."""
    return chain(_RETRY_S, repeat(_RETRY_S[-1]))


async def _serve(settings: Settings, source: Source, connector: Connector, account: Account) -> None:
    stop = stop_on_signal()
    follower = RegistryFollower(settings)
    follower.start()
    try:
        deadline = time.monotonic() + _CATCH_UP_S
        while not stop.is_set() and not await asyncio.to_thread(follower.wait_caught_up, 0.5):
            if follower.failed is not None or time.monotonic() > deadline:
                raise FleetlineError("the registry cannot be read; nothing can be fetched")
        if not stop.is_set():
            session = Session(settings, source, follower.view, credential_of(source, follower.view, account))
            await _run(settings, source, connector, account, session, follower, stop)
    finally:
        await asyncio.to_thread(follower.stop)


def credential_of(source: Source, view: RegistryView, account: Account) -> Credential:
    """Return the credential that an account's settings name. Raises FleetlineError, which says how to make one."""
    make = f"`fleetline credential create --source {source.name}` makes one and prints its id"
    setting = f"{source.name.upper()}_CREDENTIAL"
    if not account.credential:
        raise FleetlineError(f"nobody owns what is fetched: set {setting} to the id of a credential; {make}")
    found = view.credential(account.credential)
    if found is None:
        raise FleetlineError(f"{setting} names no credential of this installation; {make}")
    if found.source != source.name:
        raise FleetlineError(f"{setting} names a credential of {found.source}; {make}")
    if found.device_id:
        raise FleetlineError(f"{setting} names a credential that speaks for one device alone; {make}")
    return found


async def _run(
    settings: Settings,
    source: Source,
    connector: Connector,
    account: Account,
    session: Session,
    follower: RegistryFollower,
    stop: asyncio.Event,
) -> None:
    heartbeat = Heartbeat(settings, f"{source.name}{SUFFIX}")
    probes = Probes(settings, session.metrics.registry, session.producer)
    await session.start()
    await probes.start()
    task = asyncio.create_task(connector.run(account, session))
    try:
        while not stop.is_set() and not task.done():
            await stopped_within(stop, 1.0)
            if follower.failed is not None:
                raise RuntimeError("the registry is no longer followed") from follower.failed
            if time.monotonic() - session.beaten_at < _STALLED_S:
                heartbeat.beat()
    finally:
        ended_by_itself = task.done()
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        await probes.stop()
        await session.stop()
    if isinstance(outcome, PullStopped):
        raise FleetlineError(str(outcome)) from None
    if isinstance(outcome, Exception):
        raise outcome
    if ended_by_itself and not stop.is_set():
        raise RuntimeError(f"the connector of {source.name} ended by itself")
