"""What may be committed of a partition: never past a record that was not worked on, however chunks are dropped."""

from hypothesis import given
from hypothesis import strategies as st

from processors.progress import Progress

CHUNKS = st.lists(st.integers(1, 4), min_size=1, max_size=12)


def test_nothing_is_handed_over_before_the_partition_was_taken_back_to_its_commit() -> None:
    assert Progress().must_rewind


def test_chunks_in_their_order_are_done_one_after_the_other() -> None:
    progress = Progress()
    progress.rewound()
    for first, last in ((10, 19), (20, 20), (21, 40)):
        progress.hand(first, last)
    assert progress.done == 10
    seen = []
    for last in (19, 20, 40):
        progress.acknowledge(last)
        seen.append(progress.done)
    assert seen == [20, 21, 41]
    assert not progress.must_rewind


def test_a_chunk_that_was_lost_is_not_committed_past_and_is_fetched_again() -> None:
    progress = Progress()
    progress.rewound()
    for first, last in ((0, 9), (10, 19), (20, 29), (30, 39)):
        progress.hand(first, last)
    for last in (9, 29, 39):
        progress.acknowledge(last)
    assert (progress.done, progress.must_rewind) == (10, True)
    progress.rewound()
    progress.hand(10, 24)
    progress.acknowledge(24)
    assert (progress.done, progress.must_rewind) == (40, False), "what was done out of turn counts once it joins on"


def test_what_was_handed_out_before_a_rewind_asks_for_no_other() -> None:
    progress = Progress()
    progress.rewound()
    for first, last in ((0, 9), (10, 19), (20, 29)):
        progress.hand(first, last)
    progress.acknowledge(19)
    assert progress.must_rewind
    progress.rewound()
    progress.hand(0, 29)
    progress.acknowledge(29)
    assert not progress.must_rewind


def test_an_acknowledgement_of_nobodys_chunk_changes_nothing() -> None:
    progress = Progress()
    progress.acknowledge(7)
    progress.rewound()
    progress.hand(0, 9)
    progress.acknowledge(7)
    assert (progress.done, progress.must_rewind) == (0, False)


def test_a_log_that_was_cut_off_before_the_commit_goes_on_where_it_begins() -> None:
    progress = Progress()
    progress.rewound()
    progress.hand(0, 9)
    progress.acknowledge(9)
    progress.must_rewind = True
    progress.rewound()
    progress.hand(500, 509)
    progress.acknowledge(509)
    assert (progress.done, progress.must_rewind) == (510, False)


@given(st.data())
def test_whatever_is_dropped_everything_is_worked_on_before_it_is_committed(data: st.DataObject) -> None:
    """The worker's part is played here: it fetches, loses chunks on the way, acknowledges in order, and goes back when told."""
    end = data.draw(st.integers(1, 30))
    worked: set[int] = set()
    committed = position = 0
    progress = Progress()
    for _ in range(60):
        if progress.must_rewind:
            position = committed
            progress.rewound()
        queue: list[tuple[int, int]] = []
        for _ in range(data.draw(st.integers(0, 3))):
            last = min(end - 1, position + data.draw(st.integers(0, 4)))
            if position > last:
                break
            if data.draw(st.booleans()):
                progress.hand(position, last)
                queue.append((position, last))
            else:
                progress.must_rewind = True  # dropped where it is known
            position = last + 1
            if progress.must_rewind:
                break
        for first, last in queue:
            if data.draw(st.integers(0, 3)):  # else it is lost where nobody notices
                worked.update(range(first, last + 1))
                progress.acknowledge(last)
        committed = max(committed, progress.done)
        assert worked >= set(range(committed))
