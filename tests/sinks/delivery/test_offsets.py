"""Only a contiguous prefix is ever committed, and what finished beyond it survives in the metadata."""

from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.offsets import METADATA_BITS, Window, finished_beyond

OFFSETS = st.lists(st.integers(0, 300), min_size=1, max_size=80, unique=True).map(sorted)


@given(OFFSETS, st.data())
def test_the_position_is_the_first_unfinished_offset_whatever_the_order(
    offsets: list[int], data: st.DataObject
) -> None:
    window = Window()
    assert window.position == -1
    for offset in offsets:
        assert window.take(offset)
    order = data.draw(st.permutations(offsets))
    finished: set[int] = set()
    for offset in order:
        window.done(offset)
        finished.add(offset)
        unfinished = [each for each in offsets if each not in finished]
        assert window.position == (unfinished[0] if unfinished else offsets[-1] + 1)
        beyond = {each for each in finished if each > window.position}
        assert finished_beyond(window.position, window.metadata()) == beyond


@given(OFFSETS, st.data())
def test_a_new_owner_repeats_only_what_was_not_finished(offsets: list[int], data: st.DataObject) -> None:
    window = Window()
    for offset in offsets:
        window.take(offset)
    finished = set(data.draw(st.lists(st.sampled_from(offsets), unique=True)))
    for offset in finished:
        window.done(offset)
    heir = Window(finished_beyond(window.position, window.metadata()))
    taken = [offset for offset in offsets if offset >= window.position and heir.take(offset)]
    assert taken == [offset for offset in offsets if offset not in finished]
    for offset in taken:
        heir.done(offset)
    if window.position <= offsets[-1]:
        assert heir.position == offsets[-1] + 1


@given(st.sets(st.integers(1, 40_000), max_size=2000))
def test_the_metadata_always_fits_into_a_commit(beyond: set[int]) -> None:
    window = Window()
    for offset in range(40_001):
        window.take(offset)
    for offset in beyond:
        window.done(offset)
    metadata = window.metadata()
    assert len(metadata) <= 4096
    assert finished_beyond(0, metadata) == {offset for offset in beyond if offset < METADATA_BITS}


def test_metadata_without_any_pattern_fits_too() -> None:
    import random

    window, chance = Window(), random.Random(7)
    for offset in range(30_000):
        window.take(offset)
    for offset in range(1, 30_000):
        if chance.random() < 0.5:
            window.done(offset)
    assert 3000 < len(window.metadata()) <= 4096


@given(
    st.integers(0, 2**40),
    st.one_of(st.none(), st.text(max_size=60), st.binary(max_size=60).map(lambda raw: f"v1:{raw.hex()}")),
)
def test_foreign_metadata_means_nothing_is_finished(position: int, text: str | None) -> None:
    assert finished_beyond(position, text) == set()


def test_an_offset_read_twice_is_taken_once() -> None:
    window = Window()
    assert window.take(5)
    assert window.take(6)
    assert not window.take(5)
    assert not window.take(6)


def test_a_topic_made_anew_starts_over() -> None:
    window = Window()
    for offset in (100, 101):
        window.take(offset)
        window.done(offset)
    assert window.take(0)
    assert window.position == 0
