"""Event detectors: pure functions from (state, record) to (state, events). A detector is a file here with a `DETECTOR`."""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from schemas.records import Telemetry

State = Any
"""JSON-able; None before the first record of a device."""


class Detected(msgspec.Struct, frozen=True):
    """An event that a record causes."""

    type: str
    attributes: dict[str, Any] = {}


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """`step(state, record)` returns the new state and the events; `reads(record)` tells whether it would look at it.

    `step` must not turn back: a record observed before the state's own time leaves the state as it is.
    """

    name: str
    reads: Callable[[Telemetry], bool]
    step: Callable[[State, Telemetry], tuple[State, Iterable[Detected]]]


@cache
def load_detectors() -> tuple[Detector, ...]:
    """Import every detector, sorted by name."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return tuple(import_module(f"processors.detectors.{name}").DETECTOR for name in names)
