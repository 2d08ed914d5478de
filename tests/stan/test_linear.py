"""The linear programs: their density against SciPy's, their gradient, and posteriors that are known otherwise."""

import numpy as np
import pytest
from scipy import stats
from stanli import Model

from tdmx_dask.fitting.program import read_program
from tests.stan.patients import log_density, log_likelihood, patient_data, predicted


def model_of(n, data):
    return Model(stan_code=read_program(f"linear_{n}c").code, data=data)


def points(model, n=5, seed=3):
    return np.random.default_rng(seed).normal(size=(n, model.n_unconstrained))


@pytest.mark.parametrize("error_model", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("below", [[0, 0, 0], [1, 0, 1]])
def test_density__is_scipys(error_model, below):
    """Up to a constant: `~` drops what does not depend on parameters."""
    data = patient_data(2, error_model=error_model, below=below)
    model = model_of(2, data)

    def likelihood(theta, a, p):
        return log_likelihood(data, predicted(data, theta), a, p)

    at = points(model)
    got = np.array([model.log_prob_grad(q)[0] for q in at])
    expected = np.array([log_density(data, q, likelihood) for q in at])
    np.testing.assert_allclose(got - got[0], expected - expected[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("error_model", [3, 6])
@pytest.mark.parametrize("centred", [0, 1])
def test_gradient__is_the_differences(n, error_model, centred):
    model = model_of(n, patient_data(n, error_model=error_model, below=[1, 0, 0], centred=centred))
    for q in points(model, 3) * (0.2 if centred else 1.0):
        assert_gradient(model, q)


@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-6, 1.0 + 1e-3])
@pytest.mark.parametrize("flow", [15.0, 1e-3, 1e-6])
def test_gradient__near_repeated_roots(ratio, flow):
    """Peripheral rates nearly equal to each other and to k10, through flows that nearly vanish."""
    k10 = 15.0 / 12.7
    medians = (15.0, 12.7, flow, flow / k10, flow, flow / (k10 * ratio))
    model = model_of(3, patient_data(3, prior_mean=np.log(medians).tolist()))
    assert_gradient(model, np.zeros(model.n_unconstrained), rtol=1e-3)


def assert_gradient(model, q, rtol=1e-6):
    step = 1e-5
    differences = [
        (model.log_prob_grad(q + e)[0] - model.log_prob_grad(q - e)[0]) / (2 * step)
        for e in step * np.eye(q.size)
    ]
    gradient = model.log_prob_grad(q)[1]
    np.testing.assert_allclose(gradient, differences, rtol=rtol, atol=rtol * np.abs(gradient).max())


def draws_of(fit, name):
    """(draw,) of all chains."""
    return np.asarray(fit.draws(name)).ravel()


def test_output__is_the_kernels_and_scipys():
    data = patient_data(2, below=[1, 0, 0], error_model=4)
    fit = model_of(2, data).sample(chains=1, warmup=200, samples=20, refresh=0)
    theta = np.log([draws_of(fit, name) for name in ("CL", "Vc", "Q1", "Vp1")]).T
    for i, row in enumerate(theta):
        f = predicted(data, row)
        a, p = draws_of(fit, "sigma_additive")[i], draws_of(fit, "sigma_proportional")[i]
        expected = log_likelihood(data, f, a, p)
        for m in range(3):
            assert draws_of(fit, f"predicted[{m + 1}]")[i] == pytest.approx(f[m], rel=1e-10)
            assert draws_of(fit, f"log_lik[{m + 1}]")[i] == pytest.approx(expected[m], rel=1e-9)


@pytest.mark.parametrize("centred", [0, 1])
def test_posterior__of_one_parameter_is_the_quadratures(centred):
    """One compartment, one bolus, Vc fixed, a fixed error: the posterior of CL on a fine grid."""
    data = patient_data(
        1,
        n_doses=1, dose_time=[0.0], dose_amount=[100.0], dose_tinf=[0.0],
        n_levels=2, level_time=[2.0, 6.0], level=[6.0, 2.5], below=[0, 0],
        prior_mean=np.log([3.0, 12.0]).tolist(), prior_chol=[[0.5, 0.0], [0.0, 0.0]],
        error_model=1, sigma_omega=[0.0, 0.0], centred=centred,
    )  # fmt: skip
    fit = model_of(1, data).sample(chains=2, seed=5, warmup=500, samples=4000, refresh=0)
    x = np.linspace(np.log(3.0) - 3.0, np.log(3.0) + 3.0, 4001)
    f = 100.0 / 12.0 * np.exp(-np.exp(x)[:, None] / 12.0 * data["level_time"])
    weight = np.exp(stats.norm.logpdf(f, data["level"], 0.5).sum(1) + stats.norm.logpdf(x, np.log(3.0), 0.5))
    weight /= weight.sum()
    mean = weight @ x
    sd = np.sqrt(weight @ (x - mean) ** 2)
    log_cl = np.log(draws_of(fit, "CL"))
    assert log_cl.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(1500))
    assert log_cl.std() == pytest.approx(sd, rel=0.1)
    np.testing.assert_allclose(draws_of(fit, "Vc"), 12.0)


