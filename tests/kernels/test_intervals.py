"""Intervals of PTA and CFR: laws, edges, and coverage of a known truth in seeded simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.intervals import (
    credible,
    wilson,
    wilson_mcse,
)

LEVEL = 0.95


def slack(n_repetitions: int, rate: float = LEVEL) -> float:
    """Four standard errors of a rate seen in so many repetitions: exceeded by chance once in 16,000."""
    return 4 * math.sqrt(rate * (1 - rate) / n_repetitions)


def simulate(
    truth: float, tau: float, n_draws: int, n_subjects: int, n_repetitions: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts (draw, repetition) and the ideal bounds (2, repetition): mu estimated with error tau, sigma = 1."""
    rng = np.random.default_rng(seed)
    centre = ndtri(truth) + tau * rng.standard_normal(n_repetitions)
    p = ndtr(centre + tau * rng.standard_normal((n_draws, n_repetitions)))
    ideal = ndtr(centre + tau * ndtri([[0.025], [0.975]]))
    return rng.binomial(n_subjects, p), ideal


# --------------------------------------------------------------------------------------- wilson


def test_wilson__solves_its_equation() -> None:
    # The bounds are the p with |observed - p| = z * sqrt(p (1 - p) / n): Wilson's definition, not his
    # formula.
    z = norm.ppf(0.975)
    for attained, n in [(1, 10), (37.5, 80.25), (970, 1000)]:
        for p in wilson(attained, n, LEVEL):
            assert abs(attained / n - p) == pytest.approx(z * math.sqrt(p * (1 - p) / n), rel=1e-12)


def test_wilson__published_value() -> None:
    # 81 of 263 patients, 95 %: 0.2553 to 0.3662 (Newcombe 1998, Stat Med 17:857, Table I, method 3).
    lower, upper = wilson(81, 263, 0.95)
    assert (round(float(lower), 4), round(float(upper), 4)) == (0.2553, 0.3662)


@given(
    n=st.floats(0.5, 1e7),
    share=st.floats(0, 1),
    level=st.floats(0.5, 0.999),
    narrower=st.floats(0.1, 0.99),
)
@settings(max_examples=60)
def test_wilson__laws(n: float, share: float, level: float, narrower: float) -> None:
    lower, upper = wilson(share * n, n, level)
    assert 0 <= lower <= share + 1e-12
    assert share - 1e-12 <= upper <= 1
    other = wilson((1 - share) * n, n, level)
    assert other[0] == pytest.approx(1 - upper, abs=1e-9)
    inner = wilson(share * n, n, level * narrower)
    assert lower - 1e-12 <= inner[0]
    assert inner[1] <= upper + 1e-12
    smaller = wilson(share * n * 0.5, n * 0.5, level)
    assert smaller[1] - smaller[0] >= upper - lower - 1e-12


def test_wilson__effective_size_apart_from_the_count() -> None:
    np.testing.assert_allclose(wilson(950, 500.0, LEVEL, n_simulated=1000), wilson(475, 500, LEVEL))


def test_wilson__edges() -> None:
    lower, upper = wilson(np.array([0, 10, 5]), np.array([10.0, 10.0, np.nan]), LEVEL)
    z2 = norm.ppf(0.975) ** 2
    np.testing.assert_allclose(lower, [0, 10 / (10 + z2), np.nan])
    np.testing.assert_allclose(upper, [z2 / (10 + z2), 1, np.nan])
    assert lower[0] == 0.0
    assert upper[1] == 1.0
    assert np.isnan(wilson(0, 0, LEVEL)[0])


def test_wilson__refuses_a_count_above_its_total() -> None:
    with pytest.raises(
        InputError, match=r"^n_attained=11: must lie within 0\.\.n_simulated\. Give the total as"
    ):
        wilson([3, 11], 10, LEVEL)
    with pytest.raises(InputError, match="n_attained=-1"):
        wilson(-1, 10, LEVEL)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_level__must_be_a_fraction(level: float) -> None:
    with pytest.raises(InputError, match=f"level={level}: must lie strictly between 0 and 1"):
        wilson(1, 2, level)
    with pytest.raises(InputError, match=r"between 0 and 1\. Give 0\.95 for a 95 % interval\.$"):
        credible(np.zeros((200, 1), dtype=np.int64), 10, level)


