"""Every row's result is its own: the same bits for any split, no warning and no lost number for any admissible row."""

import numpy as np
import pytest

from tdmx_dask.kernels.course import Input, course, course_at, course_auc, course_cmax, course_cmin
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.exceedance import exceeded
from tdmx_dask.kernels.interval import auc, cmax, cmin, nth_interval, steady_state
from tests.kernels.compartments import wide_draws

N = 8192 + 77
DAY = [Input(t, 1000.0, 1.0) for t in (0.0, 8.0, 16.0)]
LOADED = [Input(0.0, 2000.0, 0.5), Input(0.5, 3000.0, 24.0)]
BOLUSES = [Input(4.0 * i, 500.0, 0.0) for i in range(6)]
CYCLE = [Input(0.0, 1000.0, 1.0), Input(8.0, 500.0, 6.0)]
FIGURES = {
    "rates and shares": lambda m: np.concatenate([m.rate, m.share]).sum(axis=0),
    "steady": lambda m: exceeded(steady_state(m, 8.0, 1.0), 0.5),
    "steady, long": lambda m: exceeded(steady_state(m, 8.0, 6.0), 0.9),
    "steady, bolus": lambda m: exceeded(steady_state(m, 24.0, 0.0), 0.4),
    "first": lambda m: exceeded(nth_interval(m, 8.0, 4.0, 1), 0.6),
    "third": lambda m: exceeded(nth_interval(m, 8.0, 6.0, 3), 0.5),
    "interval": lambda m: [f(nth_interval(m, 12.0, 2.0, 3)) for f in (auc, cmax, cmin)],
    "day 1": lambda m: course_exceeded(course(m, DAY, (0.0, 24.0)), 0.6),
    "loaded": lambda m: course_exceeded(course(m, LOADED, (0.0, 24.0)), 0.6),
    "boluses": lambda m: course_exceeded(course(m, BOLUSES, (1.0, 24.0)), 0.3),
    "cycle": lambda m: course_exceeded(course(m, CYCLE, (3.0, 12.0), cycle=12.0), 0.8),
    "course": lambda m: [f(course(m, LOADED, (0.0, 24.0))) for f in (course_auc, course_cmax, course_cmin)],
    "at": lambda m: course_at(m, DAY, 17.0),
}


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_any_split_gives_the_same_bits(name, n_compartments):
    draws = wide_draws(11, N, n_compartments, decades=1.5)
    draws[0][5] = np.nan
    figure = FIGURES[name]
    whole = np.atleast_2d(figure(disposition(*draws)))
    assert np.isnan(whole[:, 5]).all()
    for size, n in ((1, 24), (7, 140), (1024, N), (8192, N), (1999, N)):
        parts = [
            np.atleast_2d(figure(disposition(*(column[i : min(i + size, n)] for column in draws))))
            for i in range(0, n, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[:, :n])


@pytest.mark.parametrize("decades", [2.0, 6.0])
@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_far_rows_give_finite_numbers_quietly(name, n_compartments, decades):
    """Warnings are errors in these tests."""
    draws = wide_draws(12, 1000, n_compartments, decades)
    same = np.arange(1000) % 5 == 0
    for i in range(2, 2 * n_compartments, 2):  # k10 = k21 (= k31)
        draws[i + 1][same] = np.maximum(draws[i] * draws[1] / draws[0], 1e-6)[same]
    values = np.array(FIGURES[name](disposition(*draws)))
    assert np.isfinite(values).all()
    assert (values >= 0.0).all() or decades > 2.0


def test_no_rows_give_no_rows():
    empty = disposition(*(np.empty(0) for _ in range(4)))
    for figure in FIGURES.values():
        assert np.size(figure(empty)) == 0
