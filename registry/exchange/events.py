"""What an import tells while it runs, in this order: Started, then RowDone and Progress in turns, and Finished or Stopped.

As JSON each has its `type`, so that they can be streamed as NDJSON.
"""

from typing import Any, Literal, get_args

import msgspec

Outcome = Literal["created", "updated", "unchanged", "skipped", "refused"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """What the file was taken for. `columns` and `attributes` are those of a CSV's heading: a misspelt column shows here."""

    format: str
    dry_run: bool = False
    columns: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


class RowDone(msgspec.Struct, frozen=True, kw_only=True, tag="row", omit_defaults=True):
    """What became of one row, in the order of the file; told once it is durable, or known to be refused.

    `device_id` is the device's, of a refused row the one that is in its way; `name` is the row's, if it gives one. `token` is
    the new device's secret: it is kept nowhere and shown here only.
    """

    line: int
    outcome: Outcome
    device_id: str = ""
    name: str = ""
    reason: str = ""
    token: str = ""

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"RowDone({said})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Say what rich and `repr` may show: a token is for whoever asked for it, not for a screen or a log."""
        fields = (self.line, self.outcome, self.device_id, self.name, self.reason)
        return list(zip(("line", "outcome", "device_id", "name", "reason"), fields, strict=True))


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far it is. `bytes` were read, of `total_bytes` (0: not known); `eta_s` is None while it cannot be known.

    Everything up to `line` is decided and durable.
    """

    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    refused: int = 0
    line: int = 0
    bytes: int = 0
    total_bytes: int = 0
    seconds: float = 0.0
    rows_per_s: float = 0.0
    eta_s: float | None = None


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The whole file was read."""

    progress: Progress
    dry_run: bool = False


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """It ended before the file did. `progress.line` is the last line that is durable.

    The lines `unknown_from` to `unknown_to` (0: none) were being written: all of them are stored, or none.
    """

    progress: Progress
    reason: str
    unknown_from: int = 0
    unknown_to: int = 0


Event = Started | RowDone | Progress | Finished | Stopped
