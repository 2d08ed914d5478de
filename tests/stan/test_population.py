"""The population programs: simulated truth, a density that no threading changes, and subjects that are single patients."""

import numpy as np
import pytest
from scipy import stats
from stanli import Model

from tdmx_dask.fitting.program import read_program
from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition
from tests.stan.patients import log_likelihood
from tests.stan.test_linear import assert_gradient, draws_of

TRUTH = {
    "CL": 10.0,
    "Vc": 25.0,
    "effect[1]": 0.7,
    "omega[1,1]": 0.09,
    "omega[2,2]": 0.04,
    "sigma_proportional": 0.1,
}


def cohort_data(n=24, seed=1, **changes):
    """Subjects with three to five doses and three levels each; CL grows with a covariate."""
    rng = np.random.default_rng(seed)
    covariate = np.log(rng.uniform(40.0, 140.0, n) / 100.0)
    eta = rng.normal(size=(n, 2)) * np.sqrt([TRUTH["omega[1,1]"], TRUTH["omega[2,2]"]])
    cl = TRUTH["CL"] * np.exp(TRUTH["effect[1]"] * covariate + eta[:, 0])
    vc = TRUTH["Vc"] * np.exp(eta[:, 1])
    doses, levels = [], []
    for i in range(n):
        own = [Input(8.0 * k, 1000.0, 0.5 if i % 4 else 0.0) for k in range(3 + i % 3)]
        doses += [(i + 1, *dose) for dose in own]
        for time in (1.0, 4.0, 8.0 * len(own) - 1.0):
            f = course_at(disposition(cl[i : i + 1], vc[i : i + 1]), own, time)[0]
            levels.append((i + 1, time, f * (1.0 + TRUTH["sigma_proportional"] * rng.normal())))
    dose_subject, dose_time, dose_amount, dose_tinf = map(list, zip(*doses, strict=True))
    level_subject, level_time, level = map(list, zip(*levels, strict=True))
    data = {
        "n_subjects": n,
        "n_doses": len(doses),
        "dose_subject": dose_subject,
        "dose_time": dose_time,
        "dose_amount": dose_amount,
        "dose_tinf": dose_tinf,
        "n_levels": len(levels),
        "level_subject": level_subject,
        "level_time": level_time,
        "level": level,
        "below": [0] * len(levels),
        "typical_mean": np.log([8.0, 30.0]).tolist(),
        "typical_sd": [1.0, 1.0],
        "n_effects": 1,
        "effect_parameter": [1],
        "design": covariate[:, None].tolist(),
        "effect_mean": [0.0],
        "effect_sd": [1.0],
        "n_etas": 2,
        "eta_parameter": [1, 2],
        "omega_prior": 1,
        "omega_location": [0.0, 0.0],
        "omega_scale": [0.5, 0.5],
        "lkj": 2.0,
        "error_model": 2,
        "sigma_mean": [0.0, float(np.log(0.15))],
        "sigma_omega": [0.0, 0.5],
        "nu": 4.0,
        "grainsize": 0,
    }
    return {**data, **changes}


def model_of(data, n=1, threads=1):
    return Model(stan_code=read_program(f"population_{n}c").code, data=data, threads_per_chain=threads)


def point(model, seed=0):
    return 0.2 * np.random.default_rng(seed).normal(size=model.n_unconstrained)


@pytest.mark.parametrize("omega_prior", [1, 2])
def test_truth__lies_in_the_posterior(omega_prior):
    location = [0.0, 0.0] if omega_prior == 1 else np.log([0.3, 0.3]).tolist()
    model = model_of(cohort_data(omega_prior=omega_prior, omega_location=location))
    fit = model.sample(chains=2, seed=3, warmup=400, samples=300, refresh=0)
    for name, value in TRUTH.items():
        values = draws_of(fit, name) if name.startswith("effect") else np.log(draws_of(fit, name))
        truth = value if name.startswith("effect") else np.log(value)
        assert abs(values.mean() - truth) < 4.0 * values.std(), (
            name
        )  # six quantities, twice: chance alone passes 3 now and then
        assert values.std() < 1.0, name  # the prior alone is as wide


def test_start__at_random_is_where_a_chain_can_move():
    """Where the log density is -1e12, no step of any use keeps the energy; a purely proportional error is the steepest."""
    model = model_of(cohort_data(14))
    starts = np.random.default_rng(3).uniform(-2.0, 2.0, (200, model.n_unconstrained))
    assert min(model.log_prob_grad(q)[0] for q in starts) > -1e9


@pytest.mark.parametrize(("grainsize", "threads"), [(1, 1), (5, 1), (5, 2), (100, 2)])
def test_density__is_the_same_with_reduce_sum(grainsize, threads):
    plain = model_of(cohort_data())
    summed = model_of(cohort_data(grainsize=grainsize), threads=threads)
    q = point(plain)
    density, gradient = plain.log_prob_grad(q)
    other, other_gradient = summed.log_prob_grad(q)
    assert other == pytest.approx(density, rel=1e-12)
    np.testing.assert_allclose(other_gradient, gradient, rtol=1e-9, atol=1e-9)


