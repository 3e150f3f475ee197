"""Listens for devices' WebSockets until it is told to stop, and answers the probes on the same port."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fleetline.errors import FleetlineError
from fleetline.listening import tls_context
from fleetline.local.health import Heartbeat
from fleetline.settings import Settings
from fleetline.stopping import stop_on_signal, stopped_within
from ingress.intake import Intake, spool_of
from ingress.metrics import IngressMetrics
from ingress.websocket import WebSocketSession
from registry.follower import RegistryFollower
from sources.contract import Source

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection

log = logging.getLogger(__name__)

COMPONENT = "websocket"
PING_S = 30.0
AUTH_BYTES = 256 * 1024
"""Nobody sends a larger frame before we know who it is: thousands of strangers may be connected."""
UNREAD_BYTES = 1024 * 1024
"""Answers (pongs too) that may wait for a client that does not read; then it is cut off."""
_TICK_S = 1.0


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then store what is under way. Blocks.

    Raises SystemExit(1) when the registry can no longer be followed: revoked tokens would go on opening the door.
    """
    import uvloop

    from sources.catalog import load_sources

    follower = RegistryFollower(settings)
    follower.start()
    try:
        uvloop.run(_serve(settings, load_sources(), follower))
    finally:
        follower.stop()
    if follower.failed is not None:
        raise SystemExit(1)


async def _serve(settings: Settings, sources: Mapping[str, Source], follower: RegistryFollower) -> None:
    from ingress.producer import KafkaProducer

    stop = stop_on_signal()
    intake = Intake(
        settings, sources, follower.view, KafkaProducer(settings), spool_of(settings), lambda: follower.caught_up
    )
    heartbeat = Heartbeat(settings, COMPONENT)
    door = WebSocketDoor(settings, sources, intake)
    await intake.start()
    async with await door.listen(lambda: follower.caught_up) as server:
        log.info("device WebSockets on port %d", settings.websocket_port)
        while not stop.is_set() and follower.failed is None:
            heartbeat.beat()
            sweep(server)
            await stopped_within(stop, _TICK_S)
    await intake.stop()


class WebSocketDoor:
    """The WebSocket port: the sources that declare `websocket`, of which there may be one."""

    def __init__(self, settings: Settings, sources: Mapping[str, Source], intake: Intake) -> None:
        served = [name for name, source in sources.items() if source.websocket]
        if len(served) != 1:
            raise FleetlineError(f"one source can be served over WebSocket, and these declare it: {', '.join(served)}")
        self._settings = settings
        self._intake = intake
        self._metrics = IngressMetrics(intake)
        self._acceptance = intake.of(served[0])
        self._counts = self._metrics.of(served[0])
        self._tls = tls_context(settings)
        self._open = 0

    async def listen(self, caught_up: Any) -> "Server":
        """Begin to listen; the result closes with `async with`. `caught_up()` tells whether the registry has been read."""
        from websockets.asyncio.server import serve as listen

        connections = logging.getLogger(f"{__name__}.connections")
        connections.setLevel(logging.INFO)  # below that the library logs frames, and the first one is the token

        async def process_request(connection: "ServerConnection", request: Any) -> Any:
            return await self._probe(connection, request.path, caught_up())

        return await listen(
            self._handle,
            self._settings.host,
            self._settings.websocket_port,
            process_request=process_request,
            logger=connections,
            max_size=min(AUTH_BYTES, self._settings.max_body_bytes),
            ping_interval=PING_S,
            ping_timeout=PING_S,
            compression=None,  # a reading is too small to be worth 64 KiB of window for each connection
            server_header=None,
            ssl=self._tls,
        )

    async def _handle(self, connection: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        def admitted() -> None:
            connection.protocol.max_message_size = self._settings.max_body_bytes

        self._open += 1
        try:
            await WebSocketSession(connection, self._acceptance, self._counts, admitted).run()
        except ConnectionClosed:
            pass
        finally:
            self._open -= 1

    async def _probe(self, connection: "ServerConnection", path: str, caught_up: bool) -> Any:
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "alive\n")
        if path == "/readyz":
            ready = caught_up and await self._intake.is_usable()
            return connection.respond(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, f"ready: {ready}\n")
        if path == "/metrics":
            from prometheus_client import generate_latest

            return connection.respond(HTTPStatus.OK, generate_latest(self._metrics.registry).decode())
        if self._open >= self._settings.websocket_max_connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        return None


def sweep(server: "Server") -> None:
    """Cut off who does not read: the library answers pings without asking whether anybody takes the answers."""
    for connection in server.connections:
        if connection.transport.get_write_buffer_size() > UNREAD_BYTES:
            connection.transport.abort()