def test_wilson_mcse__is_wilson_at_the_size_that_explains_the_error() -> None:
    p, n = 0.3, 400.0
    np.testing.assert_allclose(
        wilson_mcse(p, math.sqrt(p * (1 - p) / n), LEVEL, n_max=1e6), wilson(p * n, n, LEVEL)
    )
    np.testing.assert_allclose(wilson_mcse(1.0, 0.0, LEVEL, n_max=50), wilson(50, 50, LEVEL))
    np.testing.assert_allclose(wilson_mcse(0.3, 1e-9, LEVEL, n_max=50), wilson(15, 50, LEVEL))
    assert np.isnan(wilson_mcse(0.5, np.nan, LEVEL, n_max=10)[0])


# ------------------------------------------------------------------------------------- credible

# (truth, tau, draws, subjects): the draws tell the spread of p from the noise, so the rate is the nominal
# one.
TOLD_APART = [
    (0.5, 0.3, 1000, 5),
    (0.5, 0.3, 1000, 10),
    (0.5, 0.3, 1000, 30),
    (0.5, 0.1, 1000, 1000),
    (0.5, 1.0, 1000, 5),
    (0.9, 1.0, 1000, 5),
    (0.9, 0.3, 1000, 10),
    (0.9, 0.3, 1000, 30),
    (0.9, 0.3, 1000, 1000),
    (0.99, 1.0, 1000, 10),
    (0.99, 0.3, 2000, 30),
    (0.99, 0.3, 1000, 1000),
    (0.9, 0.3, 100, 1000),
    (0.99, 1.0, 100, 1000),
]
# Few draws of few subjects: the spread is below what can be seen; never less than nominal, so wider.
NOT_TOLD_APART = [
    (0.5, 0.1, 100, 5),
    (0.9, 0.1, 1000, 5),
    (0.99, 0.3, 1000, 5),
    (0.99, 0.3, 100, 2),
    (0.99, 0.1, 100, 2),
    (0.99, 1.0, 100, 5),
    (0.99, 0.1, 1000, 30),
]


@pytest.mark.parametrize(("truth", "tau", "n_draws", "n_subjects"), TOLD_APART)
def test_credible__covers_at_its_nominal_rate(
    truth: float, tau: float, n_draws: int, n_subjects: int
) -> None:
    n = 1000
    counts, ideal = simulate(truth, tau, n_draws, n_subjects, n, seed=n_subjects)
    lower, upper, reason = credible(counts, n_subjects, LEVEL)
    assert reason == ""
    rate = np.mean((lower <= truth) & (truth <= upper))
    assert abs(rate - LEVEL) <= slack(n)
    assert np.mean(truth < lower) <= 0.025 + slack(n, 0.025)
    assert np.mean(truth > upper) <= 0.025 + slack(n, 0.025)
    # As narrow as if each draw's p were known exactly (10 % for what has to be estimated).
    assert np.median((upper - lower) / (ideal[1] - ideal[0])) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("truth", "tau", "n_draws", "n_subjects"), NOT_TOLD_APART)
def test_credible__covers_at_least_where_little_is_known(
    truth: float, tau: float, n_draws: int, n_subjects: int
) -> None:
    n = 1000
    counts, _ = simulate(truth, tau, n_draws, n_subjects, n, seed=7)
    lower, upper, _ = credible(counts, n_subjects, LEVEL)
    assert np.mean((lower <= truth) & (truth <= upper)) >= LEVEL - slack(n)


def test_credible__raw_quantiles_would_be_far_too_wide() -> None:
    # What the noise removal is for: with 5 subjects the raw interval is about twice the right one.
    counts, ideal = simulate(0.5, 0.3, 2000, 5, 50, seed=3)
    lower, upper, _ = credible(counts, 5, LEVEL)
    raw = np.quantile(counts / 5, [0.025, 0.975], axis=0)
    ratio = np.median((raw[1] - raw[0]) / (ideal[1] - ideal[0]))
    assert ratio > 1.8
    assert np.median(upper - lower) < 0.6 * np.median(raw[1] - raw[0])


def test_credible__honours_two_modes_with_many_subjects() -> None:
    rng = np.random.default_rng(5)
    p = np.where(rng.random((4000, 20)) < 0.6, 0.15, 0.93)
    lower, upper, _ = credible(rng.binomial(1000, p), 1000, LEVEL)
    assert np.all(np.abs(lower - 0.15) < 0.03)
    assert np.all(np.abs(upper - 0.93) < 0.03)


