"""Intervals cover a known truth as often as they say, through the public verbs.

A continuous infusion of 24 mg a day into CL = exp(theta + omega eta) L/h gives 1/CL mg/L, so at MIC exp(-omega z) the PTA is
Phi(z - theta/omega). For the credible interval theta is drawn from a normal prior and seen with normal noise; the draws are those of
its exact posterior, so a credible interval of level x must hold the true PTA in x of the repetitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binom

import tdmx_dask as tdmx
from tdmx_dask.kernels.intervals import wilson

Floats = NDArray[np.float64]

OMEGA, PRIOR, NOISE = 0.5, 0.3, 0.2
PRECISION = 1 / PRIOR**2 + 1 / NOISE**2
PTA = (0.5, 0.9)
"""True PTA where theta = 0, of each MIC."""
Z = ndtri(np.array(PTA))
MIC = np.exp(-OMEGA * Z)
ISOLATES = tdmx.MICDistribution.from_counts(sorted(MIC), [1, 3], organism="made up")
QUESTION = ("24 mg q24h ci", "T>MIC >= 100%")


class Repetition(NamedTuple):
    """Bounds and truth; the last axis holds the MICs in the order of PTA, then the CFR."""

    truth: Floats
    bounds: Floats  # (2, cell)
    wrong: Floats  # (2, cell): bounds that must not pass, so that the test can fail


def draws(cl: Floats, omega: float | None = None, sampling: str = "independent") -> xr.Dataset:
    """Draws (chain, draw) of the one-compartment model."""
    dims = ("chain", "draw")
    found = xr.Dataset(
        {"CL": (dims, cl, {"units": "L/h"}), "Vc": (dims, np.full(cl.shape, 10.0), {"units": "L"})},
        attrs={"sampling": sampling},
    )
    if omega is not None:
        found["omega"] = ((*dims, "eta", "eta2"), np.full((*cl.shape, 1, 1), omega**2))
        found = found.assign_coords(eta=["CL"], eta2=["CL"])
    return found


def credible(rng: np.random.Generator, seed: int, n_draws: int, n_subjects: int, level: float) -> Repetition:
    """One posterior and its intervals of PTA at both MICs and of CFR."""
    theta = rng.normal(0, PRIOR)
    mean = rng.normal(theta, NOISE) / NOISE**2 / PRECISION
    cl = np.exp(rng.normal(mean, PRECISION**-0.5, (1, n_draws)))
    pta = tdmx.pta(
        draws(cl, OMEGA), *QUESTION, mic=ISOLATES, subjects=n_subjects, seed=seed, level=level, run="direct"
    )
    cfr = tdmx.cfr(pta, ISOLATES)
    assert pta.attrs["interval"] == cfr.attrs["interval"] == "credible"
    truth = ndtr(Z - theta / OMEGA)
    weights = np.array([0.75, 0.25])  # PTA 0.5 is that of the higher MIC
    shares = pta["attained_by_draw"].values.reshape(2, -1)[::-1] / n_subjects
    raw = np.vstack([shares, weights @ shares])
    return Repetition(
        np.append(truth, weights @ truth),
        np.array([[*pta[side].values.ravel()[::-1], cfr[side].item()] for side in ("lower", "upper")]),
        np.quantile(raw, [(1 - level) / 2, (1 + level) / 2], axis=1),
    )


def covered(bounds: Floats, truth: Floats) -> Floats:
    """Share of the repetitions whose bounds (repetition, 2, cell) hold the truth (repetition, cell)."""
    share: Floats = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean(axis=0)
    return share


def tolerance(rate: float | Floats, n: int) -> float | Floats:
    """3.5 standard errors of a binomial share: one right cell in 2,000 is farther from its rate."""
    return 3.5 * np.sqrt(np.asarray(rate) * (1 - np.asarray(rate)) / n)


def repeat(n: int, one: Callable[[np.random.Generator, int], Repetition]) -> Repetition:
    rng = np.random.default_rng(20)
    return Repetition(*map(np.array, zip(*(one(rng, seed) for seed in range(n)), strict=True)))


@pytest.mark.parametrize(
    ("n_draws", "n_subjects", "level", "n"),
    [(400, 5, 0.8, 500), (200, 200, 0.8, 200), (400, 5, 0.95, 450)],
    ids=["few subjects", "many subjects", "at 95 %"],
)
def test_credible__covers_at_its_level(n_draws: int, n_subjects: int, level: float, n: int) -> None:
    found = repeat(n, lambda rng, seed: credible(rng, seed, n_draws, n_subjects, level))
    allowed = tolerance(level, n)
    rate = covered(found.bounds, found.truth)
    assert (abs(rate - level) <= allowed).all(), rate
    if n_subjects < 100:  # the shares themselves are spread by the binomial too
        raw = covered(found.wrong, found.truth)
        assert (abs(raw - level) > allowed).all(), raw


def one_level(n_draws: int, p: Floats) -> Callable[[np.random.Generator, int], Repetition]:
    """Profiles of one population, each drawn anew; the wrong bounds are half as wide."""
    mic = np.exp(-OMEGA * ndtri(p))

    def one(rng: np.random.Generator, seed: int) -> Repetition:
        cl = np.exp(OMEGA * rng.standard_normal((1, n_draws)))
        pta = tdmx.pta(draws(cl), *QUESTION, mic=sorted(mic), run="direct")
        assert pta.attrs["interval"] == "monte_carlo"
        bounds = np.array([pta[side].values.ravel()[::-1] for side in ("lower", "upper")])
        centre = pta["pta"].values.ravel()[::-1]
        return Repetition(p, bounds, centre + np.array([[-1.0], [1.0]]) * np.ptp(bounds, axis=0) * 0.25)

    return one


def test_monte_carlo__of_one_level_covers_as_its_formula_does() -> None:
    """The coverage of a score interval is known for each true PTA: 0.95 on average over them, not at each."""
    p, n_draws, n = np.array([0.5, 0.9, 0.98]), 300, 800
    found = repeat(n, one_level(n_draws, p))
    k = np.arange(n_draws + 1)
    lower, upper = wilson(k, n_draws, 0.95)
    holds = (lower <= p[:, None]) & (p[:, None] <= upper)
    exact = (binom.pmf(k, n_draws, p[:, None]) * holds).sum(axis=1)
    np.testing.assert_allclose(exact, 0.95, atol=0.02)
    rate = covered(found.bounds, found.truth)
    assert (abs(rate - exact) <= tolerance(exact, n)).all(), (rate, exact)
    half = covered(found.wrong, found.truth)
    assert (abs(half - exact) > tolerance(exact, n)).all(), half


@pytest.mark.parametrize("sampling", ["mcmc", "independent"])
def test_monte_carlo__of_dependent_draws_counts_the_effective_ones(sampling: str) -> None:
    """Two chains of 500 with a correlation of 0.8 from draw to draw: taken as independent, they say far too much."""
    rho, n = 0.8, 400

    def one(rng: np.random.Generator, seed: int) -> Repetition:
        eta = rng.standard_normal((2, 500))
        for i in range(1, 500):
            eta[:, i] = rho * eta[:, i - 1] + math.sqrt(1 - rho**2) * eta[:, i]
        pta = tdmx.pta(
            draws(np.exp(OMEGA * eta), sampling=sampling), *QUESTION, mic=sorted(MIC), run="direct"
        )
        bounds = np.array([pta[side].values.ravel()[::-1] for side in ("lower", "upper")])
        return Repetition(np.array(PTA), bounds, bounds)

    found = repeat(n, one)
    rate = covered(found.bounds, found.truth)
    if sampling == "mcmc":
        assert (abs(rate - 0.95) <= tolerance(0.95, n)).all(), rate
    else:
        assert (rate < 0.8).all(), rate


def test_monte_carlo__of_two_levels_is_clustered_by_draw() -> None:
    """The mean PTA over the draws of a population of populations; subjects of one draw are alike."""
    spread, n_draws, n_subjects, n = 0.4, 150, 20, 400
    truth = ndtr(Z * OMEGA / math.hypot(OMEGA, spread))

    def one(rng: np.random.Generator, seed: int) -> Repetition:
        cl = np.exp(spread * rng.standard_normal((1, n_draws)))
        pta = tdmx.pta(
            draws(cl, OMEGA), *QUESTION, mic=sorted(MIC), subjects=n_subjects, seed=seed,
            interval="monte_carlo", run="direct",
        )  # fmt: skip
        bounds = np.array([pta[side].values.ravel()[::-1] for side in ("lower", "upper")])
        pooled = wilson(pta["n_attained"].values.ravel()[::-1], n_draws * n_subjects, 0.95)
        return Repetition(truth, bounds, np.array(pooled))

    found = repeat(n, one)
    rate = covered(found.bounds, found.truth)
    assert (abs(rate - 0.95) <= tolerance(0.95, n)).all(), rate
    pooled = covered(found.wrong, found.truth)
    assert (abs(pooled - 0.95) > tolerance(0.95, n)).all(), pooled
