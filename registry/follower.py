"""Keeps a component's view of the registry up to date: a thread that follows the topic."""

import logging
import threading
import time
from typing import TYPE_CHECKING

from registry.topic import Rewound, TopicReader
from registry.view import RegistryView

if TYPE_CHECKING:
    from fleetline.settings import Settings

log = logging.getLogger(__name__)

_STEP_S = 0.2
_METADATA_S = 2.0
_ABSENT_S = 0.2
_RETRY_S = 1.0
_TELL_S = 3.0


class RegistryFollower:
    """Reads the whole topic, then every change as it comes: visible in `view` within a second, in practice 20 ms.

    Survives broker restarts, a topic that does not exist yet and one that is deleted or recreated: meanwhile, and until
    a recreated topic has been read whole, the last known view goes on serving. Only an error that cannot pass by itself
    ends the thread; it is then in `failed`, and a component that sees it must exit: its view would grow stale silently.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self.view = RegistryView()
        self.failed: Exception | None = None
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._settled = threading.Event()
        """Caught up, failed or stopped: nothing left to wait for."""
        self._thread = threading.Thread(target=self._run, name="registry-follower", daemon=True)

    def start(self) -> None:
        """Start following; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following and wait for the thread to end. The view stays as it is."""
        self._stopping.set()
        self._settled.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def caught_up(self) -> bool:
        """Tell whether all that was in the topic at the start is in the view. Stays true during later interruptions."""
        return self._caught_up.is_set()

    @property
    def alive(self) -> bool:
        """Tell whether changes still reach the view."""
        return self._thread.is_alive() and self.failed is None

    def wait_caught_up(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for `caught_up`. False at once when the thread has failed."""
        self._settled.wait(timeout)
        return self.caught_up

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._follow_one_log()
        except Exception as error:
            self.failed = error
            log.exception("the registry is no longer followed; this component must be restarted")
        finally:
            self._settled.set()

    def _follow_one_log(self) -> None:
        """Follow the topic until it turns out to be another one. The first time straight into `view`."""
        from confluent_kafka import KafkaException

        view = RegistryView() if self.caught_up else self.view
        if not self.caught_up:
            view.adopt(RegistryView())  # what an interrupted first reading left behind
        reader = TopicReader(self._settings, view, announce=True)  # refused settings do not pass by themselves: raised
        try:
            if self._opened(reader):
                self._follow(reader)
        except Rewound as reason:
            log.warning("the registry topic is read anew: %s", reason)
            self._stopping.wait(_ABSENT_S)
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            log.warning("the registry cannot be read for now: %s", error)
            self._stopping.wait(_RETRY_S)
        finally:
            reader.close()

    def _opened(self, reader: TopicReader) -> bool:
        announced = False
        while not self._stopping.is_set():
            if reader.open(_METADATA_S):
                return True
            if not announced:
                log.warning("there is no topic %s yet; waiting for it", self._settings.topics.registry)
                announced = True
            self._stopping.wait(_ABSENT_S)
        return False

    def _follow(self, reader: TopicReader) -> None:
        progress = Progress()
        while not self._stopping.is_set():
            progress.add(reader.step(_STEP_S))
            reader.check_log(wait=False)
            if reader.at_end and (not self.caught_up or reader.view is not self.view):
                if reader.view is not self.view:
                    self.view.adopt(reader.view)
                    reader.view = self.view
                self._caught_up.set()
                self._settled.set()
                progress.end(len(self.view))


class Progress:
    """Tells how far the first reading is: of a million devices it takes ten seconds."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()
        self._read = 0
        self._ended = False

    def add(self, count: int) -> None:
        """Note that so many more messages were read, and say so every few seconds."""
        now = time.monotonic()
        self._read += count
        if not self._ended and now - self._told >= _TELL_S:
            self._told = now
            log.info("the registry is being read: %d messages, %.0f/s", self._read, self._read / (now - self._started))

    def end(self, entries: int) -> None:
        """Say that all is read, and no more from now on."""
        self._ended = True
        took = time.monotonic() - self._started
        log.info("the registry is read to its end: %d entries, %d messages, %.0f ms", entries, self._read, took * 1000)
