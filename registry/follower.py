"""Keeps a component's view of the registry up to date: a thread that follows the topic."""

import contextlib
import ctypes
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from registry.local_copy import LocalCopy
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
_SILENCE_S = 3.0


class RegistryFollower:
    """Reads the whole topic, then every change as it comes: visible in `view` within a second, in practice 20 ms.

    Survives broker restarts, a topic that does not exist yet and one that is deleted or recreated: meanwhile, and until
    a recreated topic has been read whole, the last known view goes on serving. Only an error that cannot pass by itself
    ends the thread; it is then in `failed`, and a component that sees it must exit: its view would grow stale silently.

    `copies`: a folder for local copies. A start without a broker then takes the last one until the broker is there; what was
    revoked since that copy was made opens until then.
    """

    def __init__(self, settings: "Settings", copies: Path | None = None) -> None:
        self._settings = settings
        self._copies = copies
        self._copy: LocalCopy | None = None
        self._stood_in = False
        self.view = RegistryView()
        self.failed: Exception | None = None
        self._reader: TopicReader | None = None
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

    @property
    def position(self) -> int:
        """The offset up to which `view` shows the topic as it is now; -1 while it shows an earlier one, or none."""
        reader = self._reader
        return reader.position if reader is not None and reader.view is self.view else -1

    @property
    def log_id(self) -> str:
        """Which topic is followed: a recreated one has another id. Empty while there is none."""
        reader = self._reader
        return "" if reader is None else reader.log_id

    def _run(self) -> None:
        try:
            if self._copies is not None:
                self._copy = LocalCopy.own(self._copies)
            while not self._stopping.is_set():
                self._follow_one_log()
        except Exception as error:
            self.failed = error
            log.exception("the registry is no longer followed; this component must be restarted")
        finally:
            self._settled.set()
            if self._copy is not None:
                self._copy.close()

    def _follow_one_log(self) -> None:
        """Follow the topic until it turns out to be another one. The first time straight into `view`."""
        from confluent_kafka import KafkaException

        view = RegistryView() if self.caught_up else self.view
        if not self.caught_up:
            view.adopt(RegistryView())  # what an interrupted first reading left behind
        reader = TopicReader(self._settings, view, announce=True, copy=self._copy)  # refused settings: raised
        self._reader = reader
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
            self._stand_in()
            self._stopping.wait(_RETRY_S)
        finally:
            self._reader = None
            reader.close()

    def _stand_in(self) -> None:
        """Without a broker to read from: take the local copy, if there is one and nothing was read yet."""
        if self._copy is None or self._stood_in or self.caught_up:
            return
        self._stood_in = True
        found = RegistryView()
        if self._copy.load(found.apply):
            self.view.adopt(found)
            log.warning("until Kafka is back the registry is the local copy: %d entries", len(found))
            self._caught_up.set()
            self._settled.set()

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
        read_by = time.monotonic() + _SILENCE_S
        while not self._stopping.is_set():
            count = reader.step(_STEP_S)
            progress.add(count)
            if count or not reader.broker_error:
                read_by = time.monotonic() + _SILENCE_S
            elif not self.caught_up and self._copy is not None and time.monotonic() > read_by:
                self._stand_in()
                raise Rewound(f"the broker went away: {reader.broker_error}")
            reader.check_log(wait=False)
            if reader.at_end and (not self.caught_up or reader.view is not self.view):
                if reader.view is not self.view:
                    self.view.adopt(reader.view)
                    reader.view = self.view
                self._caught_up.set()
                self._settled.set()
                if self._copy is not None:
                    self._copy.complete()
                progress.end(len(self.view))
                give_back_memory()


def give_back_memory() -> None:
    """Return to the system what the C library keeps free: after a long reading a fifth of the process. glibc only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
