"""Listens for MQTT clients until it is told to stop."""

import asyncio
import errno
import gc
import logging
from collections.abc import Coroutine
from typing import Any, cast

from fleetline.errors import PortTaken
from fleetline.listening import open_files, tls_context
from fleetline.local.health import Heartbeat
from fleetline.settings import Settings
from fleetline.stopping import stop_on_signal, stopped_within
from ingress.metrics import IngressMetrics
from ingress.mqtt.gate import Gate
from ingress.mqtt.house import Phase, Seated
from ingress.mqtt.metrics import MqttCounts
from ingress.mqtt.packets import Reason
from ingress.mqtt.session import Session
from ingress.probes import Probes
from registry.follower import RegistryFollower

log = logging.getLogger(__name__)

COMPONENT = "mqtt"
TICK_S = 1.0
DRAIN_S = 5.0
_HANDSHAKE_S = 10.0
_BACKLOG = 4096
_SPARE_FILES = 128
_ROOM = 0.4
"""Share of `max_in_flight_bytes` from which on sockets are no longer read: before the durable log would refuse (0.5)."""
_GC_THRESHOLDS = (50_000, 20, 50)


class Connection(asyncio.Protocol):
    """A socket with its session."""

    __slots__ = ("_server", "_session")

    def __init__(self, server: "MqttServer") -> None:
        self._server = server
        self._session: Session | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is a place."""
        link = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        self._session = self._server.enter(link)

    def data_received(self, data: bytes) -> None:
        """Pass on what came."""
        if self._session is not None:
            self._session.received(data)

    def pause_writing(self) -> None:
        """Pass on that the client does not read."""
        if self._session is not None:
            self._session.writable(False)

    def resume_writing(self) -> None:
        """Pass on that it reads again."""
        if self._session is not None:
            self._session.writable(True)

    def connection_lost(self, _: Exception | None) -> None:
        """Pass on the end."""
        session, self._session = self._session, None
        if session is not None:
            self._server.leave(session)
            session.lost()


class MqttServer:
    """All connections of one process, and what they share. Keeps nothing beyond a connection's life."""

    def __init__(self, settings: Settings, gate: Gate, counts: MqttCounts) -> None:
        self.gate = gate
        self.counts = counts
        self.largest_packet = settings.max_body_bytes
        self._settings = settings
        self._sessions: set[Session] = set()
        self._seats: dict[tuple[str, str], Seated] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[Seated, None] = {}
        self._carried = 0
        self._held = 0
        self._capacity = int(settings.max_in_flight_bytes * _ROOM)
        self._places = min(settings.mqtt_max_connections, open_files() - _SPARE_FILES)
        self._listener: asyncio.Server | None = None

    # --- what a session asks for -----------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, whatever becomes of the connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def seat(self, session: Seated, key: tuple[str, str]) -> None:
        """Note that a client is here; another connection of the same client must leave (MQTT-3.1.4-2).

        The key holds the credential: knowing another device's client id is not enough to throw it out.
        """
        former = self._seats.get(key)
        self._seats[key] = session
        if former is not None:
            self.counts.ended(Reason.TAKEN_OVER.name.lower())
            former.close(Reason.TAKEN_OVER)

    def has_room(self) -> bool:
        """Tell whether more may wait for Kafka."""
        return self._carried < self._capacity

    def wait_for_room(self, session: Seated) -> None:
        """Let the session go on when there is room."""
        self._waiting[session] = None

    def carry(self, difference: int) -> None:
        """Count bytes that wait for Kafka."""
        self._carried += difference
        while self._waiting and self._carried < self._capacity:
            session = next(iter(self._waiting))
            del self._waiting[session]
            asyncio.get_running_loop().call_soon(session.go_on)

    def hold(self, difference: int) -> bool:
        """Count bytes of packets that are not complete; False when it is too much."""
        self._held += difference
        return self._held <= self._capacity

    # --- connections -----------------------------------------------------------------------------------------------------

    def enter(self, link: asyncio.Transport) -> Session | None:
        """Take a new connection, or close it when there is no place left."""
        if len(self._sessions) >= self._places:
            self.counts.ended("no_place")
            link.abort()
            return None
        session = Session(self, link)
        self._sessions.add(session)
        self.counts.connections = len(self._sessions)
        return session

    def leave(self, session: Session) -> None:
        """Forget a connection that is closed."""
        self._sessions.discard(session)
        self.counts.connections = len(self._sessions)
        if self._seats.get(session.seat_key) is session:
            del self._seats[session.seat_key]
        if session.phase <= Phase.OPEN:
            self.counts.ended("lost")

    # --- life ------------------------------------------------------------------------------------------------------------

    async def start(self) -> int:
        """Begin to listen; return the port. Raises FleetlineError when port or certificate cannot be used."""
        await self.gate.intake.start()
        loop = asyncio.get_running_loop()
        tls = tls_context(self._settings)
        try:
            self._listener = await loop.create_server(
                lambda: Connection(self),
                self._settings.host,
                self._settings.mqtt_port,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
                backlog=_BACKLOG,
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTaken("MQTT", self._settings.mqtt_port, "FLEETLINE_MQTT_PORT") from None
        port: int = self._listener.sockets[0].getsockname()[1]
        log.info("MQTT%s on %s:%s", " with TLS" if tls else "", self._settings.host, port)
        return port

    def tick(self) -> None:
        """Enforce the time limits of all connections; called about once a second."""
        now = asyncio.get_running_loop().time()
        for session in tuple(self._sessions):
            session.tick(now)

    async def stop(self) -> None:
        """Take nothing more, finish what waits for Kafka, acknowledge it, say goodbye, end."""
        if self._listener is not None:
            self._listener.close()
        for session in self._sessions:
            session.stop_taking()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        for session in tuple(self._sessions):
            session.close(Reason.SERVER_SHUTTING_DOWN)
        deadline = asyncio.get_running_loop().time() + 1
        while self._sessions and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  the sockets are at it
            await asyncio.sleep(0.01)
        for session in tuple(self._sessions):
            session.abort()
        await self.gate.intake.stop()


async def run(settings: Settings, follower: RegistryFollower, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Listens only once the registry is known: before that every token would be refused.

    Raises RuntimeError when the registry can no longer be followed: revoked tokens would go on opening the door.
    """
    from ingress.intake import spool_of
    from ingress.producer import KafkaProducer
    from sources.catalog import load_sources

    heartbeat = Heartbeat(settings, COMPONENT)
    gate = Gate(settings, load_sources(), follower.view, KafkaProducer(settings), spool_of(settings))
    metrics = IngressMetrics(gate.intake)
    server = MqttServer(settings, gate, MqttCounts(metrics))
    while not follower.caught_up and not stop.is_set():
        if follower.failed is not None:
            raise RuntimeError("the registry cannot be read") from follower.failed
        await stopped_within(stop, 0.05)
    if stop.is_set():
        return
    probes = Probes(settings, metrics.registry, gate.intake.producer)
    try:
        await server.start()
        await probes.start()
        while not stop.is_set():
            server.tick()
            heartbeat.beat()
            if follower.failed is not None:
                raise RuntimeError("the registry is no longer followed") from follower.failed
            await stopped_within(stop, TICK_S)
    finally:
        await server.stop()
        await probes.stop()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight. Blocks.

    Raises FleetlineError for a certificate or a port that cannot be used, RuntimeError when the registry is lost.
    """
    import uvloop

    follower = RegistryFollower(settings)

    async def main() -> None:
        await run(settings, follower, stop_on_signal())

    follower.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        uvloop.run(main())
    finally:
        follower.stop()
