"""The hash index and the ordered ids against plain dictionaries and lists."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import index as index_module
from registry.index import Claimants, Index
from registry.order import SortedIds

keys = st.one_of(st.sampled_from(("a", "b", "c")), st.tuples(st.integers(0, 2), st.sampled_from(("x", "y"))))
steps = st.lists(
    st.tuples(st.sampled_from(("add", "add_all", "remove", "replace")), keys, st.integers(1, 5)), max_size=60
)


@pytest.fixture(params=["hashes", "one hash for all", "negative hashes"])
def hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every key collide, too: what holds then holds for any hash."""
    if request.param == "one hash for all":
        monkeypatch.setattr(index_module, "hash", lambda _: 7, raising=False)
    elif request.param == "negative hashes":
        monkeypatch.setattr(index_module, "hash", lambda key: -abs(hash(key)) - 1, raising=False)


@pytest.mark.usefixtures("hashing")
@given(history=steps)
@settings(deadline=None)
def test_whatever_was_added_and_not_removed_is_proposed(history: list[tuple[str, object, int]]) -> None:
    index, model = Index(), Counter[tuple[object, int]]()
    for step, key, number in history:
        if step == "add":
            index.add(key, number)
            model[key, number] += 1
        elif step == "add_all":
            proposed = bool(index.candidates(key))
            assert list(index.add_all([key], number)) == ([key] if proposed else [])
            if not proposed:
                model[key, number] += 1
        elif model[key, number]:
            model[key, number] -= 1
            if step == "remove":
                index.remove(key, number)
            else:
                index.replace(key, number, 6)
                model[key, 6] += 1
    left = [each for each, times in model.items() for _ in range(times)]
    assert len(index) == len(left)
    for key, number in left:
        assert number in index.candidates(key)
        assert index.first(key) in index.candidates(key)
    for key, number in left:
        index.remove(key, number)
    assert len(index) == 0
    assert not index.first("a")
    assert index.candidates("a") == []


@pytest.mark.usefixtures("hashing")
def test_what_was_never_added_cannot_be_removed() -> None:
    index = Index()
    index.add("a", 1)
    for key, number in (("a", 2), ("b", 3)):
        with pytest.raises(KeyError):
            index.remove(key, number)
        with pytest.raises(KeyError):
            index.replace(key, number, 9)
    assert index.candidates("a") == [1]


def test_an_index_in_which_entries_come_and_go_does_not_grow() -> None:
    index = Index()
    for number in range(1, 200_001):
        index.add(number, number)
        if number > 1000:
            index.remove(number - 1000, number - 1000)
    assert len(index) == 1000
    assert sum(map(len, index._tables)) < 50_000


def test_an_index_of_many_takes_few_bytes_an_entry() -> None:
    index = Index()
    for number in range(1, 300_001):
        index.add(("tenant", "imei", str(number)), number)
    assert sum(8 * len(table) for table in index._tables) / 300_000 < 24
    assert all(index.first(("tenant", "imei", str(number))) == number for number in range(1, 300_001, 7))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), max_size=60))
def test_the_first_claimant_is_known_whatever_came_and_went(history: list[tuple[bool, str]]) -> None:
    claimants, model = Claimants("b", "c"), {"b", "c"}
    for adds, each in history:
        if adds:
            claimants.add(each)
            model.add(each)
        elif len(model) > 1:
            claimants.discard(each)
            model.discard(each)
        assert claimants.first() == min(model)
        assert claimants.all() == tuple(sorted(model))
        assert len(claimants) == len(model)


@given(st.sets(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.text(max_size=3), st.integers(1, 5))
@settings(deadline=None)
def test_ids_stay_in_order(begin: set[str], changes: list[str], after: str, limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry.order._SHORT", 3)
        ids, model = SortedIds(begin), set(begin)
        for each in changes:
            if each in model:
                ids.remove(each)
                model.remove(each)
            else:
                with pytest.raises(KeyError):
                    ids.remove(each)
                ids.add(each)
                model.add(each)
        assert ids.all() == sorted(model)
        assert len(ids) == len(model)
        assert bool(ids) == bool(model)
        assert ids.after(after, limit) == [each for each in sorted(model) if each > after][:limit]
