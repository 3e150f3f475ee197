"""Times: every spelling senders use, to the microsecond."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import EARLIEST_US, format_us, is_plausible, parse_iso_us, parse_us, seconds_to_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ticks(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-09-03T12:38:24.374314Z", "2020-09-03T12:38:24.374314Z"),  # AP-a03
        ("2020-09-03T12:38:24", "2020-09-03T12:38:24.000000Z"),  # AP-a23
        ("2021-01-01T00:00:00.000+00:00", "2021-01-01T00:00:00.000000Z"),  # BT-a05
        ("2021-08-11T09:04:07.468+0000", "2021-08-11T09:04:07.468000Z"),
        ("2017-05-11 05:58:44", "2017-05-11T05:58:44.000000Z"),  # DM-a12
        ("2021-04-20T11:10:03.702659861Z", "2021-04-20T11:10:03.702659Z"),
        ("2021-04-20T11:10:31.7295108Z", "2021-04-20T11:10:31.729510Z"),
        ("2024-02-29T23:30:00-01:30", "2024-03-01T01:00:00.000000Z"),
        ("1483228800000", "2017-01-01T00:00:00.000000Z"),  # AC-c02
        (1483228800, "2017-01-01T00:00:00.000000Z"),
        (1483228800000, "2017-01-01T00:00:00.000000Z"),
        (1650636570.426424, "2022-04-22T14:09:30.426424Z"),  # FL-a06
    ],
)
def test_reads_every_spelling(text: object, expected: str) -> None:
    assert format_us(parse_us(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2020-13-01T00:00:00Z", "2020-01-01T25:00:00Z", True, None, [], -5, 0, float("nan"), 1e300],
)
def test_refuses_what_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_us(text)


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 1, 1)))
def test_what_is_printed_is_read_back(moment: datetime) -> None:
    expected = ticks(moment.replace(tzinfo=UTC))
    assert parse_iso_us(moment.isoformat()) == expected
    assert parse_iso_us(format_us(expected)) == expected


@given(st.integers(EARLIEST_US, 4_102_444_800_000_000))
def test_seconds_written_with_six_decimals_are_exact(moment: int) -> None:
    assert seconds_to_us(float(f"{moment // 1_000_000}.{moment % 1_000_000:06}")) == moment  # FL-a06


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_any_value_is_a_time_or_a_value_error(value: object) -> None:
    with contextlib.suppress(ValueError):
        assert format_us(parse_us(value))


def test_a_clock_is_believed_between_2010_and_tomorrow() -> None:
    received = parse_iso_us("2026-01-02T00:00:00Z")
    assert is_plausible(parse_iso_us("2010-01-01T00:00:00Z"), received)
    assert not is_plausible(parse_iso_us("1999-11-30T00:00:00Z"), received)
    assert is_plausible(received + 86_400_000_000, received)
    assert not is_plausible(received + 86_400_000_001, received)


def test_a_zone_that_leads_beyond_the_calendar_prints_its_edge() -> None:
    assert format_us(parse_us("0001-01-01T00:00:00+05:00")) == "0001-01-01T00:00:00.000000Z"
    assert format_us(parse_us("9999-12-31T23:59:59-12:00")) == "9999-12-31T23:59:59.000000Z"
