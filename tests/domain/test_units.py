"""Numbers as text: what is printed reads back bit for bit, what is ambiguous is refused."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain import units
from tdmx_dask.errors import InputError

finite = st.floats(0, allow_infinity=False)


@given(finite)
def test_number_text__reads_back(value):
    assert float(units.number_text(value)) == value
    assert re.fullmatch(units.NUMBER, units.number_text(value))
    assert units.parse_number(units.number_text(value), "x") == value


@given(st.one_of(finite, st.integers(0, 100_000).map(lambda minutes: minutes / 60)))
def test_hours_text__reads_back(hours):
    assert units.parse_hours(units.hours_text(hours)) == hours


@given(st.floats(0, 1, exclude_min=True))
def test_fraction_text__reads_back(fraction):
    assert units.parse_fraction(units.fraction_text(fraction)) == fraction


@given(st.integers(1, 10**9))
def test_parse_dose__grams_are_exact(milligrams):
    """0.57 g is 570 mg, not 569.9999999999999."""
    assert units.parse_dose(f"{milligrams // 1000}.{milligrams % 1000:03d} g") == (milligrams, False)
    assert units.parse_dose(f"{milligrams}000 µg/kg") == (milligrams, True)


def test_hours_text__minutes_where_they_are_shorter():
    shown = [units.hours_text(hours) for hours in (0.5, 3, 40 / 60, 1 / 7, 1e-7)]
    assert shown == ["0.5h", "3h", "40min", "0.14285714285714285h", "1e-07h"]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.parse_hours, "1.5 hours", 1.5),
        (units.parse_hours, "20min", 20 / 60),
        (units.parse_hours, "7 d", 168.0),
        (units.parse_fraction, " 7 % ", 0.07),
        (units.parse_fraction, "1", 1.0),
        (lambda text: units.parse_number(text, "x"), "0,125", 0.125),
        (lambda text: units.parse_number(text, "x"), "12,5", 12.5),
        (lambda text: units.parse_number(text, "x"), "29%", 0.29),
    ],
)
def test_parse__forms(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (units.parse_hours, "3", "time=3: a time needs its unit, h or min. Write 3h or 3min."),
        (units.parse_hours, "3 hous", "'hous' is not a unit of time. Did you mean 'hours'?"),
        (units.parse_hours, "soon", "time=soon: a time must be a number with its unit"),
        (units.parse_dose, "1000", "a dose needs its unit. Write mg, g or mg/kg"),
        (units.parse_dose, "3 MU", "'MU' is not a unit of a dose"),
        (units.parse_dose, "a lot", "a dose must be a number with its unit"),
        (units.parse_fraction, "150%", "fraction=150%: a percentage must be > 0% and <= 100%"),
        (units.parse_fraction, "0%", "fraction=0%: a percentage must be > 0%"),
        (units.parse_fraction, "50", "fraction=50: a fraction must be a finite number > 0 and <= 1. Write 50% or 0.5."),
        (units.parse_fraction, "half", "a fraction must be a number in (0, 1]"),
        (lambda text: units.parse_number(text, "x"), "1,000", "x=1,000: a comma before three digits can mean two "
                                                              "things. Write 1.000 or 1000."),
        (lambda text: units.parse_number(text, "x"), "1.5.2", "x=1.5.2: this is not a number"),
    ],
)  # fmt: skip
def test_parse__refuses(read, text, says):
    with pytest.raises(InputError, match=re.escape(says)):
        read(text)


@pytest.mark.parametrize("good", [1, 1.5, np.float32(2), np.int64(3)])
def test_real__takes_any_real_number(good):
    assert units.real("x", good, "x", gt=0) == float(good)
    assert type(units.real("x", good, "x")) is float


@pytest.mark.parametrize("bad", [True, np.True_, "1", None, math.nan, math.inf, 10**400, 1j, 0, -1.0, 9.5])
def test_real__refuses(bad):
    with pytest.raises(InputError, match=r"x=.*: an x must be a finite number > 0 and <= 9 mg\. Fix it\."):
        units.real("x", bad, "an x", unit="mg", gt=0, le=9, fix="Fix it.")


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, 0])
def test_whole__refuses(bad):
    with pytest.raises(InputError, match=r"n=.*: a number of doses must be a whole number >= 1"):
        units.whole("n", bad, "a number of doses")


def test_known_keys__names_the_nearest():
    with pytest.raises(
        InputError, match=r"study=regimns: this key is not known. Did you mean 'regimens'\? Known"
    ):
        units.known_keys("study", {"seed": 1, "regimns": 2}, ("seed", "regimens"))
