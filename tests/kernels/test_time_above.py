"""The time above a level, as the inverse of the level exceeded, and against a fine grid."""

from __future__ import annotations

import numpy as np
import pytest

from tdmx_dask.kernels.course import Input, course, course_cmax
from tdmx_dask.kernels.course_exceedance import course_exceeded
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.time_above import time_above
from tdmx_dask.kernels.timecourse import concentrations_at
from tests.kernels.compartments import wide_draws

HISTORY = [Input(0.0, 1000.0, 0.5), Input(6.0, 500.0, 0.0), Input(7.0, 800.0, 4.0), Input(9.0, 200.0, 1.0)]


@pytest.mark.parametrize("n_compartments", [1, 2, 3])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.93])
def test_time_above__is_the_inverse_of_the_level_exceeded(n_compartments: int, fraction: float) -> None:
    profile = course(disposition(*wide_draws(4, 200, n_compartments)), HISTORY, (0.0, 24.0))
    level = course_exceeded(profile, fraction)
    apart = 1e-9 * course_cmax(profile)  # the level is known to 1e-10 of the highest concentration
    assert (time_above(profile, level - apart) >= fraction).all()
    assert (time_above(profile, level + apart) <= fraction).all()


def test_time_above__against_a_fine_grid() -> None:
    modes = disposition(*wide_draws(5, 20, 2))
    grid = np.linspace(0.0, 24.0, 24001)[1:]
    values = concentrations_at(modes, HISTORY, grid.tolist())
    for level in (0.5, 5.0, 20.0):
        found = time_above(course(modes, HISTORY, (0.0, 24.0)), level)
        np.testing.assert_allclose(found, (values >= level).mean(axis=0), atol=2e-4)


def test_time_above__ends() -> None:
    profile = course(disposition(*wide_draws(6, 20, 2)), [Input(0.0, 100.0, 0.0)], (0.0, 8.0), cycle=8.0)
    np.testing.assert_allclose(time_above(profile, 0.0), 1.0, rtol=1e-12)
    assert (time_above(profile, 1e9) == 0.0).all()
    constant = course(
        disposition(np.array([1.0]), np.array([10.0])), [Input(0.0, 240.0, 24.0)], (0.0, 24.0), cycle=24.0
    )
    assert time_above(constant, 10.0).tolist() == [1.0]
    one = disposition(np.array([np.nan]), np.array([1.0]))
    assert np.isnan(time_above(course(one, HISTORY, (0.0, 24.0)), 1.0)).all()
