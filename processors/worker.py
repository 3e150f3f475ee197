"""Runs the Faust worker until it is told to stop."""

import logging

from fleetline.settings import Settings

log = logging.getLogger(__name__)

CATCH_UP_TIMEOUT_S = 60.0


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; then commit what is acknowledged and end. Blocks.

    Guarantee: at least once; every output has a deterministic id. Nothing is processed before the registry is complete.
    Raises RuntimeError when the registry cannot be read.
    """
    import uvloop

    uvloop.install()
    import faust

    from processors.app import build_app
    from registry.follower import RegistryFollower

    follower = RegistryFollower(settings)
    follower.start()
    if not follower.wait_caught_up(CATCH_UP_TIMEOUT_S):
        raise RuntimeError(f"the registry topic could not be read within {CATCH_UP_TIMEOUT_S:.0f} s")
    app = build_app(settings, follower.view)
    for noisy in ("faust", "mode", "aiokafka", "abc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    log.info("processors on %s", settings.kafka_bootstrap_servers)
    try:
        faust.Worker(app, loglevel="WARNING", quiet=True, override_logging=False).execute_from_commandline()
    finally:
        follower.stop()
