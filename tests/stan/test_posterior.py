"""Posteriors of four parameters and the error against importance sampling: a million prior draws, weighted by SciPy's likelihood."""

import numpy as np
import pytest
from scipy import stats

from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition
from tdmx_dask.kernels.ess import ess_mean
from tests.stan.patients import patient_data
from tests.stan.test_linear import model_of

N = 1_000_000
TIMES = [41.0, 47.5]


@pytest.fixture(scope="module")
def prior():
    """Parameters (parameter, draw), standard normals of both errors (2, draw), and predicted levels (level, draw)."""
    data, rng = patient_data(2), np.random.default_rng(20)
    chol, mean = np.array(data["prior_chol"]), np.array(data["prior_mean"])
    parameters = np.exp(mean[:, None] + chol @ rng.normal(size=(4, N)))
    doses = zip(data["dose_time"], data["dose_amount"], data["dose_tinf"], strict=True)
    inputs, modes = [Input(*dose) for dose in doses], disposition(*parameters)
    return parameters, rng.normal(size=(2, N)), np.stack([course_at(modes, inputs, time) for time in TIMES])


def weights_of(data, z, f):
    """Normalised weights of the prior draws, (draw,)."""
    a, p = np.exp(np.array(data["sigma_mean"])[:, None] + np.array(data["sigma_omega"])[:, None] * z)
    spread = (a, p * f, np.hypot(a, p * f), a + p * f, a, p * f)[data["error_model"] - 1]
    law = stats.norm if data["error_model"] < 5 else stats.t(data["nu"])
    log_weight = np.zeros(N)
    for m, below in enumerate(data["below"]):
        scale = np.broadcast_to(spread, f.shape)[m]
        x = (data["level"][m] - f[m]) / scale
        log_weight += law.logcdf(x) if below else law.logpdf(x) - np.log(scale)
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def moments(x, weight, n):
    """Mean and SD, and the standard error of each where the weights stand for n independent draws (None: for themselves)."""
    mean = weight @ x
    square = (x - mean) ** 2
    sd = np.sqrt(weight @ square)
    off = (x - mean, (square - sd**2) / (2.0 * sd))  # of the SD to first order
    if n is None:
        errors = [np.sqrt(weight**2 @ each**2) for each in off]
    else:
        errors = [each.std() / np.sqrt(size) for each, size in zip(off, n, strict=True)]
    return np.array([mean, sd]), np.array(errors)


@pytest.mark.parametrize("error_model", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("below", [[0, 0], [0, 1]])
def test_posterior__is_that_of_importance_sampling(prior, error_model, below):
    parameters, z, f = prior
    data = patient_data(
        2,
        n_levels=2, level_time=TIMES, level=[28.0, 1.0 if below[1] else 1.2], below=below, error_model=error_model,
    )  # fmt: skip
    weight = weights_of(data, z, f)
    assert 1.0 / (weight @ weight) > 5000  # effective draws: enough to judge by
    fit = model_of(2, data).sample(chains=2, seed=6, warmup=500, samples=5000, refresh=0)
    for name, values in zip(("CL", "Vc"), parameters, strict=False):
        expected, error = moments(values, weight, None)
        draws = np.asarray(fit.draws(name))
        centred = draws - draws.mean()
        sizes = ess_mean(np.stack([centred, centred**2], axis=-1))
        got, error_of_draws = moments(draws.ravel(), np.full(draws.size, 1.0 / draws.size), sizes)
        # 48 comparisons: one beyond 4.5 standard errors is a chance of 3e-4
        assert (np.abs(got - expected) < 4.5 * np.hypot(error, error_of_draws)).all(), (name, got, expected)
