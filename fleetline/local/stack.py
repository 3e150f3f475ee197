"""The whole local stack: Kafka, ClickHouse and Fleetline's components, started together and stopped in order."""

import fcntl
import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from fleetline.errors import FleetlineError
from fleetline.kafka_admin import ensure_topics
from fleetline.local.clickhouse import LocalClickHouse
from fleetline.local.health import heartbeat_file, is_alive
from fleetline.local.kafka import LocalKafka
from fleetline.local.process import Child, free_port, is_listening, require_free
from fleetline.local_settings import is_set
from fleetline.settings import DOORS, Settings

_SCHEMES = {"ingress": "http", "mqtt": "mqtt", "websocket": "ws", "admin": "http"}
_PROBED = ("ingress", "admin")
"""Components that are asked over HTTP whether they are ready, at the port they serve."""
COMPONENTS = (*DOORS, "processors", "clickhouse", "delivery")
"""In the order they are stopped: intake first, so that what is on the road arrives."""
READY_TIMEOUT_S = 90.0
_RESTART_BACKOFF_S = (0.5, 1, 2, 5, 10)
_LOOPBACK = '["127.0.0.0/8", "::1/128"]'

Notify = Callable[[str], None]


def stack_file(data_dir: Path) -> Path:
    """Where a running stack says what it listens on."""
    return data_dir / "run" / "stack.json"


