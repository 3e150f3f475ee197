"""The local copy of the registry: what was complete is read back, whatever happens to the file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.local_copy import LocalCopy, Record

RECORDS: list[list[Record]] = [[(b"tenant/a", b"1"), (b"tenant/b", None)], [(b"device/c", b"\x00\xff")]]


def owned(folder: Path) -> LocalCopy:
    copy = LocalCopy.own(folder)
    assert copy is not None
    return copy


def written(folder: Path, batches: list[list[Record]]) -> Path:
    copy = owned(folder)
    copy.begin()
    for batch in batches:
        copy.append(batch)
    copy.complete()
    copy.close()
    return folder / "00.copy"


def loaded(folder: Path) -> list[Record]:
    copy, found = owned(folder), list[Record]()
    assert copy.load(lambda key, value: found.append((key, value))) == len(found)
    copy.close()
    return found


def test_what_was_complete_is_read_back_and_what_came_after_it_too(tmp_path: Path) -> None:
    assert loaded(tmp_path) == []
    copy = owned(tmp_path)
    copy.begin()
    copy.append(RECORDS[0])
    copy.complete()
    copy.append(RECORDS[1])
    assert loaded(tmp_path) == []  # another process gets another copy
    copy.close()
    assert loaded(tmp_path) == [*RECORDS[0], *RECORDS[1]]


def test_a_copy_that_was_never_completed_leaves_the_former_one_as_it_was(tmp_path: Path) -> None:
    written(tmp_path, RECORDS)
    copy = owned(tmp_path)
    copy.begin()
    copy.append([(b"half", b"read")])
    copy.close()
    assert loaded(tmp_path) == [*RECORDS[0], *RECORDS[1]]


@settings(deadline=None)
@given(cut=st.integers(min_value=0, max_value=200), flip=st.integers(min_value=0, max_value=200))
def test_a_damaged_file_gives_whole_batches_from_its_beginning_and_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    path = written(folder, RECORDS)
    content = bytearray(path.read_bytes())
    if flip < len(content):
        content[flip] ^= 0xFF
    path.write_bytes(content[: max(0, len(content) - cut)])
    assert loaded(folder) in ([], RECORDS[0], [*RECORDS[0], *RECORDS[1]])


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    assert written(tmp_path, RECORDS).stat().st_mode & 0o077 == 0


def test_a_disk_that_refuses_costs_the_copy_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert LocalCopy.own(tmp_path / "file") is None
    copy = owned(tmp_path / "ok")
    (tmp_path / "ok" / "00.new").mkdir()
    copy.begin()
    copy.append(RECORDS[0])
    copy.complete()
    copy.close()
    assert "no longer kept" in caplog.text
