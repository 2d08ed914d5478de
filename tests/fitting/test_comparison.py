"""Comparison of models: exact leave-one-out of a conjugate case, then order, warnings and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import norm

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.comparison import compare

Floats = NDArray[np.float64]
Y = np.random.default_rng(9).normal(0.3, 1.0, 20)


def tree(y: Floats = Y, *, offset: float = 0.0, seed: int = 1, observed: Floats | None = None) -> xr.DataTree:
    """Posterior of a normal mean (flat prior, SD 1) with its log likelihood; `offset` misses the mean by as much."""
    mu = np.random.default_rng(seed).normal(y.mean(), 1 / np.sqrt(len(y)), (4, 1000)) + offset
    groups = {
        "posterior": xr.Dataset({"mu": (("chain", "draw"), mu)}),
        "log_likelihood": xr.Dataset(
            {"level": (("chain", "draw", "observation"), norm.logpdf(y, mu[..., None], 1.0))}
        ),
        "constant_data": xr.Dataset({"level": (("observation",), y if observed is None else observed)}),
    }
    return xr.DataTree.from_dict(groups)


def test_compare__elpd_is_that_of_leaving_out() -> None:
    # Flat prior: without y_i the mean is N(mean of the rest, 1 / (n - 1)), so the level is N(that, 1 + 1 / (n - 1)).
    n = len(Y)
    rest = (Y.sum() - Y) / (n - 1)
    exact = norm.logpdf(Y, rest, np.sqrt(1 + 1 / (n - 1))).sum()
    found = compare({"a": tree(), "b": tree(offset=2.0)})
    assert found.table.loc["a", "elpd_loo"] == pytest.approx(exact, abs=0.1)
    assert found.table.loc["a", "p_loo"] == pytest.approx(1.0, abs=0.4)
    assert found.loo["a"].elpd_i.shape == (n,)


def test_compare__better_model_first_whatever_the_order() -> None:
    good, bad = tree(), tree(offset=2.0)
    for fits in ({"good": good, "bad": bad}, {"bad": bad, "good": good}):
        found = compare(fits)
        assert list(found.table.index) == ["good", "bad"]
        assert found.table["weight"].sum() == pytest.approx(1.0)
        assert found.table.loc["bad", "elpd_diff"] > 4
        assert set(found.table.columns) >= {"rank", "elpd_loo", "se", "p_loo", "dse", "worst_k", "n_levels"}
        assert not any("cannot be told" in line for line in found.warnings)
        assert "good" in str(found)


def test_compare__models_alike_are_not_ranked() -> None:
    found = compare({"a": tree(seed=1), "b": tree(seed=2)})
    assert len(found.warnings) == 1
    assert "cannot be told from" in found.warnings[0]
    assert "simpler" in found.warnings[0]


def test_compare__influential_and_few_levels_are_warned_about() -> None:
    few = np.array([0.0, 0.1, -0.1, 30.0])
    found = compare({"a": tree(few), "b": tree(few, offset=3.0)})
    assert any("levels change the posterior so much" in line for line in found.warnings)
    assert any("4 levels are few" in line for line in found.warnings)
    assert found.table["worst_k"].max() > 0.7


def test_compare__refuses_what_does_not_compare() -> None:
    with pytest.raises(InputError, match="a comparison takes two models or more"):
        compare({"a": tree()})
    with pytest.raises(InputError, match=r"fits\[b\]=no log_likelihood: each fit has the log likelihood"):
        compare({"a": tree(), "b": xr.DataTree.from_dict({"posterior": tree()["posterior"].to_dataset()})})
    with pytest.raises(
        InputError, match=r"fits\[b\]=19 levels: models are compared on the same levels; a has 20"
    ):
        compare({"a": tree(), "b": tree(Y[:-1])})
    with pytest.raises(InputError, match=r"fits\[b\]=other levels"):
        compare({"a": tree(), "b": tree(observed=Y + 1)})
    with pytest.raises(InputError, match="method=waic: it is stacking"):
        compare({"a": tree(), "b": tree()}, method="waic")
    with pytest.raises(InputError, match="var_name=y: one variable"):
        compare({"a": tree(), "b": tree()}, var_name="y")
