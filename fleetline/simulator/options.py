"""What a person asked for on the command line."""

from dataclasses import dataclass
from pathlib import Path

from fleetline.simulator.drive import Load
from fleetline.simulator.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One simulation."""

    sender: str
    devices: int
    load: Load
    faults: frozenset[Fault]
    fault_share: float
    settle_s: float
    url: str
    """Ingress of a running stack; empty: start one."""
    mqtt_url: str
    websocket_url: str
    clickhouse_url: str
    credentials: Path | None
    data: Path | None
    as_json: bool
