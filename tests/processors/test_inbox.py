"""The list of what waits is worked out from the log alone: whoever reads it, from wherever, knows the same."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.inbox import Inbox, Sweep
from processors.sender import Sender, parse_sender
from registry.model import EXTERNAL_ID
from schemas.topics import RELEASED_OFFSET, RELEASED_TO, SENDER
from sources.contract import Identity

SENDERS = [
    Sender(f"tenant-{n % 2}", "generic", f"silo-{n}", "", "", (Identity(EXTERNAL_ID, f"{n}"),)) for n in range(4)
]


class Log:
    """A partition and what is true of it: which records of each sender have not been released."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.unreleased: list[list[int]] = [[] for _ in SENDERS]

    def do(self, name: str, sender: int, count: int) -> None:
        if name == "arrive":
            self.arrive(sender)
        elif name == "release":
            self.release(sender, count)
        else:
            self.repeat(count)

    def arrive(self, sender: int) -> None:
        self.unreleased[sender].append(len(self.records))
        self._write(sender, [])

    def release(self, sender: int, count: int) -> None:
        """Note the release of the sender's first records, as one owner of the partition does in its order."""
        going, self.unreleased[sender] = self.unreleased[sender][:count], self.unreleased[sender][count:]
        for offset in going:
            self._write(sender, [(RELEASED_TO, b"device"), (RELEASED_OFFSET, b"%d" % offset)])

    def repeat(self, back: int) -> None:
        """Write a note again: another owner released the same records before it knew."""
        notes = [each for each in self.records if len(each.headers()) > 1]
        if notes:
            headers = notes[-1 - back % len(notes)].headers()
            self._write(next(n for n, each in enumerate(SENDERS) if each.header() == headers[0][1]), headers[1:])

    def _write(self, sender: int, more: list[tuple[str, bytes]]) -> None:
        offset = len(self.records)
        headers = [(SENDER, SENDERS[sender].header()), *more]
        self.records.append(
            SimpleNamespace(offset=lambda: offset, headers=lambda: headers, timestamp=lambda: (1, 1000 + offset))
        )


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["arrive", "arrive", "release", "repeat"]), st.integers(0, 3), st.integers(1, 4)),
    max_size=60,
)


@given(OPERATIONS)
def test_the_list_holds_exactly_what_was_not_released(operations: list[tuple[str, int, int]]) -> None:
    log = Log()
    for operation in operations:
        log.do(*operation)
    inbox = Inbox(lambda _: False, lambda: True)
    for record in log.records:
        assert inbox.take(record) is None
    for sender, offsets in zip(SENDERS, log.unreleased, strict=True):
        waiting = inbox.waiting.get(sender.header())
        assert (waiting is not None) == bool(offsets)
        if waiting is not None:
            between = [each for each in offsets if waiting.first <= each <= waiting.last]
            assert (waiting.count, between) == (len(offsets), offsets)
            assert not _released_between(log, sender, waiting.first)
    earliest = min((offset for offsets in log.unreleased for offset in offsets), default=inbox.position)
    assert inbox.base <= earliest
    assert inbox.waiting or inbox.base == len(log.records)
    listed = {sender for senders in inbox.tenants.values() for sender in senders}
    assert listed == inbox.waiting.keys()


def _released_between(log: Log, sender: Sender, first: int) -> list[int]:
    """Return the sender's records from `first` on that were released: releasing from there would repeat them."""
    unreleased = {each for offsets in log.unreleased for each in offsets}
    header = sender.header()
    return [
        each.offset()
        for each in log.records[first:]
        if len(each.headers()) == 1 and each.headers()[0][1] == header and each.offset() not in unreleased
    ]


@given(OPERATIONS, st.sets(st.integers(0, 3)))
def test_a_sweep_takes_every_waiting_record_of_the_known_once_and_in_order(
    operations: list[tuple[str, int, int]], known: set[int]
) -> None:
    log = Log()
    for operation in operations:
        log.do(*operation)
    headers = {SENDERS[each].header() for each in known}
    inbox = Inbox(headers.__contains__, lambda: True)
    for record in log.records:
        inbox.take(record)
    assert inbox.begin_sweep() == -1, "nothing goes before the end was seen: its release may be noted further on"
    inbox.complete = True
    inbox.look(list(inbox.waiting))
    start = inbox.begin_sweep()
    taken: dict[bytes, list[int]] = {}
    if start >= 0:
        assert inbox.sweep is Sweep.RELEASE
        for record in log.records[start:]:
            sender = inbox.take(record)
            if sender is not None:
                taken.setdefault(sender, []).append(record.offset())
                inbox.released(sender, record.offset())
        assert inbox.end_sweep() == []
    expected = {SENDERS[each].header(): log.unreleased[each] for each in known if log.unreleased[each]}
    assert taken == expected
    assert inbox.begin_sweep() == -1


@given(
    st.builds(
        Sender, st.text(), st.text(), st.text(), st.text(), st.text(),
        st.lists(st.builds(Identity, st.text(), st.text(alphabet=st.characters(exclude_categories=())))).map(tuple),
    )
)  # fmt: skip
def test_a_sender_is_read_back_as_written_whatever_its_ids_are(sender: Sender) -> None:
    assert parse_sender(sender.header()) == sender
    assert sender.key(), "an empty key would be spread over the partitions at random"
