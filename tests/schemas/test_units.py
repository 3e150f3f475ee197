"""Conversions give the number a person would write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.units import divided, kmh_of_cm_s


@given(st.integers(-(2**40), 2**40), st.integers(1, 3))
def test_a_whole_number_divided_is_the_decimal_it_stands_for(value: int, digits: int) -> None:
    assert divided(value, 10**digits) == float(f"{value}e-{digits}")


@given(st.integers(0, 2**40))
def test_whole_centimetres_per_second_are_exact_in_kilometres_per_hour(value: int) -> None:
    assert kmh_of_cm_s(value) == float(f"{value * 36}e-3")


@pytest.mark.parametrize(("value", "divisor", "expected"), [(26.87, 100, 0.2687), (0.3, 10, 0.03), (1e308, 10, 1e307)])
def test_a_fraction_divided_has_no_dust_either(value: float, divisor: int, expected: float) -> None:
    assert divided(value, divisor) == expected


def test_a_fraction_of_speed_has_no_dust_and_no_overflow() -> None:
    assert kmh_of_cm_s(1389.5) == 50.022
    assert kmh_of_cm_s(1e308) < float("inf")
