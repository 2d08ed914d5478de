"""Concentrations at given times, against an independent integration, superposition and the mass balance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tdmx_dask.kernels.course import Input, course, course_at, course_auc
from tdmx_dask.kernels.disposition import Modes, disposition
from tdmx_dask.kernels.interval import cmax, cmin, steady_state
from tdmx_dask.kernels.timecourse import concentrations_at
from tests.kernels.compartments import wide_draws

HISTORY = [Input(0.0, 1000.0, 0.5), Input(6.0, 500.0, 0.0), Input(7.0, 800.0, 4.0), Input(9.0, 200.0, 1.0)]


def modes(n: int = 50) -> Modes:
    return disposition(*wide_draws(3, n, 2))


def test_concentrations_at__is_course_at_of_each_time() -> None:
    times = [0.0, 0.2, 0.5, 3.0, 6.0, 6.000001, 7.5, 10.0, 11.0, 30.0]
    found = concentrations_at(modes(), HISTORY, times)
    assert (found[0] == 0).all()
    for row, time in list(enumerate(times))[1:]:
        np.testing.assert_allclose(found[row], course_at(modes(), HISTORY, time), rtol=1e-12)
    assert (found[5] > found[4] + 1).all()  # the bolus at 6 h counts after it


def test_concentrations_at__superposition() -> None:
    times = np.linspace(0, 24, 60).tolist()
    parts = sum(concentrations_at(modes(), [dose], times) for dose in HISTORY)
    np.testing.assert_allclose(concentrations_at(modes(), HISTORY, times), parts, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tinf", [0.0, 1.0, 8.0])
def test_concentrations_at__steady_state_repeats_and_keeps_the_balance(tinf: float) -> None:
    m, doses = modes(), [Input(0.0, 1000.0, tinf)]
    grid = np.concatenate([[0.0, 1e-7], np.linspace(0.001, 8.0, 20001)])
    found = concentrations_at(m, doses, grid.tolist(), cycle=8.0)
    later = concentrations_at(m, doses, (grid + 16.0)[::100].tolist(), cycle=8.0)
    np.testing.assert_allclose(found[::100], later, rtol=1e-7)
    np.testing.assert_array_equal(found[0], found[-1])
    exact = steady_state(m, 8.0, tinf)
    np.testing.assert_allclose(found[-1], 1000 * cmin(exact), rtol=1e-11)
    np.testing.assert_allclose(found.max(axis=0), 1000 * cmax(exact), rtol=1e-3)
    area = np.trapezoid(found[1:], grid[1:], axis=0)
    np.testing.assert_allclose(area, 1000 * m.resistance, rtol=2e-3)


def test_concentrations_at__an_infusion_that_crosses_the_cycle() -> None:
    doses = [Input(20.0, 1000.0, 6.0), Input(1.0, 300.0, 0.0)]
    times = np.linspace(0, 24, 49).tolist()
    long = [Input(dose.time + 24.0 * k, dose.amount, dose.tinf) for k in range(40) for dose in doses]
    m = disposition(*(np.array([value]) for value in (6.0, 25.0, 5.0, 10.0)))
    found = concentrations_at(m, doses, times, cycle=24.0)
    followed = concentrations_at(m, long, [24.0 * 38 + time for time in times])
    np.testing.assert_allclose(found, followed, rtol=1e-9)


def test_concentrations_at__a_multiple_of_tau_is_the_trough_whatever_the_rounding() -> None:
    times = [k * 0.7 for k in range(1, 30)]
    found = concentrations_at(modes(), [Input(0.0, 100.0, 0.0)], times, cycle=0.7)
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=1e-7)


def test_concentrations_at__trapezoid_of_pieces_is_the_exact_area() -> None:
    m = modes()
    marks = [0.0, 0.5, 6.0, 7.0, 9.0, 10.0, 11.0, 24.0]
    area = 0.0
    for start, end in pairwise(marks):
        grid = np.linspace(start + 1e-9, end, 4001)
        area = area + np.trapezoid(concentrations_at(m, HISTORY, grid.tolist()), grid, axis=0)
    np.testing.assert_allclose(area, course_auc(course(m, HISTORY, (0.0, 24.0))), rtol=1e-4)


def test_concentrations_at__each_profile_alone() -> None:
    m = modes(9)
    one = concentrations_at(
        m._replace(rate=m.rate[:, 4:5], share=m.share[:, 4:5], resistance=m.resistance[4:5]),
        HISTORY,
        [3.0, 8.0],
    )
    np.testing.assert_array_equal(one[:, 0], concentrations_at(m, HISTORY, [3.0, 8.0])[:, 4])
