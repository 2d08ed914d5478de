"""Distributions of covariates: their quantiles, their bounds, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tdmx_dask.domain.distribution import Distribution
from tdmx_dask.errors import InputError

UNIFORM = (np.arange(200_000) + 0.5) / 200_000
EDGES = np.array([2.0**-54, 1e-12, 0.5, 1 - 1e-12, 1 - 2.0**-53])

SCIPY = [
    (Distribution("normal", 70, 10), stats.norm(70, 10)),
    (
        Distribution("normal", 10.33, 1.57, low=8, high=13),
        stats.truncnorm(-2.33 / 1.57, 2.67 / 1.57, 10.33, 1.57),
    ),
    (Distribution("normal", 0, 1, low=1.5), stats.truncnorm(1.5, np.inf)),
    (Distribution("normal", 0, 1, high=-1.5), stats.truncnorm(-np.inf, -1.5)),
    (Distribution("lognormal", 80, 0.3), stats.lognorm(0.3, scale=80)),
    (Distribution("uniform", low=18, high=90), stats.uniform(18, 72)),
]


class TestDistribution:
    @pytest.mark.parametrize(("distribution", "reference"), SCIPY)
    def test_quantiles_agree_with_scipy(self, distribution, reference):
        u = np.linspace(1e-6, 1 - 1e-6, 1001)
        np.testing.assert_allclose(distribution.quantile(u), reference.ppf(u), rtol=1e-9, atol=1e-9)

    def test_a_truncated_lognormal_keeps_its_shape_inside(self):
        distribution = Distribution("lognormal", 70, 0.2, low=50, high=90)
        found = distribution.quantile(UNIFORM)
        whole = stats.lognorm(0.2, scale=70)
        low, high = whole.cdf(50), whole.cdf(90)
        np.testing.assert_allclose((whole.cdf(found) - low) / (high - low), UNIFORM, atol=1e-10)

    def test_truncation_is_not_clamping(self):
        found = Distribution("normal", 10, 5, low=8, high=13).quantile(UNIFORM)
        assert ((found > 8) & (found < 13)).all()
        assert np.unique(found).size == found.size

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(["normal", "lognormal"]), st.floats(-2.5, 2.5), st.floats(0.2, 3))
    def test_values_are_ascending_and_inside(self, kind, start, width):
        low, high = 3 + start, 3 + start + width
        distribution = Distribution(kind, 3.0, 0.8, low=low, high=high)
        u = np.sort(np.concatenate([EDGES, UNIFORM[::997]]))
        found = distribution.quantile(u)
        assert (np.diff(found) >= 0).all()
        assert found[0] >= low
        assert found[-1] <= high
        assert np.isfinite(found).all()

    @pytest.mark.parametrize("low", [3.0, 4.5])
    def test_a_far_tail_is_precise(self, low):
        distribution = Distribution("normal", 0, 1, low=low, high=low + 1)
        np.testing.assert_allclose(
            distribution.quantile(np.array([0.25])), stats.truncnorm(low, low + 1).ppf(0.25), rtol=1e-7
        )
        mirrored = Distribution("normal", 0, 1, low=-low - 1, high=-low)
        np.testing.assert_allclose(
            mirrored.quantile(1 - EDGES[1:4]), -distribution.quantile(EDGES[1:4]), rtol=1e-9
        )

    def test_extreme_uniforms_are_finite(self):
        for distribution, _ in SCIPY:
            assert np.isfinite(distribution.quantile(EDGES)).all()

    def test_discrete_weights(self):
        distribution = Distribution("discrete", values=(20.0, 5.0, 7.0), weights=(0.5, 0.2, 0.3))
        found = distribution.quantile(UNIFORM)
        assert [float((found == value).mean()) for value in distribution.values] == pytest.approx(
            [0.5, 0.2, 0.3], abs=1e-5
        )
        assert Distribution("discrete", values=(4.0,), weights=(1.0,)).quantile(EDGES).tolist() == [4.0] * 5
        zero = Distribution("discrete", values=(1.0, 2.0), weights=(0.0, 1.0))
        assert set(zero.quantile(EDGES)) == {2.0}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"kind": "uniform", "low": 5, "high": 5}, r"low=5: it must be below high=5"),
            ({"kind": "uniform", "low": 5}, r"uniform=5\.\.inf: its bounds must be finite"),
            ({"kind": "normal", "location": 1, "scale": 0}, r"sd=0: the spread must be above 0"),
            ({"kind": "normal", "location": 1, "scale": math.nan}, r"the spread must be above 0"),
            ({"kind": "lognormal", "location": -1, "scale": 1}, r"the median of a lognormal must be above 0"),
            (
                {"kind": "normal", "location": 0, "scale": 1, "low": 9, "high": 10},
                r"the bounds leave almost nothing",
            ),
            (
                {"kind": "lognormal", "location": 1, "scale": 1, "high": -1},
                r"the bounds leave almost nothing",
            ),
            ({"kind": "discrete"}, r"as many weights as values"),
            ({"kind": "discrete", "values": (1.0, 2.0), "weights": (1.0,)}, r"as many weights as values"),
            (
                {"kind": "discrete", "values": (1.0, 1.0), "weights": (0.5, 0.5)},
                r"values must be finite and differ",
            ),
            ({"kind": "discrete", "values": (1.0, 2.0), "weights": (0.5, 0.6)}, r"sum to 1"),
            ({"kind": "discrete", "values": (1.0, 2.0), "weights": (1.5, -0.5)}, r"at least 0"),
        ],
    )
    def test_impossible_ones_are_refused(self, fields, message):
        with pytest.raises(InputError, match=message):
            Distribution(**fields)
