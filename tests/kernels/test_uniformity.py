"""Uniform numbers keep the band as often as it says; numbers that are not, leave it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tdmx_dask.kernels.uniformity import (
    chi_square,
    ecdf_band,
    ecdf_counts,
    ecdf_p,
    evaluation_points,
    normalised_rank,
)


@pytest.mark.parametrize("n", [15, 100, 400])
def test_band__is_kept_as_often_as_it_says(n):
    points = evaluation_points(n)
    lowest, highest = ecdf_band(n, points, 0.9)
    samples = np.random.default_rng(n).random((4000, n))
    counts = np.array([ecdf_counts(sample, points) for sample in samples])
    kept = ((counts >= lowest) & (counts <= highest)).all(axis=1).mean()
    assert kept == pytest.approx(0.9, abs=0.02)


def test_p__is_uniform_at_most_under_the_null():
    samples = np.random.default_rng(3).random((1500, 60))
    p = np.array([ecdf_p(sample) for sample in samples])
    for level in (0.01, 0.05, 0.25, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=3.5 * np.sqrt(level / 1500))


def test_p__says_what_the_band_says():
    points = evaluation_points(80)
    lowest, highest = ecdf_band(80, points, 0.95)
    for sample in np.random.default_rng(4).random((400, 80)) ** 1.15:
        counts = ecdf_counts(sample, points)
        inside = bool(((counts >= lowest) & (counts <= highest)).all())
        assert inside == (ecdf_p(sample) > 0.05)


def test_band__one_point_is_the_binomial():
    lowest, highest = ecdf_band(10, np.array([0.5]), 0.95)
    assert (lowest[0], highest[0]) == stats.binom.interval(0.95, 10, 0.5)


def test_chi_square__is_scipys():
    sample = np.random.default_rng(5).random(200)
    counts = np.histogram(sample, 10, (0, 1))[0]
    assert chi_square(sample, 10) == pytest.approx(tuple(stats.chisquare(counts)), rel=1e-12)


def test_normalised_rank__counts_what_is_below():
    draws = np.array([1.0, 2.0, 3.0])
    assert normalised_rank(2.5, draws, 0.5) == pytest.approx(2.5 / 4)
    assert normalised_rank(0.0, draws, 0.0) == 0.0
    assert normalised_rank(9.0, draws, 1.0) == 1.0
    assert normalised_rank(2.0, np.full(3, 2.0), 0.5) == pytest.approx(0.5)  # nothing is known: anywhere


def _gaussian(n_fits: int, n_draws: int, *, wider: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Ranks in the conjugate case: theta ~ N(0, 1), y ~ N(theta, 1), so theta given y ~ N(y/2, 1/2)."""
    rng = np.random.default_rng(6)
    ranks = []
    for _ in range(n_fits):
        theta = rng.normal()
        centre, scale = (theta + rng.normal()) / 2, np.sqrt(0.5)
        draws = rng.normal(centre + shift * scale, wider * scale, n_draws)
        ranks.append(normalised_rank(theta, draws, rng.random()))
    return np.array(ranks)


def test_ranks__a_right_posterior_passes():
    ranks = _gaussian(200, 99)
    assert ecdf_p(ranks) > 0.05
    assert chi_square(ranks, 20)[1] > 0.05


@pytest.mark.parametrize("wrong", [{"wider": 1.5}, {"wider": 0.66}, {"shift": 0.5}, {"shift": -0.5}])
def test_ranks__a_wrong_posterior_fails(wrong):
    ranks = _gaussian(200, 99, **wrong)
    assert ecdf_p(ranks) < 1e-3
    assert chi_square(ranks, 20)[1] < 0.01
