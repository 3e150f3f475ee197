"""Child processes that never outlive us, and ports."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleetline.errors import FleetlineError, PortTaken

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_port() -> int:
    """Ask the system for a port nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(what: str, host: str, port: int, setting: str) -> None:
    """Raise PortTaken when somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortTaken(what, port, setting) from None


def is_listening(host: str, port: int) -> bool:
    """Tell whether a connection to the port succeeds."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=0.5):
        return True
    return False


def _die_with_parent() -> None:
    """Ask the kernel to end us when our parent ends, even by kill -9. Runs in the child before exec."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One child process with its log. Stopped by SIGTERM, by SIGKILL when that takes too long."""

    def __init__(self, name: str, command: Sequence[str], log_file: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log_file = log_file
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Must be called from a thread that lives as long as the child should (the main thread)."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C is ours to pass on, in our order
                preexec_fn=_die_with_parent,  # noqa: PLW1509  prctl only, no locks are taken
            )

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def exit_status(self) -> int | None:
        """Exit status, or nothing while it runs."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def signal_stop(self) -> None:
        """Ask it to end."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it and wait until it is gone."""
        if self._process is None:
            return
        self.signal_stop()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it with SIGKILL, as a fault would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of its log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def wait_for(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready()`; raise FleetlineError with the end of the log when it dies or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.exit_status is not None:
                raise FleetlineError(f"{self.name} ended with status {self.exit_status}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise FleetlineError(
                    f"{self.name} was not ready within {timeout_s:.0f} s; see {self.log_file}\n{self.log_tail()}"
                )
            time.sleep(0.05)
