"""Every requirement is shown by a test, and the page that says so is the one that was written last."""

from pathlib import Path

from sources.document import PAGE, _tests, page, requirements, shown_by


def test_every_requirement_is_shown_by_a_test() -> None:
    missing = requirements().keys() - shown_by().keys()
    assert not missing, f"no test names {', '.join(sorted(missing))} in a comment"


def test_the_page_is_the_one_that_would_be_written_now() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs` and commit docs/sources.md"


def test_ids_count_inside_a_test_and_directly_above_it_only(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(
        "# AP-a01\n\n# AP-a02, AP-a03\n@mark\nasync def test_one() -> None:\n    x = 1  # FL-a01 FL-a01\n    y = 'FL-a02'\n"
        "# BT-a01\ndef helper() -> None:\n    ...  # BT-a02\n\nclass TestIt:\n    def test_two(self) -> None:\n        # DM-a01\n"
        "        ...\n"
    )
    assert dict(_tests(file)) == {"test_one": ["AP-a02", "AP-a03", "FL-a01"], "test_two": ["DM-a01"]}
