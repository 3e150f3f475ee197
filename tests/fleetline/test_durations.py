"""Lengths of time and moments, as people write them."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetline.durations import Duration, Since, parse_duration_s
from schemas.times import now_us, parse_iso_us


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("45s", 45),
        ("30m", 1800),
        ("24h", 86_400),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        (" 24H ", 86_400),
        ("1.5h", 5400),
    ],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1 h", "1h 30m", "1y", "٣h", "1e3s", "nan", "1h30", "9" * 20 + "s"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 30m"):
        parse_duration_s(text)
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


@given(st.text())
def test_any_other_text_is_refused_or_read(text: str) -> None:
    try:
        assert parse_duration_s(text) >= 0
    except ValueError:
        return


def test_a_moment_is_a_time_or_how_long_ago() -> None:
    since = Since()
    assert since.convert("2026-03-01T08:00:00Z", None, None) == parse_iso_us("2026-03-01T08:00:00Z")
    assert since.convert("2026-03-01", None, None) == parse_iso_us("2026-03-01T00:00:00Z")
    assert abs(since.convert("24h", None, None) - (now_us() - 86_400_000_000)) < 1_000_000
    with pytest.raises(click.BadParameter, match="how long ago"):
        since.convert("yesterday", None, None)