class Stack:
    """A running stack as a context manager.

    Kafka or ClickHouse named by `KAFKA_BOOTSTRAP_SERVERS` or `CLICKHOUSE_URL` is used as it is; the rest is started here.
    A component that ends unexpectedly is started again, with a growing pause. Setting `cancelled` ends a start early.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        components: Sequence[str] = COMPONENTS,
        notify: Notify = lambda _: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._notify = notify
        self._cancelled = cancelled or threading.Event()
        self._components = tuple(components)
        self._own_kafka = not is_set("KAFKA_BOOTSTRAP_SERVERS")
        self._own_clickhouse = not is_set("CLICKHOUSE_URL")
        update: dict[str, Any] = {"data_dir": settings.data_dir.absolute()}
        if self._own_kafka:
            update["kafka_bootstrap_servers"] = f"127.0.0.1:{settings.kafka_port}"
        if self._own_clickhouse:
            update["clickhouse_url"] = f"http://127.0.0.1:{settings.clickhouse_port}"
        self.settings = settings.model_copy(update=update)
        self.kafka = LocalKafka(self.settings, notify)
        self.clickhouse = LocalClickHouse(self.settings)
        self._children: dict[str, Child] = {}
        self._failures: dict[str, list[float]] = {}
        self._lock: IO[str] | None = None

    @property
    def ingress_url(self) -> str:
        """Base URL of the ingress."""
        return f"http://127.0.0.1:{self.settings.ingress_port}"

    def door_urls(self) -> dict[str, str]:
        """Return where the components that listen do so."""
        secure = "s" if self.settings.tls_certificate else ""
        ports = self.settings.door_ports()
        return {name: f"{_SCHEMES[name]}{secure}://127.0.0.1:{port}" for name, port in ports.items()}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until all of it is ready. Raises FleetlineError with the log of what failed."""
        if self._own_kafka and self.settings.kafka_security_protocol != "PLAINTEXT":
            raise FleetlineError(
                f"FLEETLINE_KAFKA_SECURITY_PROTOCOL is {self.settings.kafka_security_protocol}, but the broker started here "
                "speaks PLAINTEXT: name yours with KAFKA_BOOTSTRAP_SERVERS, or unset the FLEETLINE_KAFKA_* of that one"
            )
        self._take_lock()
        for name, port in self._doors().items():
            option = f"--{name}-port or FLEETLINE_{name.upper()}_PORT"
            require_free(f"the {name} component", self.settings.host, port, option)
        if self._own_clickhouse:
            self.clickhouse.start()
        if self._own_kafka:
            self.kafka.start()
        for name in self._components:
            self._start_component(name)
        if self._own_kafka:
            self._notify("waiting for Kafka")
            self.kafka.wait_ready()
        ensure_topics(self.settings)
        if self._own_clickhouse:
            self._notify("waiting for ClickHouse")
            self.clickhouse.wait_ready()
        for name in self._components:
            self._notify(f"waiting for {name}")
            self._children[name].wait_for(lambda name=name: self._ready_or_cancelled(name), READY_TIMEOUT_S)  # type: ignore[misc]
        self._write_stack_file()

    def _ready_or_cancelled(self, name: str) -> bool:
        return self._cancelled.is_set() or self.is_ready(name)

    def stop(self) -> None:
        """Stop everything, intake first. Safe to call at any moment, and more than once."""
        with suppress(FileNotFoundError):
            if self._lock is not None:
                stack_file(self.settings.data_dir).unlink()
        for name in self._components:
            child = self._children.pop(name, None)
            if child is not None:
                child.stop()
        self.clickhouse.stop()
        self.kafka.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def child(self, name: str) -> Child:
        """Return a component's process."""
        return self._children[name]

    def kill(self, name: str) -> None:
        """End a component with SIGKILL, as a fault would; `watch` or `restart` brings it back."""
        self._children[name].kill()

    def restart(self, name: str) -> None:
        """Start a component that has ended and wait until it is ready."""
        self._children[name].stop()
        self._start_component(name)
        self._children[name].wait_for(lambda: self.is_ready(name), READY_TIMEOUT_S)

    def is_ready(self, name: str) -> bool:
        """Tell whether a component works: the HTTP servers by their probe, the others by their progress."""
        if name not in _PROBED:
            return self._children[name].is_running and is_alive(self.settings, name)
        context = ssl._create_unverified_context() if self.settings.tls_certificate else None  # noqa: S323, SLF001  our own child
        try:
            with urllib.request.urlopen(f"{self.door_urls()[name]}/readyz", timeout=2, context=context) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def watch(self, stopped: threading.Event, say: Notify) -> None:
        """Keep the components running until `stopped` is set. Runs in the thread that started them."""
        due: dict[str, float] = {}
        while not stopped.wait(0.25):
            for what, own, server in (
                ("Kafka", self._own_kafka, self.kafka),
                ("ClickHouse", self._own_clickhouse, self.clickhouse),
            ):
                if own and not server.child.is_running:
                    raise FleetlineError(f"{what} ended unexpectedly:\n{server.child.log_tail()}")
            for name, child in self._children.items():
                if child.is_running:
                    continue
                if name not in due:
                    pause = self._pause(name)
                    say(
                        f"{name} ended with status {child.exit_status}; starting it again in {pause} s\n{child.log_tail(5)}"
                    )
                    due[name] = time.monotonic() + pause
                elif time.monotonic() >= due[name]:
                    del due[name]
                    self._start_component(name)

    def _doors(self) -> dict[str, int]:
        """Return the ports of the components that listen."""
        return {name: port for name, port in self.settings.door_ports().items() if name in self._components}

    def _address(self, name: str) -> str:
        url = self.door_urls().get(name, "")
        return url + {"ingress": "/in/<source>", "admin": "/docs"}.get(name, "")

    def urls(self) -> dict[str, str]:
        """List what listens where."""
        return {
            "Kafka": self.settings.kafka_bootstrap_servers,
            "ClickHouse": self.settings.clickhouse_url,
            **self.door_urls(),
        }

    def health(self) -> list[tuple[str, str, str, int]]:
        """List (what, address, state, process id) of everything."""
        rows = [
            ("Kafka", self.settings.kafka_bootstrap_servers, *_server_state(self._own_kafka, lambda: self.kafka.child)),
            (
                "ClickHouse",
                self.settings.clickhouse_url,
                *_server_state(self._own_clickhouse, lambda: self.clickhouse.child),
            ),
        ]
        for name in self._components:
            state = "ready" if self.is_ready(name) else "not ready"
            rows += [(name, self._address(name), state, self._children[name].pid)]
        return rows

    def _start_component(self, name: str) -> None:
        heartbeat_file(self.settings, name).unlink(missing_ok=True)
        child = Child(
            name,
            [sys.executable, "-m", "fleetline", "-v", "serve", name],
            self.settings.data_dir / "logs" / f"{name}.log",
            self._environment(),
        )
        child.start()
        self._children[name] = child

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": settings.clickhouse_url,
            "CLICKHOUSE_URL_FILE": "",  # read already
            "FLEETLINE_CLICKHOUSE_URL_FILE": "",
            "FLEETLINE_DATA": str(settings.data_dir),
            **{f"FLEETLINE_{name.upper()}_PORT": str(port) for name, port in settings.door_ports().items()},
            "FLEETLINE_TOPIC_PREFIX": settings.topic_prefix,
            # On one's own machine webhooks may go to one's own machine.
            "FLEETLINE_DELIVERY_ALLOW_NETWORKS": os.environ.get("FLEETLINE_DELIVERY_ALLOW_NETWORKS", _LOOPBACK),
            # One idle worker of many: glibc's arenas would cost more than its data.
            "MALLOC_ARENA_MAX": "2",
        }

    def _pause(self, name: str) -> float:
        now = time.monotonic()
        recent = [moment for moment in self._failures.get(name, []) if now - moment < 60]
        self._failures[name] = [*recent, now]
        return _RESTART_BACKOFF_S[min(len(recent), len(_RESTART_BACKOFF_S) - 1)]

    def _take_lock(self) -> None:
        folder = self.settings.data_dir / "run"
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise FleetlineError(
                f"another stack runs on {self.settings.data_dir}; stop it, or choose another folder with --data"
            ) from None
        self._lock = lock

    def _write_stack_file(self) -> None:
        described = {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": self.settings.clickhouse_url,
            **{f"{name}_url": url for name, url in self.door_urls().items()},
            "pid": os.getpid(),
        }
        stack_file(self.settings.data_dir).write_bytes(orjson.dumps(described))


def _server_state(own: bool, child: Callable[[], Child]) -> tuple[str, int]:
    if not own:
        return "given", 0
    return ("ready" if child().is_running else "ended"), child().pid


def with_free_ports(settings: Settings, *, only_taken: bool = False) -> Settings:
    """Return the settings with free ports, or with free ones only where the wanted one is taken."""
    update: dict[str, Any] = {}
    for field in ("kafka_port", "clickhouse_port", *(f"{name}_port" for name in DOORS)):
        if not only_taken or is_listening("127.0.0.1", getattr(settings, field)):
            update[field] = free_port()
    return settings.model_copy(update=update)
