"""The folders of a spool: each process writes into a slot of its own, and what a dead one left is found again."""

import fcntl
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fleetline.errors import FleetlineError
from ingress.segments import ASIDE, SUFFIX, TORN, count, make_folder

SLOTS = 64


class Slot(NamedTuple):
    """A slot this process holds until `lock` is closed or the process ends."""

    folder: Path
    lock: BinaryIO
    found: list[tuple[Path, int, int]]
    """Segments that were there, oldest first, with their bytes and records."""
    last_number: int


def own_slot(root: Path) -> Slot:
    """Take a free slot; one that holds records comes first. Raises FleetlineError when there is none."""
    slots = [root / f"{number:02}" for number in range(SLOTS)]
    try:
        slot = _first(sorted(slots, key=lambda each: (not any(each.glob(f"*{SUFFIX}")), each)))
    except OSError as error:
        raise FleetlineError(f"the spool below {root} cannot be used: {error.strerror}; see FLEETLINE_DATA") from None
    if slot is None:
        raise FleetlineError(f"more than {SLOTS} processes spool below {root}")
    return slot


def abandoned_slot(root: Path) -> Slot | None:
    """Take a slot that holds records and belongs to no process any more."""
    return _first(sorted({segment.parent for segment in root.glob(f"*/*{SUFFIX}")}))


def _first(slots: Iterable[Path]) -> Slot | None:
    for folder in slots:
        make_folder(folder)
        lock = (folder / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        found = [(each, each.stat().st_size, count(each)) for each in sorted(folder.glob(f"*{SUFFIX}"))]
        numbers = [int(each.stem) for each in folder.iterdir() if each.suffix in _NUMBERED and each.stem.isdecimal()]
        return Slot(folder, lock, found, max(numbers, default=0))
    return None


_NUMBERED = (SUFFIX, TORN, ASIDE)
