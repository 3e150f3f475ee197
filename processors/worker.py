"""Runs the Faust worker until it is told to stop."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from fleetline.kafka_trouble import TroubleHandler
from fleetline.settings import Settings

if TYPE_CHECKING:
    from processors.registrar import Registrar
    from processors.release import Releaser
    from registry.follower import RegistryFollower

log = logging.getLogger(__name__)

RELEASE = "release"
"""The stage beside those of the Faust app: records of unknown devices go on once the device is known; for tenants that want it,
the device is made."""
CATCH_UP_TIMEOUT_S = 60.0
_GC_THRESHOLDS = (50_000, 20, 50)
"""Records are trees that die young; Python's default would walk them again every few dozen records."""


def serve(settings: Settings, stages: Collection[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; then commit what is acknowledged and end. Blocks. `stages` None means all.

    Guarantee: at least once; every output has a deterministic id. Nothing is processed before the registry is complete.
    Raises RuntimeError when the registry cannot be read.
    """
    import uvloop

    uvloop.install()
    import faust

    from processors.app import STAGES, build_app, end_process
    from processors.release import Releaser
    from registry.follower import RegistryFollower

    follower = RegistryFollower(settings)
    follower.start()
    if not follower.wait_caught_up(CATCH_UP_TIMEOUT_S):
        raise RuntimeError(f"the registry topic could not be read within {CATCH_UP_TIMEOUT_S:.0f} s")
    app = build_app(settings, follower.view, STAGES if stages is None else stages)
    _end_with(follower, end_process)
    releaser = Releaser(settings, follower.view) if stages is None or RELEASE in stages else None
    registrar = None if releaser is None else _registrar(settings, follower, releaser)
    for noisy in ("faust", "mode", "aiokafka", "abc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("aiokafka").addHandler(TroubleHandler())
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    log.info("processors on %s", settings.kafka_bootstrap_servers)
    if releaser is not None:
        releaser.start(end_process)
    if registrar is not None:
        registrar.start()
    try:
        faust.Worker(app, loglevel="WARNING", quiet=True, override_logging=False).execute_from_commandline()
    finally:
        if registrar is not None:
            registrar.stop()
        if releaser is not None:
            releaser.stop()
        follower.stop()


def _registrar(settings: Settings, follower: "RegistryFollower", releaser: "Releaser") -> "Registrar":
    from processors.registrar import Registrar

    made = Registrar(settings, follower, releaser.look_again)
    releaser.offer_unknown_to(made.offer)
    return made


def _end_with(follower: "RegistryFollower", end: Callable[[], None]) -> None:
    """End the process when the registry is no longer followed: identifying by an old view would be wrong quietly."""

    def watch() -> None:
        while follower.failed is None:
            time.sleep(1.0)
        log.critical("the registry can no longer be followed: %s", follower.failed)
        end()

    threading.Thread(target=watch, daemon=True, name="registry-watch").start()
