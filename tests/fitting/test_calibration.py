"""Levels simulated by the kernels, and ranks among the draws of posteriors: here of posteriors made without Stan."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.calibration import (
    LIKELIHOOD,
    log_likelihood,
    predicted,
    rank_fit,
    simulate,
)
from tdmx_dask.kernels.uniformity import ecdf_p

ONE = ("CL", "Vc")
ERRORS = {"additive": 1, "proportional": 2, "combined": 3, "linear": 4, "student": 5, "student share": 6}


def question(error_model: int = 3, n_compartments: int = 1) -> dict:
    """Six doses of 1,000 mg, two levels after the last; CL and Vc are correlated."""
    omega = np.diag([0.3, 0.25, 0.2, 0.2][: 2 * n_compartments])
    omega[1, 0] = 0.1
    return {
        "dose_time": [8.0 * k for k in range(6)],
        "dose_amount": [1000.0] * 6,
        "dose_tinf": [0.5] * 6,
        "level_time": [41.0, 47.5],
        "prior_mean": np.log([10.0, 20.0, 5.0, 15.0][: 2 * n_compartments]),
        "prior_chol": omega,
        "error_model": error_model,
        "sigma_mean": np.log([1.5, 0.15]),
        "sigma_omega": [0.3, 0.3],
        "nu": 4.0,
    }


@pytest.mark.parametrize("error_model", ERRORS.values(), ids=ERRORS)
def test_simulate__fewer_are_the_first_of_more(error_model):
    data = question(error_model)
    few, many = simulate(data, ONE, 20, seed=5), simulate(data, ONE, 1100, seed=5)
    for name in ("parameters", "sigma", "level", "below"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:20])
    assert few.lloq == many.lloq
    assert not np.array_equal(few.level, simulate(data, ONE, 20, seed=6).level)


def test_simulate__has_the_priors_moments():
    data = question()
    found = simulate(data, ONE, 20_000, seed=1)
    logs = np.log(found.parameters)
    chol = data["prior_chol"]
    np.testing.assert_allclose(logs.mean(axis=0), data["prior_mean"], atol=0.01)
    np.testing.assert_allclose(np.cov(logs.T), chol @ chol.T, atol=0.003)
    np.testing.assert_allclose(np.log(found.sigma).std(axis=0), data["sigma_omega"], atol=0.005)
    assert 0.05 < found.below.mean() < 0.15  # additive errors alone make a tenth of these levels negative
    assert simulate(question(2), ONE, 20_000, seed=1).below.mean() == pytest.approx(0.05, abs=0.01)
    assert (found.level >= found.lloq).all()


@pytest.mark.parametrize("error_model", ERRORS.values(), ids=ERRORS)
def test_log_likelihood__is_scipys(error_model):
    data = question(error_model)
    parameters, sigma = np.array([[9.0, 22.0]]), np.array([[1.5, 0.15]])
    sigma[0, {1: 1, 5: 1, 2: 0, 6: 0}.get(error_model, slice(0, 0))] = 0.0
    f = predicted(data, parameters)[0]
    sd = [1.5, 0.15 * f, np.sqrt(1.5**2 + (0.15 * f) ** 2), 1.5 + 0.15 * f, 1.5, 0.15 * f][error_model - 1]
    law = stats.t(4.0, f, sd) if error_model >= 5 else stats.norm(f, sd)
    level, below = np.array([30.0, 2.0]), np.array([False, True])
    expected = law.logpdf(level)[0] + law.logcdf(level)[1]
    found = log_likelihood(data, parameters, sigma, level, below)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def resampled(data, simulated, index, rng, *, wider: float = 1.0):
    """Draws of a posterior without Stan: of the prior, by their likelihood; `wider` spoils them."""
    n = 6000
    prior = simulate(data, simulated.names, n, seed=10_000 + index)
    weight = log_likelihood(
        data, prior.parameters, prior.sigma, simulated.level[index], simulated.below[index]
    )
    weight = np.exp(weight - weight.max())
    chosen = rng.choice(n, 400, p=weight / weight.sum())
    logs = np.log(np.column_stack([prior.parameters, prior.sigma])[chosen] + 1e-300)
    logs = logs.mean(axis=0) + wider * (logs - logs.mean(axis=0))
    names = (*simulated.names, "sigma_additive", "sigma_proportional")
    return {name: np.exp(column).reshape(2, 200) for name, column in zip(names, logs.T, strict=True)}


@pytest.mark.parametrize("error_model", ERRORS.values(), ids=ERRORS)
def test_rank_fit__resampled_posteriors_are_calibrated(error_model):
    data, rng = question(error_model), np.random.default_rng(2)
    simulated = simulate(data, ONE, 120, seed=3)
    fits = [rank_fit(data, simulated, i, resampled(data, simulated, i, rng), seed=3) for i in range(120)]
    names = set(fits[0].ranks)
    assert {"CL", "Vc", LIKELIHOOD} < names
    assert ("sigma_additive" in names) == (error_model in (1, 3, 4, 5))
    assert ("sigma_proportional" in names) == (error_model in (2, 3, 4, 6))
    for name in names:
        assert ecdf_p(np.array([fit.ranks[name] for fit in fits])) > 0.01, name


def test_rank_fit__a_wide_posterior_is_found():
    data, rng = question(2), np.random.default_rng(2)
    simulated = simulate(data, ONE, 120, seed=3)
    draws = (resampled(data, simulated, i, rng, wider=1.8) for i in range(120))
    fits = [rank_fit(data, simulated, i, each, seed=3) for i, each in enumerate(draws)]
    assert ecdf_p(np.array([fit.ranks["CL"] for fit in fits])) < 1e-3


def test_rank_fit__a_posterior_that_ignores_its_data_is_found():
    """Ranks of the parameters alone cannot tell the prior from the posterior (Modrák et al. 2023)."""
    data = question(2)
    simulated = simulate(data, ONE, 120, seed=3)
    prior = simulate(data, ONE, 400, seed=99)
    columns = {name: prior.parameters[:, k].reshape(2, 200) for k, name in enumerate(ONE)}
    columns |= {"sigma_proportional": prior.sigma[:, 1].reshape(2, 200)}
    fits = [rank_fit(data, simulated, i, columns, seed=3) for i in range(120)]
    assert ecdf_p(np.array([fit.ranks["CL"] for fit in fits])) > 0.01
    assert ecdf_p(np.array([fit.ranks[LIKELIHOOD] for fit in fits])) < 1e-6


def test_rank_fit__slow_chains_are_thinned():
    data = question(2)
    simulated = simulate(data, ONE, 1, seed=3)
    rng = np.random.default_rng(1)
    slow = np.exp(np.cumsum(rng.normal(size=(2, 500)), axis=1) * 0.02)
    columns = {"CL": 10 * slow, "Vc": 20 * slow, "sigma_proportional": 0.15 * slow}
    found = rank_fit(data, simulated, 0, columns, seed=3)
    assert found.n_independent == int(found.ess) < 40
    assert all(0 < rank < 1 for rank in found.ranks.values())


def test_simulate__fixed_parameters_are_not_ranked():
    data = question(1)
    data["prior_chol"] = np.diag([0.3, 0.0])
    simulated = simulate(data, ONE, 3, seed=3)
    assert simulated.parameters[:, 1] == pytest.approx(20.0)
    columns = {"CL": simulated.parameters[:, :1] * np.exp(np.random.default_rng(1).normal(0, 0.1, (3, 50)))}
    columns["sigma_additive"] = columns["CL"]
    assert set(rank_fit(data, simulated, 0, columns, seed=3).ranks) == {"CL", "sigma_additive", LIKELIHOOD}


@pytest.mark.parametrize(
    ("names", "times", "expected"),
    [(("Vmax", "Km", "Vc"), [41.0], "linear models"), (ONE, [], "needs times of levels")],
)
def test_simulate__refused(names, times, expected):
    with pytest.raises(InputError, match=expected):
        simulate({**question(), "level_time": times}, names, 3)
