"""Intervals of CFR, and the Monte-Carlo error of pooled results: coverage, laws, and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.intervals import (
    clustered,
    credible,
    credible_weighted,
    two_level_mcse,
    two_level_mcse_weighted,
    wilson,
)
from tests.kernels.test_intervals import LEVEL, slack

MIC = 2.0 ** np.arange(-3, 6)
WEIGHT = np.array([0.02, 0.05, 0.1, 0.2, 0.25, 0.2, 0.1, 0.05, 0.03])


def simulate_nested(
    n_draws: int, n_subjects: int, n_repetitions: int, *, weight: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.int64], float]:
    """Counts (draw, repetition, mic) of log critical MICs normal(mu_d, 0.5), and the true CFR."""
    rng = np.random.default_rng(seed)
    mu, tau, sigma = 1.5, 0.15, 0.5
    centre = mu + tau * rng.standard_normal(n_repetitions)
    draws = centre + tau * rng.standard_normal((n_draws, n_repetitions))
    critical = draws[..., None] + sigma * rng.standard_normal((n_draws, n_repetitions, n_subjects))
    counts = (critical[..., None, :] >= np.log(MIC)[:, None]).sum(axis=-1)
    return counts, float(weight @ ndtr((mu - np.log(MIC)) / sigma))


@pytest.mark.parametrize(("n_subjects", "above"), [(5, 0.0), (20, 0.0), (20, 0.15)])
def test_credible_weighted__covers_a_true_cfr(n_subjects: int, above: float) -> None:
    n, weight = 400, WEIGHT * (1 - above)
    counts, truth = simulate_nested(400, n_subjects, n, weight=weight, seed=n_subjects)
    lower, upper, _ = credible_weighted(counts, weight, n_subjects, LEVEL)
    assert abs(np.mean((lower <= truth) & (truth <= upper)) - LEVEL) <= slack(n)
    assert upper.max() <= weight.sum() + 1e-12


def test_credible_weighted__one_mic_is_pta() -> None:
    counts = np.random.default_rng(8).binomial(12, 0.8, (300, 3, 4))
    only = np.array([0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(
        credible_weighted(counts, only, 12, LEVEL)[0], credible(counts[..., 1], 12, LEVEL)[0], rtol=1e-9
    )


def test_credible_weighted__no_weight_at_all() -> None:
    counts = np.random.default_rng(8).binomial(12, 0.8, (300, 4))
    lower, upper, _ = credible_weighted(counts, np.zeros(4), 12, LEVEL)
    assert (lower, upper) == (0.0, 0.0)


def test_credible_weighted__refuses_wrong_weights() -> None:
    counts = np.ones((200, 3), dtype=np.int64)
    with pytest.raises(InputError, match=r"weight=array of shape \(2,\): needs one weight per MIC, 3"):
        credible_weighted(counts, [0.5, 0.5], 5, LEVEL)
    with pytest.raises(InputError, match="weights are at least 0 and sum to at most 1"):
        two_level_mcse_weighted(counts, [0.5, -0.1, 0.6], 5)
    with pytest.raises(
        InputError, match=r"^weight=\[0\.5, 0\.5, 0\.5\]: weights are at least 0 and sum to at most 1"
    ):
        credible_weighted(counts, [0.5, 0.5, 0.5], 5, LEVEL)
    two_level_mcse_weighted(counts, [0.2, 0.3, 0.5], 5)  # a sum of exactly 1 is right


# ----------------------------------------------------------------------------------- Monte-Carlo error


def test_two_level_mcse__by_hand() -> None:
    # Shares 0.25, 0.5, 1 of 4 subjects: sqrt(0.1875 / 3 + 0.25 / 3 + 0) / 3.
    expected = math.sqrt(0.1875 / 3 + 0.25 / 3) / 3
    assert two_level_mcse(np.array([1, 2, 4]), 4) == pytest.approx(expected, rel=1e-12)
    assert two_level_mcse(np.array([1, 2, 0]), 2) == pytest.approx(0.5 / 3, rel=1e-12)
    assert np.isnan(two_level_mcse(np.array([[1], [0]]), 1)).all()
    assert two_level_mcse(np.zeros((5, 2, 0), dtype=np.int64), 4).shape == (2, 0)


def test_two_level_mcse__is_the_spread_of_repetitions() -> None:
    rng = np.random.default_rng(21)
    p = ndtr(0.8 + 0.5 * rng.standard_normal((200, 1)))
    counts = rng.binomial(6, np.broadcast_to(p, (200, 4000)))
    seen = (counts.mean(axis=0) / 6).std(ddof=1)
    # The SD of 4,000 repetitions is known to 1 / sqrt(8000), the root mean square of the estimates far
    # better.
    rms = math.sqrt(np.mean(two_level_mcse(counts, 6) ** 2))
    assert rms == pytest.approx(seen, rel=4 / math.sqrt(8000))
    assert rms == pytest.approx(math.sqrt((p * (1 - p)).sum() / 6) / 200, rel=0.005)


def test_two_level_mcse_weighted__is_the_spread_of_repetitions() -> None:
    rng = np.random.default_rng(22)
    mu = 1 + 0.3 * rng.standard_normal((50, 1, 1))
    critical = mu + 0.6 * rng.standard_normal((50, 3000, 4))
    counts = (critical[..., None, :] >= np.log(MIC)[:, None]).sum(axis=-1)
    seen = (counts @ WEIGHT / 4).mean(axis=0).std(ddof=1)
    rms = math.sqrt(np.mean(two_level_mcse_weighted(counts, WEIGHT, 4) ** 2))
    assert rms == pytest.approx(seen, rel=4 / math.sqrt(6000))


def test_clustered__covers_the_mean_over_draws() -> None:
    # The PTA that infinitely many draws would give: E ndtr(z) = ndtr(mu / sqrt(1 + tau**2)).
    rng = np.random.default_rng(31)
    n, n_draws = 1000, 200
    counts = rng.binomial(30, ndtr(1 + 0.5 * rng.standard_normal((n_draws, n))))
    truth = float(ndtr(1 / math.sqrt(1.25)))
    lower, upper = clustered(counts, 30, LEVEL, n_draws)
    assert abs(np.mean((lower <= truth) & (truth <= upper)) - LEVEL) <= slack(n)
    naive = wilson(counts.sum(axis=0), n_draws * 30, LEVEL)  # as if 6,000 patients were independent
    assert np.mean((naive[0] <= truth) & (truth <= naive[1])) < 0.8


def test_clustered__grows_as_effective_draws_fall() -> None:
    counts = np.random.default_rng(32).binomial(10, 0.6, (400, 3))
    many = clustered(counts, 10, LEVEL, np.array([400.0, 400.0, np.nan]))
    few = clustered(counts, 10, LEVEL, 40.0)
    assert np.all(few[1][:2] - few[0][:2] > 2.5 * (many[1] - many[0])[:2])
    assert np.isnan(many[0][2])


def test_clustered__by_hand() -> None:
    # Shares 0.25, 0.5, 0.75: variance 0.0625; at 2 effective draws the squared standard error is 0.03125, and the
    # sample size with that binomial variance 0.25 / 0.03125 = 8. All attained: at most 2 draws of 8 subjects.
    counts = np.array([[2, 8], [4, 8], [6, 8]])
    lower, upper = clustered(counts.reshape(3, 2, 1), 8, LEVEL, 2)
    assert lower.shape == upper.shape == (2, 1)
    np.testing.assert_allclose([lower[0, 0], upper[0, 0]], wilson(4, 8, LEVEL), rtol=1e-12)
    np.testing.assert_allclose([lower[1, 0], upper[1, 0]], wilson(16, 16, LEVEL), rtol=1e-12)
    two = clustered(counts[:2], 8, LEVEL, 2)  # shares 0.25, 0.5: 0.234375 / 0.015625
    np.testing.assert_allclose([two[0][0], two[1][0]], wilson(0.375 * 15, 15, LEVEL), rtol=1e-12)
    assert np.isnan(clustered(counts[:1], 8, LEVEL, 1)).all()


def test_clustered__same_for_any_number_of_cells_at_once() -> None:
    counts = np.random.default_rng(34).binomial(8, np.linspace(0.1, 0.9, 150), (2000, 150))
    whole = clustered(counts, 8, LEVEL, 2000.0)
    for cell in (0, 64, 65, 149):
        alone = clustered(counts[:, cell], 8, LEVEL, 2000.0)
        np.testing.assert_allclose([whole[0][cell], whole[1][cell]], alone, rtol=1e-12)
    errors = two_level_mcse(counts, 8)
    np.testing.assert_allclose(errors[[3, 70]], [float(two_level_mcse(counts[:, c], 8)) for c in (3, 70)])


def test_clustered__one_subject_is_wilson() -> None:
    counts = np.random.default_rng(33).binomial(1, 0.3, (500, 2))
    bounds = clustered(counts, 1, LEVEL, 500)
    np.testing.assert_allclose(bounds, wilson(counts.sum(axis=0), 500, LEVEL), rtol=3e-3)
    whole = clustered(np.full((20, 1), 4), 4, LEVEL, 20)
    np.testing.assert_allclose(whole, wilson([80], 80, LEVEL))
