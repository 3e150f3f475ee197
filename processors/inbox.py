"""What waits in one partition of `unmapped`: worked out from the topic alone, so that no other state can disagree with it.

The list is a fold over the log: a record adds to what its sender has waiting, a record with `released-offset` says that the one
at that offset has gone to telemetry. Both are facts whoever wrote them and whenever, so a process that was thought dead
cannot spoil the list of its successor. A sender's records are released in their order, so what waits of it is everything
from `Waiting.first` on.
"""

import logging
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from processors.sender import parse_sender
from schemas.topics import RELEASED_OFFSET, SENDER

log = logging.getLogger(__name__)


class Waiting:
    """A sender's waiting records: how many, from which offset to which, and when they were written (ms)."""

    __slots__ = ("count", "first", "first_ms", "last", "last_ms", "tenant_id")

    def __init__(self, tenant_id: str, offset: int, at_ms: int) -> None:
        self.tenant_id = tenant_id
        self.first = self.last = offset
        self.first_ms = self.last_ms = at_ms
        self.count = 1

    def add(self, offset: int, at_ms: int) -> None:
        """Take the next record."""
        self.last = offset
        self.last_ms = at_ms
        self.count += 1


class Sweep(Enum):
    """Why a part of the log is read again: to release, to find senders that became known, to list those."""

    RELEASE = "release"
    HUNT = "hunt"
    LIST = "list"


