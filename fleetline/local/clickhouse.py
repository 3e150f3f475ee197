"""Starts and stops the local ClickHouse."""

import sys
import urllib.error
import urllib.request

from fleetline.errors import FleetlineError
from fleetline.local.process import Child, require_free
from fleetline.settings import Settings

START_TIMEOUT_S = 60.0


class LocalClickHouse:
    """The chdb engine on ClickHouse's HTTP port, its state under `settings.data_dir/clickhouse`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self._settings.clickhouse_port}"

    @property
    def child(self) -> Child:
        """The server's process."""
        if self._child is None:
            raise FleetlineError("ClickHouse was not started")
        return self._child

    def start(self) -> None:
        """Start it; `wait_ready` tells when it can be used. Raises PortTaken."""
        port = self._settings.clickhouse_port
        require_free("ClickHouse", "127.0.0.1", port, "--clickhouse-port or FLEETLINE_CLICKHOUSE_PORT")
        data = self._settings.data_dir / "clickhouse"
        command = [sys.executable, "-m", "fleetline.local.clickhouse_server", "--data", str(data), "--port", str(port)]
        self._child = Child("ClickHouse", command, self._settings.data_dir / "logs" / "clickhouse-server.log", {})
        self._child.start()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it answers a ping."""
        self.child.wait_for(self._answers, timeout_s)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=0.5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Shut it down."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End it with SIGKILL, as a fault would."""
        self.child.kill()
