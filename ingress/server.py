"""Runs the ingress until it is told to stop."""

import gc
import logging
import signal

from fleetline.settings import Settings

_GC_THRESHOLDS = (50_000, 20, 50)
"""Requests are small trees that die young: Python's default would walk them again every few dozen requests."""

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is in flight. Blocks."""
    import uvicorn

    from ingress.app import build_app
    from ingress.producer import KafkaProducer
    from registry.follower import RegistryFollower
    from sources.catalog import load_sources

    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped: a handler of ours makes that a clean end.
        signal.signal(number, lambda *_: None)
    follower = RegistryFollower(settings)
    follower.start()
    try:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        app = build_app(settings, load_sources(), follower, KafkaProducer(settings))
        log.info("ingress on http://%s:%s", settings.host, settings.ingress_port)
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.ingress_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # the client's address decides nothing here
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=6,
            backlog=4096,
        )
    finally:
        follower.stop()
