"""Cutting batches: every record in exactly one, a pending range exactly as it was."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.migrate import statements
from sinks.clickhouse.ranges import Buffer, OffsetRange, insert_token, parse_pending


@dataclass
class Record:
    """As much of a Kafka record as a buffer looks at."""

    at: int

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes:
        return b"x"


@given(st.integers(0, 2**62), st.integers(0, 10**6))
def test_what_is_written_ahead_is_read_back(first: int, length: int) -> None:
    written = OffsetRange(first, first + length)
    assert parse_pending(written.metadata, first) == written


@given(st.text(), st.integers(0, 100))
def test_metadata_of_anybody_else_is_no_pending_range(metadata: str, committed: int) -> None:
    pending = parse_pending(metadata, committed)
    assert pending is None or pending.first == committed


def test_a_range_that_does_not_begin_at_the_commit_is_over() -> None:
    assert parse_pending("5-9", 10) is None


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 50))
def test_batches_cover_every_record_once_in_order(offsets: set[int], largest: int) -> None:
    buffer = Buffer(None)
    for at in sorted(offsets):
        buffer.add(Record(at), 0.0)
    seen: list[int] = []
    while buffer.is_due(10.0, largest, 2**30, 1.0):
        cut, batch = buffer.cut(largest)
        assert [batch[0].offset(), batch[-1].offset()] == [cut.first, cut.last]
        seen += [record.offset() for record in batch]
    assert seen == sorted(offsets)


@given(st.sets(st.integers(10, 100), min_size=3), st.data())
def test_a_pending_range_is_cut_where_it_was_cut_before(offsets: set[int], data: st.DataObject) -> None:
    ordered = sorted(offsets)
    last = data.draw(st.sampled_from(ordered))
    buffer = Buffer(OffsetRange(ordered[0], last))
    for at in ordered:
        assert not (buffer.pending and buffer.is_due(1e9, 1, 1, 0.0) and at <= last)
        buffer.add(Record(at), 0.0)
    assert buffer.is_due(0.0, 10**6, 2**30, 1e9)
    cut, batch = buffer.cut(1)
    assert cut == OffsetRange(ordered[0], last)
    assert [record.offset() for record in batch] == [at for at in ordered if at <= last]
    assert [record.offset() for record in buffer.records] == [at for at in ordered if at > last]


@given(st.sets(st.integers(10, 99)), st.integers(100, 300), st.integers(0, 300))
def test_a_pending_range_ends_at_the_end_of_what_there_is(offsets: set[int], last: int, end: int) -> None:
    buffer = Buffer(OffsetRange(10, last), 10)
    for at in sorted(offsets):
        buffer.add(Record(at), 0.0)
    assert not buffer.is_due(1e9, 1, 1, 0.0)
    buffer.reach_end(end)
    assert buffer.is_due(0.0, 1, 1, 0.0) == (end > last)
    if end > last:
        assert [record.offset() for record in buffer.cut(1)[1]] == sorted(offsets)
        assert buffer.pending is None


def test_marks_are_passed_once_nothing_waits() -> None:
    buffer = Buffer(None, 5)
    buffer.reach_end(5)
    drained = [buffer.is_drained]
    buffer.add(Record(5), 0.0)
    buffer.reach_end(7)
    drained.append(buffer.is_drained)
    buffer.cut(1)
    drained.append(buffer.is_drained)
    assert drained == [False, False, True]
    pending = Buffer(OffsetRange(5, 6), 5)
    pending.reach_end(6)
    assert not pending.is_drained


def test_tokens_differ_by_topic_partition_range_and_version() -> None:
    tokens = {
        insert_token(topic, partition, OffsetRange(first, 9), version)
        for topic in ("a", "b") for partition in (0, 1) for first in (0, 1) for version in (1, 2)
    }  # fmt: skip
    assert len(tokens) == 16


def test_sql_files_are_split_at_statement_ends() -> None:
    assert statements("-- a comment;\nSELECT 1;\nSELECT\n 2;\n") == ["SELECT 1", "SELECT\n 2"]