def log_density(data, q):
    """All of the density, up to a constant, of a cohort with two correlated etas."""
    typical_raw, effect_raw, omega, angle, eta_raw, sigma_raw = np.split(
        q, np.cumsum([2, 1, 2, 1, 2 * data["n_subjects"]])
    )
    typical_raw, effect_raw, eta_raw = 0.1 * typical_raw, 0.1 * effect_raw, 0.25 * eta_raw
    prior = stats.norm.logpdf(np.concatenate([typical_raw, effect_raw, eta_raw, sigma_raw])).sum()
    if data["omega_prior"] == 1:
        half = np.logaddexp(0.0, omega - 1.0)
        sd = np.array(data["omega_scale"]) * half
        prior += (
            stats.norm.logpdf(half).sum() + np.log(-np.expm1(-half)).sum()
        )  # half-normal, and the Jacobian: of log(1 + exp x) it is 1 - 1/(1 + exp x)
    else:
        sd = np.exp(data["omega_location"] + np.array(data["omega_scale"]) * omega)
        prior += stats.norm.logpdf(omega).sum()
    r = np.tanh(angle[0])
    prior += data["lkj"] * np.log1p(-(r**2))  # LKJ of two: (1 - r^2)^(lkj - 1), and the Jacobian of tanh
    chol = np.linalg.cholesky(np.outer(sd, sd) * [[1.0, r], [r, 1.0]])
    logs = data["typical_mean"] + data["typical_sd"] * typical_raw + eta_raw.reshape(-1, 2) @ chol.T
    logs[:, 0] += (data["effect_mean"][0] + data["effect_sd"][0] * effect_raw[0]) * np.array(data["design"])[
        :, 0
    ]
    f = []
    for subject, time in zip(data["level_subject"], data["level_time"], strict=True):
        rows = np.flatnonzero(np.array(data["dose_subject"]) == subject)
        own = [Input(data["dose_time"][i], data["dose_amount"][i], data["dose_tinf"][i]) for i in rows]
        f.append(course_at(disposition(*np.exp(logs[subject - 1])[:, None]), own, time)[0])
    proportional = np.exp(data["sigma_mean"][1] + data["sigma_omega"][1] * sigma_raw[0])
    return prior + log_likelihood(data, np.array(f), 0.0, proportional).sum()


@pytest.mark.parametrize("omega_prior", [1, 2])
@pytest.mark.parametrize("lkj", [1.0, 2.5])
def test_density__is_scipys(omega_prior, lkj):
    data = cohort_data(omega_prior=omega_prior, lkj=lkj, omega_location=[-1.2, -1.5])
    data["below"] = [int(m % 7 == 0) for m in range(data["n_levels"])]
    model = model_of(data)
    at = [point(model, seed) for seed in range(4)]
    difference = [model.log_prob_grad(q)[0] - log_density(data, q) for q in at]
    np.testing.assert_allclose(difference, difference[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_gradient__is_the_differences(n):
    typical = np.log([8.0, 30.0, 5.0, 10.0, 2.0, 20.0])[: 2 * n].tolist()
    model = model_of(
        cohort_data(
            n=4, typical_mean=typical, typical_sd=[0.5] * (2 * n), error_model=3, sigma_omega=[0.5, 0.5]
        ),
        n,
    )
    assert_gradient(model, point(model))


def test_cohort__without_etas_effects_or_levels_of_some():
    none = {"n_etas": 0, "eta_parameter": [], "omega_location": [], "omega_scale": []}
    no_effects = {
        "n_effects": 0,
        "effect_parameter": [],
        "effect_mean": [],
        "effect_sd": [],
        "design": [[] for _ in range(24)],
    }
    data = cohort_data(**none, **no_effects)
    assert model_of(data).n_unconstrained == 3
    keep = [m for m, subject in enumerate(data["level_subject"]) if subject not in (1, 12, 24)]
    for name in ("level_subject", "level_time", "level", "below"):
        data[name] = [data[name][m] for m in keep]
    data["n_levels"] = len(keep)
    model = model_of(data)
    fit = model.sample(chains=1, warmup=50, samples=5, refresh=0)
    np.testing.assert_allclose(draws_of(fit, "CL_i[12]"), draws_of(fit, "CL"))
    assert np.isfinite(draws_of(fit, f"log_lik[{len(keep)}]")).all()


def test_cohort__rows_out_of_order_are_refused():
    data = cohort_data()
    data["level_subject"][:2] = [2, 1]
    with pytest.raises(RuntimeError, match=r"subject by subject"):
        model_of(data)