@given(seed=st.integers(0, 2**32 - 1), n_subjects=st.sampled_from([2, 5, 30, 200, 1000]))
@settings(max_examples=25, deadline=None)
def test_credible__laws(seed: int, n_subjects: int) -> None:
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(-1, 1, 30))
    p = ndtr(rng.normal(0, 1.5, 30) + spread * rng.standard_normal((150, 30)))
    p[:, ::3] = np.where(rng.random((150, 10)) < 0.4, 0.1 * p[:, ::3], p[:, ::3])
    counts = rng.binomial(n_subjects, p)
    lower, upper, _ = credible(counts, n_subjects, 0.9)
    mean = counts.mean(axis=0) / n_subjects
    assert np.all((lower >= 0) & (lower <= mean) & (mean <= upper) & (upper <= 1))
    narrow = credible(counts, n_subjects, 0.7)
    assert np.all(lower <= narrow.lower + 1e-12)
    assert np.all(narrow.upper <= upper + 1e-12)
    mirrored = credible(n_subjects - counts, n_subjects, 0.9)
    np.testing.assert_allclose(mirrored.lower, 1 - upper, atol=1e-9)
    shuffled = credible(counts[rng.permutation(150)], n_subjects, 0.9)
    np.testing.assert_allclose(shuffled.upper, upper, rtol=1e-9)
    alone = credible(counts[:, 4], n_subjects, 0.9)
    assert alone.lower.shape == ()
    np.testing.assert_allclose(alone.lower, lower[4], rtol=1e-9, atol=1e-15)


def test_credible__degenerate_cells_are_finite_and_sane() -> None:
    counts = np.zeros((200, 5), dtype=np.int64)
    counts[:, 1] = 10  # all attained
    counts[:, 2] = 4  # the same count in each draw: less spread than chance alone gives
    counts[:, 3] = np.where(np.arange(200) % 2, 10, 0)  # all or none: nothing but spread
    counts[0, 4] = 1  # one patient of 2,000
    lower, upper, _ = credible(counts, 10, LEVEL)
    assert np.all(np.isfinite(lower) & np.isfinite(upper))
    assert lower[0] == 0.0
    assert 0 < upper[0] < 0.02
    assert upper[1] == 1.0
    assert 0.98 < lower[1] < 1
    assert 0.3 < lower[2] < 0.4 < upper[2] < 0.5
    assert lower[3] < 0.001
    assert upper[3] > 0.999
    assert 0 <= lower[4] < 1 / 2000 < upper[4] < 0.05
    many = credible(np.full((4000, 1), 1000), 1000, LEVEL)
    assert 1 - 1e-4 < many.lower[0] < many.upper[0] == 1.0


def test_credible__zero_spread_shrinks_to_the_mean() -> None:
    # Every draw has the same p: the more draws, the nearer both bounds come to it.
    rng = np.random.default_rng(11)
    widths = []
    for n_draws in (100, 1000, 10000):
        lower, upper, _ = credible(rng.binomial(10, 0.7, (n_draws, 40)), 10, LEVEL)
        widths.append(float(np.median(upper - lower)))
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.12  # the raw quantiles stay near 0.6


@pytest.mark.parametrize(
    ("n_draws", "n_subjects", "level", "reason"),
    [
        (99, 10, 0.95, "99 draws: a 95 % credible interval needs at least 100"),
        (499, 10, 0.99, "499 draws: a 99 % credible interval needs at least 500"),
        (1000, 1, 0.95, "1 subject per draw: draws and subjects cannot be told apart; give at least 2"),
    ],
)
def test_credible__says_why_it_refuses(n_draws: int, n_subjects: int, level: float, reason: str) -> None:
    result = credible(np.ones((n_draws, 2, 3), dtype=np.int64), n_subjects, level)
    assert result.reason == reason
    assert result.lower.shape == result.upper.shape == (2, 3)
    assert np.all(np.isnan(result.lower) & np.isnan(result.upper))


def test_credible__just_enough_draws() -> None:
    counts = np.random.default_rng(1).integers(0, 10, (100, 2))
    assert credible(counts, 10, 0.95).reason == ""
    assert credible(counts, 10, 0.951).reason != ""


def test_credible__shapes_and_no_cells() -> None:
    counts = np.random.default_rng(2).binomial(20, 0.4, (300, 2, 1, 4))
    whole = credible(counts, 20, LEVEL)
    assert whole.lower.shape == (2, 1, 4)
    np.testing.assert_allclose(whole.upper[1, 0, 2], credible(counts[:, 1, 0, 2], 20, LEVEL).upper, rtol=1e-9)
    assert credible(counts[:, :, :0], 20, LEVEL).lower.shape == (2, 0, 4)


def test_credible__same_for_any_number_of_cells_at_once() -> None:
    counts = np.random.default_rng(2).binomial(20, 0.4, (2000, 150))  # more than one block
    whole = credible(counts, 20, LEVEL)
    for cell in (0, 65, 149):
        np.testing.assert_allclose(credible(counts[:, cell], 20, LEVEL).lower, whole.lower[cell], rtol=1e-12)
