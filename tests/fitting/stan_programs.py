"""Small Stan programs with known answers, and tasks of them."""

import json

from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import ChainTask, Sampling

NORMAL = Program(
    "normal",
    """
data { int<lower=0> N; vector[N] y; real<lower=0> sigma; real<lower=0> tau; }
parameters { real mu; }
model { mu ~ normal(0, tau); y ~ normal(mu, sigma); }
generated quantities { real y_rep = normal_rng(mu, sigma); }
""",
)
NORMAL_DATA = {"N": 4, "y": [1.0, 2.0, 4.0, 5.0], "sigma": 2.0, "tau": 3.0}

SHAPES = Program(
    "shapes",
    """
parameters { real<lower=0> a; matrix[2, 3] m; simplex[3] p; corr_matrix[3] r; array[2] vector<upper=1>[2] v; }
transformed parameters { real twice = 2 * a; }
model { a ~ lognormal(1, 0.5); to_vector(m) ~ normal(0, 1); r ~ lkj_corr(2); for (i in 1:2) v[i] ~ normal(0, 1); }
""",
)


def normal_answer(data=NORMAL_DATA):
    """Posterior mean and SD of mu: a normal prior and a normal likelihood with known SD are conjugate."""
    precision = 1 / data["tau"] ** 2 + data["N"] / data["sigma"] ** 2
    return sum(data["y"]) / data["sigma"] ** 2 / precision, precision**-0.5


def task(program=NORMAL, data=NORMAL_DATA, *, chain=0, seed=7, warmup=300, draws=600, **more):
    sampling = more.pop("sampling", Sampling(warmup=warmup, draws=draws))
    return ChainTask(program, json.dumps(data), seed, chain, sampling=sampling, fit="test", **more)


def endless(**more):
    """A task that runs for minutes."""
    return task(draws=10**7, **more)


def nothing(event):
    """Hear nothing."""
