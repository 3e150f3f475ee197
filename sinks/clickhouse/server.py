"""Runs the loader until it is told to stop."""

import gc
import logging
import signal
import threading
from typing import TYPE_CHECKING

from fleetline.settings import Settings

if TYPE_CHECKING:
    from sinks.clickhouse.loader import Loader

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_GC_THRESHOLDS = (200_000, 20, 50)
"""A batch is tens of thousands of rows that live until their insert: the collector would walk them all in vain."""


def serve(settings: Settings) -> None:
    """Migrate, then load until SIGTERM or SIGINT. Blocks; waits for ClickHouse when it is not there yet."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from fleetline.local.health import Heartbeat
    from sinks.clickhouse.connection import connect
    from sinks.clickhouse.loader import Loader
    from sinks.clickhouse.migrate import migrate

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    heartbeat = Heartbeat(settings, "clickhouse")
    client = None
    while client is None and not stopped.is_set():
        try:
            client = connect(settings)
            migrate(client)
        except (ClickHouseError, OSError) as error:
            log.warning("no ClickHouse at %s yet: %s", settings.clickhouse_url.rpartition("@")[2], str(error)[:200])
            client = None
            stopped.wait(_RETRY_S)
    if client is None:
        return
    loader = Loader(settings, client)
    threading.Thread(target=_stop_with, args=(stopped, loader), daemon=True).start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    log.info("loading from %s", settings.kafka_bootstrap_servers)
    try:
        while not stopped.is_set():
            loader.step()
            heartbeat.beat()
    finally:
        loader.close()
        client.close()


def _stop_with(stopped: threading.Event, loader: "Loader") -> None:
    stopped.wait()
    loader.stop()