def test_posterior__is_conjugate_where_the_model_is():
    """With CL fixed at nearly 0 and time near 0, C = dose/Vc: with a level of high precision, log Vc is normal to first order."""
    sd, omega = 1e-4, 0.2
    data = patient_data(
        1,
        n_doses=1, dose_time=[0.0], dose_amount=[100.0], dose_tinf=[0.0], n_levels=1, level_time=[1e-6], level=[10.0], below=[0],
        prior_mean=[-20.0, float(np.log(10.0))], prior_chol=[[0.0, 0.0], [0.0, omega]],
        error_model=2, sigma_mean=[0.0, float(np.log(sd))], sigma_omega=[0.0, 0.0],
    )  # fmt: skip
    fit = model_of(1, data).sample(chains=2, seed=1, warmup=500, samples=2000, refresh=0)
    log_v = np.log(draws_of(fit, "Vc"))
    posterior_sd = (1 / sd**2 + 1 / omega**2) ** -0.5
    assert log_v.std() == pytest.approx(posterior_sd, rel=0.1)
    assert log_v.mean() == pytest.approx(np.log(10.0), abs=0.2 * posterior_sd)


def test_prior__is_sampled_without_levels():
    data = patient_data(2, n_levels=0, level_time=[], level=[], below=[])
    fit = model_of(2, data).sample(chains=2, seed=2, warmup=500, samples=3000, refresh=0)
    logs = np.log([draws_of(fit, name) for name in ("CL", "Vc", "Q1", "Vp1")])
    chol = np.array(data["prior_chol"])
    np.testing.assert_allclose(logs.mean(1), data["prior_mean"], atol=0.03)
    np.testing.assert_allclose(np.cov(logs), chol @ chol.T, atol=0.012)


def test_level__before_the_first_dose():
    """0 is predicted: nothing is known by it with an additive error, it is refused with a proportional one, certain below the limit."""
    early = {"level_time": [0.0, 41.0, 47.5]}
    model = model_of(1, patient_data(1, error_model=3, **early))
    assert np.isfinite(model.log_prob_grad(np.zeros(model.n_unconstrained))[0])
    for error_model in (2, 6):
        with pytest.raises(RuntimeError, match=r"level 1: before the first dose 0 is predicted"):
            model_of(1, patient_data(1, error_model=error_model, **early))
        data = patient_data(1, error_model=error_model, below=[1, 0, 0], **early)
        fit = model_of(1, data).sample(chains=1, warmup=100, samples=20, refresh=0)
        np.testing.assert_allclose(draws_of(fit, "log_lik[1]"), 0.0, atol=1e-12)
        assert np.isfinite(draws_of(fit, "level_rep[1]")).all()


def test_prior__with_a_column_of_a_fixed_parameter_is_refused():
    chol = [[0.0, 0.0], [0.1, 0.2]]
    with pytest.raises(RuntimeError, match=r"column 1 must be 0"):
        model_of(1, patient_data(1, prior_chol=chol))
