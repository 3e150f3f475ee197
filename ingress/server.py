"""Runs the ingress until it is told to stop."""

import gc
import logging
import signal

from fleetline.settings import Settings

_GC_THRESHOLDS = (50_000, 20, 50)
"""Requests are small trees that die young: Python's default would walk them again every few dozen requests."""

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight. Blocks.

    Raises SystemExit(1) when the registry can no longer be followed: revoked credentials would go on opening the door.
    """
    import uvicorn

    from fleetline.listening import open_files, tls_context
    from ingress.app import build_app
    from ingress.connection import Connection, sweep
    from ingress.intake import spool_of
    from ingress.producer import KafkaProducer
    from ingress.rejected import RejectedStore
    from registry.follower import RegistryFollower
    from sources.catalog import load_sources

    tls = tls_context(settings)
    open_files()
    follower = RegistryFollower(settings, settings.data_dir / "registry" if settings.spool_max_bytes else None)

    async def watch() -> None:
        sweep(server.server_state.connections)
        if follower.failed is not None:
            log.critical("the registry can no longer be followed: %s", follower.failed)
            server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            build_app(
                settings,
                load_sources(),
                follower,
                KafkaProducer(settings),
                spool_of(settings),
                RejectedStore(settings.data_dir / "rejected"),
            ),
            host=settings.host,
            port=settings.ingress_port,
            loop="uvloop",
            http=Connection,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            ssl_context_factory=(lambda *_: tls) if tls else None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # the client's address decides nothing here
            date_header=False,
            timeout_graceful_shutdown=6,
            backlog=4096,
            callback_notify=watch,
            timeout_notify=1,
        )
    )

    def stop(*_: object) -> None:
        """End cleanly: before uvicorn listens to signals, and when it raises them again after it has stopped."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    follower.start()
    try:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        scheme = "https" if tls else "http"
        log.info("ingress on %s://%s:%s", scheme, settings.host, settings.ingress_port)
        server.run()
    finally:
        follower.stop()
    if follower.failed is not None:
        raise SystemExit(1)