class Inbox:
    """Feed it every record of the partition in order, with `take`; it says which to release, when, and where to read again.

    `knows` tells whether a sender's device can be found by now. `has_room` bounds the memory: senders beyond it are not
    listed, so a change of the registry costs reading their part of the log to find the ones it concerns.
    """

    def __init__(self, knows: Callable[[bytes], bool], has_room: Callable[[], bool]) -> None:
        self._knows = knows
        self._has_room = has_room
        self.forget()

    def forget(self) -> None:
        """Begin anew: the log has to be read from its beginning."""
        self.waiting: dict[bytes, Waiting] = {}
        self.tenants: dict[str, set[bytes]] = {}
        self.fresh: list[bytes] = []
        """Senders listed since they were last looked for."""
        self.position = 0
        """The next offset that was never read; any, before the first record."""
        self.began = False
        self.complete = False
        """Whether the end of the log was seen: before it, a release may already have been noted further on."""
        self.unlisted_from = -1
        self.sweep: Sweep | None = None
        self._due: set[bytes] = set()
        self._next_due: set[bytes] = set()
        self._wanted: set[bytes] = set()
        self._hunt = False

    # --- reading -----------------------------------------------------------------------------------------------------

    def take(self, message: Any) -> bytes | None:
        """Take a record; return its sender when it is to be released now, else nothing."""
        offset = message.offset()
        if offset < self.position:
            return self._take_again(message, offset)
        self.position = offset + 1
        self.began = True
        sender, released = _headers(message)
        if sender is None:
            return None
        if released >= 0:
            self.released(sender, released)
        elif sender in self.waiting:
            self.waiting[sender].add(offset, message.timestamp()[1])
        elif self.unlisted_from < 0 and self._has_room():
            self._list(sender, message)
        else:
            self._leave_out(sender, offset)
        return None

    def _list(self, sender: bytes, message: Any) -> None:
        try:
            tenant = parse_sender(sender).tenant_id
        except ValueError:
            log.warning("a record of unmapped names its sender unreadably and stays: %.100r", sender)
            return
        self.waiting[sender] = Waiting(tenant, message.offset(), message.timestamp()[1])
        self.tenants.setdefault(tenant, set()).add(sender)
        self.fresh.append(sender)

    def _leave_out(self, sender: bytes, offset: int) -> None:
        if self.unlisted_from < 0:
            log.warning(
                "too many unknown senders to list them all; they are found by reading again, from %d on", offset
            )
            self.unlisted_from = offset
        if self.complete and self._knows(sender):
            self._wanted.add(sender)  # it may have had records before: they go first

    def _take_again(self, message: Any, offset: int) -> bytes | None:
        if self.sweep is Sweep.RELEASE:
            sender, released = _headers(message)
            if sender is None or released >= 0 or sender not in self._due:
                return None
            waiting = self.waiting.get(sender)
            return sender if waiting is not None and offset >= waiting.first else None
        sender, released = _headers(message)
        if sender is None:
            return None
        if self.sweep is Sweep.HUNT:
            if released < 0 and sender not in self._wanted and sender not in self.waiting and self._knows(sender):
                self._wanted.add(sender)
        elif sender in self._wanted:
            self._list_wanted(sender, released, message)
        return None

    def _list_wanted(self, sender: bytes, released: int, message: Any) -> None:
        if released >= 0:
            self.released(sender, released)
        elif sender in self.waiting:
            self.waiting[sender].add(message.offset(), message.timestamp()[1])
        else:
            self._list(sender, message)

    def ends(self, offset: int) -> None:
        """Note that the log ends here: for a partition of which nothing had to be read."""
        if not self.began:
            self.position = offset
            self.began = True

    def skips(self, offset: int) -> bool:
        """Tell whether records before this one were never read: a partition of `unmapped` has no holes."""
        return self.sweep is None and self.began and offset > self.position

    # --- releasing ---------------------------------------------------------------------------------------------------

    def look(self, senders: Iterable[bytes]) -> list[bytes]:
        """Look for the devices of listed senders; those found are due in the next sweep, the others are returned."""
        unknown = []
        for each in senders:
            if each in self.waiting:
                if self._knows(each):
                    self._next_due.add(each)
                else:
                    unknown.append(each)
        return unknown

    def hunt(self) -> None:
        """Look for the devices of the senders that are not listed, in the next sweep."""
        self._hunt = self.unlisted_from >= 0

    def released(self, sender: bytes, offset: int) -> None:
        """Note that the record at an offset has gone to telemetry. Noting it again changes nothing."""
        waiting = self.waiting.get(sender)
        if waiting is None or offset < waiting.first:
            return
        waiting.first = offset + 1
        waiting.count -= 1
        if offset >= waiting.last:
            self.drop(sender)

    def hold(self, sender: bytes) -> None:
        """Stop releasing a sender in this sweep: its device cannot be found any more, and order is kept."""
        self._due.discard(sender)

    def drop(self, sender: bytes) -> None:
        """Take a sender off the list."""
        waiting = self.waiting.pop(sender)
        senders = self.tenants[waiting.tenant_id]
        senders.discard(sender)
        if not senders:
            del self.tenants[waiting.tenant_id]

    # --- sweeps ------------------------------------------------------------------------------------------------------

    def begin_sweep(self) -> int:
        """Begin the next sweep, if one is due: return the offset to read again from, or -1."""
        if self.sweep is not None or not self.complete:
            return -1
        self._due = {each for each in self._next_due if each in self.waiting}
        self._next_due = set()
        if self._due:
            self.sweep = Sweep.RELEASE
            return min(self.waiting[each].first for each in self._due)
        if self._wanted:
            self.sweep = Sweep.LIST
        elif self._hunt:
            self.sweep = Sweep.HUNT
            self._hunt = False
        return self.unlisted_from if self.sweep is not None else -1

    def end_sweep(self) -> list[bytes]:
        """End the sweep at the place it had been called away from. Return the due senders whose records did not come."""
        sweep, self.sweep = self.sweep, None
        left: list[bytes] = []
        if sweep is Sweep.RELEASE:
            left = [each for each in self._due if each in self.waiting]
            self._due = set()
        elif sweep is Sweep.LIST:
            self.fresh += self._wanted
            self._wanted = set()
        return left

    @property
    def base(self) -> int:
        """The offset before which nothing waits: where the next owner of the partition begins."""
        first = min((each.first for each in self.waiting.values()), default=self.position)
        return first if self.unlisted_from < 0 else min(first, self.unlisted_from)


def _headers(message: Any) -> tuple[bytes | None, int]:
    """Return a record's sender, and which offset it says was released, -1 for none. Foreign records have no sender."""
    sender, released = None, -1
    for name, value in message.headers() or ():
        if name == SENDER:
            sender = value
        elif name == RELEASED_OFFSET and value and value.isdigit():
            released = int(value)
    return sender, released
