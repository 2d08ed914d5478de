"""Data of the patient programs, and their densities computed without Stan."""

import numpy as np
from scipy import stats

from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition

MEDIANS = {1: (15.0, 12.7), 2: (15.0, 12.7, 15.2, 12.4), 3: (15.0, 12.7, 15.2, 12.4, 2.0, 20.0)}


def patient_data(n_compartments=2, **changes):
    """Six doses, one a bolus, and three levels; a prior with correlations."""
    medians = MEDIANS[n_compartments]
    size = len(medians)
    covariance = 0.09 * (0.3 * np.ones((size, size)) + 0.7 * np.eye(size))
    data = {
        "n_doses": 6,
        "dose_time": [0.0, 8.0, 16.0, 24.0, 32.0, 40.0],
        "dose_amount": [1000.0, 1000.0, 500.0, 1000.0, 1000.0, 1000.0],
        "dose_tinf": [0.5, 0.5, 0.0, 0.5, 3.0, 0.5],
        "n_levels": 3,
        "level_time": [16.0, 41.0, 47.5],
        "level": [2.1, 12.3, 6.1],
        "below": [0, 0, 0],
        "prior_mean": np.log(medians).tolist(),
        "prior_chol": np.linalg.cholesky(covariance).tolist(),
        "error_model": 3,
        "sigma_mean": np.log([0.5, 0.15]).tolist(),
        "sigma_omega": [0.3, 0.4],
        "nu": 4.0,
        "centred": 0,
    }
    return {**data, **changes}


def predicted(data, theta):
    """Levels of one set of log-parameters by the kernels, (level,), mg/L."""
    modes = disposition(*np.exp(theta)[:, None])
    doses = [
        Input(*dose) for dose in zip(data["dose_time"], data["dose_amount"], data["dose_tinf"], strict=True)
    ]
    return np.array([course_at(modes, doses, time)[0] if time > 0 else 0.0 for time in data["level_time"]])


def log_likelihood(data, f, a, p):
    """Log likelihood of each level by SciPy, (level,)."""
    spread = (a, p * f, np.hypot(a, p * f), a + p * f, a, p * f)[data["error_model"] - 1]
    law = stats.norm(f, spread) if data["error_model"] < 5 else stats.t(data["nu"], f, spread)
    return np.where(data["below"], law.logcdf(data["level"]), law.logpdf(data["level"]))


def sigmas_of(data, raw):
    """The two errors, 0 where the model has none."""
    has = (data["error_model"] not in (2, 6), data["error_model"] not in (1, 5))
    values, rest = [], list(raw)
    for has_it, mean, omega in zip(has, data["sigma_mean"], data["sigma_omega"], strict=True):
        z = rest.pop(0) if has_it and omega > 0 else 0.0
        values.append(np.exp(mean + omega * z) if has_it else 0.0)
    return values


def log_density(data, raw, likelihood):
    """Log density up to a constant of the unconstrained parameters where `centred` is 0."""
    size = sum(np.diag(data["prior_chol"]) > 0)
    free = np.diag(data["prior_chol"]) > 0
    theta = np.array(data["prior_mean"]) + np.array(data["prior_chol"])[:, free] @ raw[:size]
    a, p = sigmas_of(data, raw[size:])
    return stats.norm.logpdf(raw).sum() + likelihood(theta, a, p).sum()
