"""What senders that never send again had to say when their credential was refused: kept for a day, for the operator.

A PSK that was changed on one side only costs every webhook until somebody notices, and BikeTrax, ChirpStack, The Things Stack
and Traccar send nothing twice (BT-a16). The answer stays 401 and nothing here counts as accepted: there is no fsync, a body may
be dropped, and strangers may have written all of it. The presented secret is never in it.
"""

import asyncio
import base64
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ingress.errors import RejectedRequest
from schemas.times import SECOND_US, format_us
from sources.contract import Request, Source
from sources.raw_record import NEVER_CAPTURED

log = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024
"""Bodies of these senders are one event of a few kB; who sends more without a credential is somebody else."""
READ_TIMEOUT_S = 2.0
_WAITING_BYTES = 8 * 1024 * 1024
_SPANS = 24
_PIECES = 16
_SWEEP_S = 60.0
_WARN_AGAIN_S = 3600.0
_SUFFIX = ".ndjson"
_HEADERS = ("content-type", "user-agent")
_REDACTED = "redacted"


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One refused request: when, by which method and path, the headers its source asks for, and the body."""

    rejected_at: str
    source: str
    method: str = "POST"
    path: str
    headers: dict[str, str] = {}
    body: bytes
    """Inflated; base64 in the file."""


class _Waiting(msgspec.Struct, frozen=True):
    at_us: int
    source: str
    path: str
    body: bytes
    headers: dict[str, str]
    method: str


class RejectedStore:
    """Files of JSON lines below `directory/<source>`, written by a thread of its own so that no request ever waits for them.

    Each source has `max_bytes`, so that a stranger at one route cannot push out what came by another; the oldest goes first.
    Nothing is older than `max_age_s`. Several processes may share the directory. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int = 64 * 1024 * 1024,
        max_age_s: float = 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._asked = 0
        self._done = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._segments: dict[str, tuple[Path, float]] = {}
        self._warned: dict[str, float] = {}
        self._bytes: dict[str, int] = {}
        self._outcomes: dict[tuple[str, str], int] = {}

    def start(self) -> None:
        """Begin to write, and to delete what has grown too old, an earlier process's files included."""
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="rejected", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, then end. Blocks: call it from a thread."""
        if self._thread is not None:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._thread.join()
            self._thread = None

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything kept so far is in its file and what is too much or too old is gone; False: it took too long."""
        with self._changed:
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= asked, timeout_s)

    async def rescue(self, source: Source, request: Request, reading: Awaitable[bytes]) -> None:
        """Keep a request whose credential was refused; `reading` gives its inflated body. Never raises for a bad body.

        A stranger gets no more of our time than `READ_TIMEOUT_S`.
        """
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                body = source.seal(await reading)
        except (TimeoutError, RejectedRequest):
            self._count(source.name, "unread")
            return
        except Exception as error:  # noqa: BLE001  only the type: the text may quote the body
            log.error("a refused body of source %s could not be sealed: %s", source.name, type(error).__name__)
            self._count(source.name, "unread")
            return
        path, headers = without_secrets(source, request)
        self.keep(source.name, path, body, headers, request.method)

    def keep(
        self, source_name: str, path: str, body: bytes, headers_without_secrets: Mapping[str, str], method: str = "POST"
    ) -> bool:
        """Take a refused request; returns at once. False: it is too large, or more come than the disk takes."""
        self._warn(source_name)
        if len(body) > LARGEST_BODY or self._thread is None:
            self._count(source_name, "not_running" if self._thread is None else "too_large")
            return False
        taken = _Waiting(int(self._clock() * SECOND_US), source_name, path, body, dict(headers_without_secrets), method)
        size = len(body) + len(path) + sum(map(len, taken.headers.values())) + 1024  # a stranger fills headers as well
        with self._changed:
            if self._waiting_bytes + size > _WAITING_BYTES:
                self._count(source_name, "too_many")
                return False
            self._waiting.append(taken)
            self._waiting_bytes += size
            self._changed.notify_all()
        return True

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; register the store itself as a collector."""
        # Refused requests of senders that never send again. Alert on any increase of `kept`: somebody's credential is wrong, and
        # what they send is lost for good when it leaves this store. `too_many`: somebody is knocking at the door.
        outcomes = CounterMetricFamily(
            "fleetline_ingress_rejected", "Refused requests by outcome", labels=["source", "outcome"]
        )
        for (source, outcome), count in list(self._outcomes.items()):
            outcomes.add_metric([source, outcome], count)
        yield outcomes
        # What the store holds now.
        size = GaugeMetricFamily("fleetline_ingress_rejected_bytes", "Bytes of refused requests", labels=["source"])
        for source, held in list(self._bytes.items()):
            size.add_metric([source], held)
        yield size

    def _warn(self, source_name: str) -> None:
        now = self._clock()
        if now - self._warned.get(source_name, -_WARN_AGAIN_S) < _WARN_AGAIN_S:
            return
        self._warned[source_name] = now
        log.warning(
            "a sender of %s is refused (401) and will not send again: check its credential; what it sent is kept for %d h in %s",
            source_name, self._max_age_s // 3600, self._directory / source_name,
        )  # fmt: skip

    def _count(self, source_name: str, outcome: str) -> None:
        key = (source_name, outcome)
        self._outcomes[key] = self._outcomes.get(key, 0) + 1

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and self._done == self._asked and not self._closing:
                    self._changed.wait(_SWEEP_S)
                batch = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                asked, closing = self._asked, self._closing
            for each in batch:
                self._write(each)
            self._sweep()
            with self._changed:
                self._done = asked
                self._changed.notify_all()
                if closing and not self._waiting:
                    return

    def _write(self, each: _Waiting) -> None:
        line = msgspec.json.encode(
            {
                "rejected_at": format_us(each.at_us),
                "source": each.source,
                "method": each.method,
                "path": each.path,
                "headers": each.headers,
                "body": base64.b64encode(each.body).decode(),
            }
        )
        try:
            _append(self._segment(each.source), line + b"\n")
        except OSError as error:
            log.error("a refused request cannot be kept: %s", error)
            self._count(each.source, "not_written")
        else:
            self._count(each.source, "kept")

    def _segment(self, source_name: str) -> Path:
        """Return the file to append to: a new one now and then, so that the oldest can be deleted in small pieces."""
        now = self._clock()
        path, opened = self._segments.get(source_name, (Path(), 0.0))
        fresh = opened <= now < opened + self._max_age_s / _SPANS
        if fresh and path.exists() and path.stat().st_size < self._max_bytes / _PIECES:
            return path
        folder = self._directory / source_name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{int(now * SECOND_US):020}-{os.getpid()}{_SUFFIX}"
        self._segments[source_name] = (path, now)
        return path

    def _sweep(self) -> None:
        """Delete what is too old, then the oldest of what is too much."""
        try:
            sources = [folder for folder in self._directory.iterdir() if folder.is_dir()]
        except OSError:
            return
        for folder in sources:
            held = 0
            for path in sorted(folder.glob(f"*{_SUFFIX}"), reverse=True):
                size = _size(path)
                if held + size > self._max_bytes or self._clock() - _opened_s(path) >= self._max_age_s:
                    path.unlink(missing_ok=True)
                else:
                    held += size
            self._bytes[folder.name] = held


def without_secrets(source: Source, request: Request) -> tuple[str, dict[str, str]]:
    """Return a request's path with its query, and the few headers its source asks for: never what may be the secret."""
    path = request.path
    for name, part in request.path_params.items():
        if name not in source.secret_path_parts:
            path = path.replace(f"{{{name}}}", part)
    if request.query:
        pairs = [(name, _REDACTED if name in source.secret_query else value) for name, value in request.query.items()]
        path = f"{path}?{urlencode(pairs, errors='replace')}"
    wanted = (name for name in (*_HEADERS, *source.captured_headers) if name not in NEVER_CAPTURED)
    return path, {name: value for name in wanted if (value := request.header(name))}


def read_rejected(directory: Path, source_name: str) -> Iterator[Rejected]:
    """Read what is kept of one source, oldest file first. A line torn by a crash is passed over."""
    for path in sorted((directory / source_name).glob(f"*{_SUFFIX}")):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:  # its day is over
            continue
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Rejected)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue


def _append(path: Path, line: bytes) -> None:
    """Append a line in one write: several processes and a crash leave whole lines, but for the last."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _opened_s(path: Path) -> float:
    digits = path.name.partition("-")[0]
    return int(digits) / SECOND_US if digits.isdecimal() else 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
