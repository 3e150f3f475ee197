"""Offset ranges: what is written ahead before an insert, and read back after a crash."""

import re
from typing import Any

import msgspec

_PENDING = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


class OffsetRange(msgspec.Struct, frozen=True):
    """Offsets `first` to `last` of one partition, both included and both a record's.

    Offsets in between may be missing: marks that end a transaction, and records of aborted ones, are never delivered.
    """

    first: int
    last: int

    @property
    def metadata(self) -> str:
        """What is committed beside the offset before the insert."""
        return f"{self.first}-{self.last}"


def parse_pending(metadata: str | None, committed: int) -> OffsetRange | None:
    """Read what was written ahead. None when nothing is pending, or the text is none of ours."""
    found = _PENDING.fullmatch(metadata or "")
    if found is None:
        return None
    pending = OffsetRange(int(found[1]), int(found[2]))
    return pending if pending.first == committed and pending.last >= pending.first else None


def insert_token(topic_id: str, partition: int, offsets: OffsetRange, version: int) -> str:
    """Make the deduplication token: a pure function of what the rows are made of.

    The topic's id and not its name: a topic made anew under its old name starts at offset 0 again, and ClickHouse takes
    a token on trust, so its rows would be dropped in silence.
    """
    return f"{topic_id}:{partition}:{offsets.first}-{offsets.last}:v{version}"


class Buffer:
    """The records of one partition that wait for their insert.

    After a crash `pending` is the range that was written ahead: it is cut exactly there, so that its insert has the same
    rows and the same token as the one that may or may not have happened. `committed` is the offset the group has committed.
    """

    def __init__(self, pending: OffsetRange | None, committed: int = 0) -> None:
        self.pending = pending
        self.committed = committed
        self.records: list[Any] = []
        self.bytes = 0
        self.since = 0.0
        self.end = -1
        """The end of the partition as it was last seen; may lie beyond the last record by the mark of a transaction."""
        self._beyond = False

    def add(self, record: Any, now: float) -> None:
        """Take the next record of the partition."""
        if not self.records:
            self.since = now
        self.records.append(record)
        self.bytes += len(record.value() or b"")
        if self.pending is not None and record.offset() >= self.pending.last:
            self._beyond = True

    def reach_end(self, offset: int) -> None:
        """Take note that there is no record before `offset` any more that has not been added."""
        self.end = offset
        if self.pending is not None and offset > self.pending.last:
            self._beyond = True  # its last record has expired: what is left of the range is all there will be

    def is_due(self, now: float, max_records: int, max_bytes: int, linger_s: float) -> bool:
        """Tell whether it should be inserted now."""
        if self.pending is not None:
            return self._beyond
        if not self.records:
            return False
        return len(self.records) >= max_records or self.bytes >= max_bytes or now - self.since >= linger_s

    @property
    def is_drained(self) -> bool:
        """Tell whether nothing waits, and what is left to the end of the partition is no record."""
        return self.pending is None and not self.records and self.end > max(self.committed, 0)

    def cut(self, max_records: int) -> tuple[OffsetRange, list[Any]]:
        """Take out the next batch: the pending range exactly, or what has gathered."""
        if self.pending is not None:
            offsets, self.pending = self.pending, None
            batch = [record for record in self.records if record.offset() <= offsets.last]
        else:
            batch = self.records[:max_records]
            offsets = OffsetRange(batch[0].offset(), batch[-1].offset())
        self.records = self.records[len(batch) :]
        self.bytes = sum(len(record.value() or b"") for record in self.records)
        self._beyond = False
        return offsets, batch
