"""Importance of approximations: known tails first."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm, t

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.importance import importance, largest_khat


def gaussian(sd: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws of N(0, sd) as an approximation of N(0, 1), with both log densities."""
    x = np.random.default_rng(1).normal(0, sd, n)
    return x, norm.logpdf(x), norm.logpdf(x, scale=sd)


def test_importance__the_target_itself_is_good() -> None:
    _, target, _ = gaussian(1.0)
    found = importance(target, target + 7.0)  # constants do not matter
    assert found.verdict == "good"
    np.testing.assert_allclose(found.log_weights, -np.log(4000))


def test_importance__wider_is_good_and_narrower_is_not() -> None:
    assert importance(*gaussian(1.3)[1:]).verdict == "good"
    narrow = importance(*gaussian(0.3)[1:])
    assert narrow.verdict == "distrust"
    assert "Do not dose by it" in narrow.text


def test_importance__khat_grows_as_the_approximation_narrows() -> None:
    # The ratios of N(0, 1) to N(0, s) have a tail of shape 1 - s^2.
    found = [importance(*gaussian(sd, 40_000)[1:]).khat for sd in (0.9, 0.7, 0.5)]
    assert found == sorted(found)
    np.testing.assert_allclose(found, [1 - sd**2 for sd in (0.9, 0.7, 0.5)], atol=0.1)


def test_importance__weights_mend_the_moments() -> None:
    x, target, approximation = gaussian(1.5)
    found = importance(target, approximation)
    assert logsumexp(found.log_weights) == pytest.approx(0.0, abs=1e-10)
    assert np.exp(found.log_weights) @ x**2 == pytest.approx(1.0, abs=0.08)


def test_importance__equals_arviz() -> None:
    from arviz_stats.base.array import array_stats

    _, target, approximation = gaussian(0.6)
    weights, khat = array_stats.psislw(approximation - target)  # it takes log likelihoods: the inverse ratio
    found = importance(target, approximation)
    assert found.khat == pytest.approx(float(khat), rel=1e-9)
    np.testing.assert_allclose(found.log_weights, weights, rtol=1e-9)


def test_importance__heavy_target_is_distrusted() -> None:
    x = np.random.default_rng(1).normal(size=4000)
    assert importance(t.logpdf(x, 1), norm.logpdf(x)).khat > 0.5


def test_importance__a_density_that_is_not_finite_is_distrusted() -> None:
    _, target, approximation = gaussian(1.3)
    target[5] = -np.inf
    found = importance(target, approximation)
    assert (found.khat, found.verdict) == (np.inf, "distrust")


def test_largest_khat__few_draws_bear_less() -> None:
    assert largest_khat(100) == pytest.approx(0.5)
    assert largest_khat(10**6) == 0.7


@pytest.mark.parametrize(("a", "b"), [((10,), (10,)), ((100,), (99,)), ((4, 100), (4, 100))])
def test_importance__refuses_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="one log density a draw each, 25 draws or more"):
        importance(np.zeros(a), np.zeros(b))
