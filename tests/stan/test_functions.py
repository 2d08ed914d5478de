"""The Stan functions of the linear models are the kernels."""

import numpy as np
import pytest
from stanli import Function

from tdmx_dask.fitting.program import read_program, stan_folder
from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition
from tests.kernels.compartments import wide_draws

NAMES = ("CL", "Vc", "Q1", "Vp1", "Q2", "Vp2")
CLOSE = 1e-10


@pytest.fixture(scope="module")
def code():
    files = ("disposition", "course", "residual", "prior")
    return (
        "functions {\n"
        + "".join((stan_folder() / f"functions/{name}.stan").read_text() for name in files)
        + "}\n"
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_modes__are_the_kernels(code, n):
    modes = Function(f"modes_{n}c", stan_code=code)
    draws = np.array(wide_draws(n, 400, n))
    expected = disposition(*draws)
    got = np.array([modes(**dict(zip(NAMES, map(float, row), strict=False))) for row in draws.T])
    np.testing.assert_allclose(got[:, :, 0].T, expected.rate, rtol=CLOSE)
    np.testing.assert_allclose(got[:, :, 1].T, expected.share, rtol=CLOSE, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("flow", [0.0, 1e-12, 1e-8, 1e-4])
def test_modes__where_flows_vanish(code, n, flow):
    """Equal rates as well: k10 = k21 = k31."""
    modes = Function(f"modes_{n}c", stan_code=code)
    parameters = (5.0, 30.0, flow, max(flow, 1e-13) * 6.0, flow, max(flow, 1e-13) * 6.0)[: 2 * n]
    expected = disposition(*np.array(parameters)[:, None])
    got = np.array(modes(**dict(zip(NAMES, parameters, strict=False))))
    assert np.isfinite(got).all()
    assert got[:, 1].sum() == pytest.approx(1.0)
    response = [
        (m.T * np.exp(-r[:, None] * [1.0, 9.0]).T).sum(1)
        for r, m in ((got[:, 0], got[:, 1]), (expected.rate[:, 0], expected.share[:, 0]))
    ]
    np.testing.assert_allclose(response[0], response[1], rtol=1e-7)


def history(rng, n_doses, n_levels):
    """Irregular doses, boluses and infusions (some overlap), and levels, one at a dose's time, one at an infusion's end."""
    time = rng.uniform(0.0, 100.0, n_doses)
    tinf = np.where(rng.random(n_doses) < 0.4, 0.0, rng.uniform(0.2, 30.0, n_doses))
    levels = rng.uniform(0.0, 130.0, n_levels)
    levels[0], levels[1] = time[0], time[-1] + tinf[-1]
    return time, rng.uniform(10.0, 2000.0, n_doses), tinf, levels


def course_by_stan(code, n, row, time, amount, tinf, levels):
    call = {
        name: Function(name, stan_code=code)
        for name in (
            "pair_count",
            "pair_table",
            "pair_starts",
            "after_bolus",
            "after_infusion",
            "by_level",
            f"modes_{n}c",
        )
    }
    modes = call[f"modes_{n}c"](**dict(zip(NAMES, map(float, row), strict=False)))
    window = {
        "first": np.ones(len(levels), dtype=int),
        "last": np.full(len(levels), len(time)),
        "dose_time": time,
        "dose_tinf": tinf,
        "level_time": levels,
    }
    total = np.zeros(len(levels))
    for infusions in (0, 1):
        n_pairs = call["pair_count"](infusions=infusions, **window)
        if n_pairs == 0:
            continue
        pair = call["pair_table"](n=n_pairs, infusions=infusions, **window)
        start = call["pair_starts"](n_levels=len(levels), pair=pair)
        level, dose = pair.T - 1
        since = levels[level] - time[dose]
        if infusions:
            filling = np.minimum(since, tinf[dose])
            left = call["after_infusion"](modes=modes, filling=filling, since=since - filling)
            weight = amount[dose] / tinf[dose]
        else:
            left, weight = call["after_bolus"](modes=modes, lag=since), amount[dose]
        total += call["by_level"](start=start, weight=weight, response=left)
    return total / row[0]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("n_doses", [1, 4, 60])
def test_course__is_the_kernels(code, n, n_doses):
    rng = np.random.default_rng(100 * n + n_doses)
    for row in np.array(wide_draws(7 * n, 12, n, decades=0.5)).T:
        time, amount, tinf, levels = history(rng, n_doses, 5)
        doses = [Input(*dose) for dose in zip(time, amount, tinf, strict=True)]
        expected = [course_at(disposition(*row[:, None]), doses, at)[0] for at in levels]
        got = course_by_stan(code, n, row, time, amount, tinf, levels)
        np.testing.assert_allclose(got, expected, rtol=CLOSE, atol=1e-200)


def test_cos_third__is_smooth_where_its_forms_meet(code):
    third = Function("cos_third", stan_code=code)
    for x in (-1.0, -0.999, 0.0, 0.98999, 0.99001, 0.999, 1.0 - 1e-12, 1.0):
        assert third(x=x) == pytest.approx(np.cos(np.arccos(x) / 3.0), rel=1e-14)


def test_student_tail__is_scipys_where_scipy_has_one(code):
    from scipy.stats import t

    tail = Function("student_lcdf", stan_code=code)
    for nu in (0.8, 4.0, 30.0):
        for z in (-1e6, -1e4, -300.0, -40.0, -2.0, 0.0, 3.0):
            assert tail(z=z, nu=nu) == pytest.approx(t.logcdf(z, nu), rel=1e-9), (nu, z)
    assert np.isfinite(tail(z=-1e30, nu=30.0))


def test_programs__have_no_include_left():
    for name in ("linear_1c", "linear_2c", "linear_3c", "michaelis_menten", "parallel", "population_2c"):
        assert "#include" not in read_program(name).code
