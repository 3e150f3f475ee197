"""Runs the admin API until it is told to stop."""

import logging
import signal

from fleetline.settings import Settings

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight. Blocks.

    Raises SystemExit(1) when the registry can no longer be followed: revoked keys would go on opening.
    """
    import uvicorn

    from admin.access import check_admin_token
    from admin.app import build_app
    from admin.live import LiveRegistry
    from fleetline.listening import tls_context

    check_admin_token(settings)
    tls = tls_context(settings)
    live = LiveRegistry(settings)

    async def watch() -> None:
        if live.failed is not None:
            server.should_exit = True

    server = uvicorn.Server(
        uvicorn.Config(
            build_app(settings, live),
            host=settings.host,
            port=settings.admin_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            ssl_context_factory=(lambda *_: tls) if tls else None,
            server_header=False,
            proxy_headers=False,  # the client's address decides nothing here
            timeout_graceful_shutdown=20,
            callback_notify=watch,
            timeout_notify=1,
        )
    )

    def stop(*_: object) -> None:
        """End cleanly: before uvicorn listens to signals, and when it raises them again after it has stopped."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    live.start()
    try:
        log.info("admin API on %s://%s:%s", "https" if tls else "http", settings.host, settings.admin_port)
        server.run()
    finally:
        live.stop()
    if live.failed is not None:
        raise SystemExit(1)
