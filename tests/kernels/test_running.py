"""R-hat and ESS from summaries of chains, against the same figures from all of their draws."""

from __future__ import annotations

import numpy as np
import pytest

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.convergence import rhat
from tdmx_dask.kernels.ess import ess_mean
from tdmx_dask.kernels.running import LAGS, combined, packed, summary, unpacked


def chains(correlation: float, n_draws: int, *, apart: float = 0.0, n_chains: int = 4) -> np.ndarray:
    """Autoregressive chains (chain, draw, cell)."""
    random = np.random.default_rng(7)
    x = random.normal(size=(n_chains, n_draws, 3))
    for t in range(1, n_draws):
        x[:, t] += correlation * x[:, t - 1]
    return x + apart * np.arange(n_chains)[:, None, None] + 1000.0


@pytest.mark.parametrize("n_draws", [40, 251, 2000])
@pytest.mark.parametrize("correlation", [-0.4, 0.0, 0.5, 0.8])
def test_combined__ess_is_that_of_all_draws(correlation: float, n_draws: int) -> None:
    x = chains(correlation, n_draws)
    found = combined([summary(each) for each in x])
    known = ~found.bounded
    assert known.sum() >= (
        3 if correlation < 0.8 or n_draws != 251 else 2
    )  # with halves of 125 draws, some die out late
    assert found.ess[known] == pytest.approx(ess_mean(x)[known], rel=1e-9)


def test_combined__rhat_is_near_that_by_ranks() -> None:
    together, apart = chains(0.3, 1000), chains(0.3, 1000, apart=1.0)
    assert combined([summary(each) for each in together]).rhat == pytest.approx(rhat(together), abs=0.005)
    assert combined([summary(each) for each in apart]).rhat == pytest.approx(rhat(apart), rel=0.05)
    assert combined([summary(each) for each in apart]).rhat.min() > 1.2


@pytest.mark.parametrize("x", [chains(0.999, 4000), chains(0.2, 4000, apart=5.0)])
def test_combined__slow_or_stuck_chains_have_an_upper_bound(x: np.ndarray) -> None:
    found = combined([summary(each) for each in x])
    assert found.bounded.all()
    assert (found.ess >= ess_mean(x)).all()
    assert (found.ess < 0.05 * x.shape[0] * x.shape[1]).all()


def test_combined__chains_of_several_lengths() -> None:
    x = chains(0.5, 1000)
    found = combined([summary(x[0]), summary(x[1]), summary(x[2]), summary(x[3][:750])])
    assert found.ess == pytest.approx(0.94 * ess_mean(x), rel=0.15)


def test_combined__a_chain_that_has_just_begun_changes_little() -> None:
    x = chains(0.5, 1000)
    whole = combined([summary(each) for each in x[:3]])
    found = combined([*(summary(each) for each in x[:3]), summary(x[3][:20])])
    assert found.ess == pytest.approx(whole.ess, rel=0.1)
    assert found.rhat == pytest.approx(whole.rhat, abs=0.01)
    assert not found.bounded.any()


def test_combined__a_slow_chain_is_not_hidden_by_a_short_one() -> None:
    x = chains(0.995, 4000, n_chains=2)
    found = combined([summary(x[0][:100]), summary(x[1])])
    assert found.bounded.all()
    assert (found.ess >= ess_mean(x[1:])).all()


def test_combined__a_chain_in_parts_is_the_chain() -> None:
    x = chains(0.5, 1200)
    found = combined([summary(part) for each in x for part in (each[:400], each[400:])])
    assert found.ess == pytest.approx(ess_mean(x), rel=0.05)
    assert found.rhat == pytest.approx(rhat(x), abs=0.02)


def test_combined__what_is_stuck_or_not_finite_has_not_mixed() -> None:
    x = chains(0.0, 100)
    x[..., 0] = np.arange(4)[:, None]
    x[2, 5, 1] = np.nan
    found = combined([unpacked(packed(summary(each))) for each in x])
    assert np.isinf(found.rhat).tolist() == [True, True, False]
    assert np.isnan(found.ess).tolist() == [False, True, False]
    assert found.ess[0] < 10
    x[..., 0], x[..., 1] = 3.0, 1e200 * x[..., 2]
    x[1, 3, 2] = np.inf
    found = combined([unpacked(packed(summary(each))) for each in x])
    assert np.isnan(found.rhat).tolist() == [True, False, False]  # the same in all chains: nothing to compare
    assert np.isinf(found.rhat[1:]).all()


def test_packed__there_and_back() -> None:
    whole = summary(chains(0.7, 3000)[0])
    text = packed(whole)
    again = unpacked(text)
    assert len(text) < 3 * LAGS * 6 + 200
    assert again.n == whole.n == 1500
    assert np.array_equal(again.means, whole.means)
    assert again.covariance == pytest.approx(whole.covariance, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["", "x", "AAAA", "<script>", packed(summary(chains(0.0, 50)[0]))[:-8], None]
)
def test_unpacked__refuses_what_is_none(text: str) -> None:
    with pytest.raises(InputError, match="no summary of a chain"):
        unpacked(text)


def test_summary__refuses_too_few_draws() -> None:
    with pytest.raises(InputError, match="8 draws"):
        summary(np.zeros((7, 2)))
    with pytest.raises(InputError, match="the same cells"):
        combined([])
