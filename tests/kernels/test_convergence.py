"""Convergence of chains: laws first, then ArviZ's own figures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from tdmx_dask.errors import InputError
from tdmx_dask.kernels.convergence import (
    convergence,
    ebfmi,
    ess_bulk,
    ess_tail,
    mcse_mean,
    mcse_sd,
    rhat,
    rhat_rounds,
)

Floats = NDArray[np.float64]
SHAPES = [(4, 1000, 6), (3, 28, 5), (2, 9, 5), (4, 101, 3), (2, 47, 3), (4, 5, 3), (4, 4, 3)]


def normals(shape: tuple[int, ...], seed: int = 1) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def autoregressive(rho: float, shape: tuple[int, int, int]) -> Floats:
    return np.asarray(lfilter([1.0], [1.0, -rho], normals(shape), axis=1))


def series(kind: str, shape: tuple[int, int, int]) -> Floats:
    """Draws (chain, draw, cell) of a kind that an estimator may stumble over."""
    x = normals(shape)
    match kind:
        case "independent":
            return x
        case "autocorrelated":
            return autoregressive(0.9, shape)
        case "antithetic":
            return autoregressive(-0.7, shape)
        case "walk":
            return np.cumsum(x, axis=1)
        case "apart":  # chains that never meet: every lag counts
            return x + 10 * np.arange(shape[0])[:, None, None]
        case "tied":
            return np.round(x, 1)
        case "boolean":
            return (x > 0).astype(float)
        case "infinite":
            x[0, 2, 0] = np.inf
            return x
        case _:  # a missing value, a constant, a constant chain
            x[0, 2, 0] = np.nan
            x[:, :, 1] = 3.25
            x[1:, :, 2] = 1.0
            return x


KINDS = [
    "independent",
    "autocorrelated",
    "antithetic",
    "walk",
    "apart",
    "tied",
    "boolean",
    "infinite",
    "broken",
]


# --- laws


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), power=st.integers(-20, 20), shift=st.integers(-100, 100))
def test_convergence__knows_no_place_and_no_scale(seed: int, power: int, shift: int) -> None:
    x = np.round(np.random.default_rng(seed).standard_normal((4, 60, 2)) * 1024)  # exact when shifted
    np.testing.assert_allclose(convergence((x + shift) * 2.0**power), convergence(x), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)))
def test_convergence__order_of_chains_changes_nothing(order: list[int]) -> None:
    x = autoregressive(0.8, (4, 90, 3))
    np.testing.assert_allclose(convergence(x[order]), convergence(x), rtol=1e-10)


def test_convergence__monotone_transform_changes_ranks_nowhere() -> None:
    # Bulk ESS and the R-hat of the draws are of ranks alone (Vehtari 2021).
    x = autoregressive(0.5, (4, 200, 3))
    np.testing.assert_array_equal(ess_bulk(np.exp(x)), ess_bulk(x))


def test_convergence__a_cell_depends_on_itself_alone() -> None:
    x = autoregressive(0.7, (4, 1001, 70))
    x[:, :, 30] = np.round(x[:, :, 30], 1)
    whole = convergence(x)
    for cell in (0, 29, 30, 69):
        np.testing.assert_array_equal(np.array(convergence(x[:, :, [cell]]))[:, 0], np.array(whole)[:, cell])


def test_convergence__parts_are_the_whole() -> None:
    x = autoregressive(0.7, (3, 101, 5))
    both = convergence(x)
    for part, value in zip((rhat, ess_bulk, ess_tail), both, strict=True):
        np.testing.assert_array_equal(part(x), value)
    assert rhat(x.reshape(3, 101, 5, 1)).shape == (5, 1)


def test_convergence__sees_chains_that_differ_in_place_or_in_spread() -> None:
    x = normals((4, 1000, 3))
    x[0, :, 1] += 0.5
    x[0, :, 2] *= 2.0  # same median: only the folded draws tell
    found = rhat(x)
    assert found[0] < 1.01 < found[1]
    assert found[2] > 1.01


def test_rhat__one_chain_is_judged_by_its_halves() -> None:
    drifting = np.linspace(0, 3, 400)[None, :, None] + normals((1, 400, 1))
    assert rhat(drifting)[0] > 1.3
    assert rhat(normals((1, 400, 1)))[0] < 1.02


def test_rhat_rounds__finds_the_round_that_differs() -> None:
    x = normals((4, 1000, 2))
    x[:, :250, 1] += 1.0
    same, moved = rhat_rounds(x, (250, 500, 1000))
    assert same < 1.01
    assert moved > 1.05
    np.testing.assert_allclose(rhat_rounds(x[::-1], (250, 500, 1000)), [same, moved], rtol=1e-12)
    np.testing.assert_array_equal(rhat_rounds(x, (1000,)), [1.0, 1.0])


def test_rhat_rounds__chains_that_differ_do_not_make_rounds_differ() -> None:
    x = normals((4, 1000, 1)) + 3 * np.arange(4)[:, None, None]
    assert rhat(x)[0] > 1.5
    assert rhat_rounds(x, (500, 1000))[0] < 1.01


@pytest.mark.parametrize("ends", [(), (50,), (60, 50, 100), (99, 100)])
def test_rhat_rounds__refuses_ends_that_do_not_rise(ends: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ends of rounds rise to the number of draws, 100, by 2 or more"):
        rhat_rounds(normals((2, 100, 1)), ends)


# --- ArviZ


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_convergence__equals_arviz(kind: str, shape: tuple[int, int, int]) -> None:
    from arviz_stats.base import array_stats

    x = series(kind, shape)
    cells = np.ascontiguousarray(np.moveaxis(x, 2, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ divides by a variance of 0
        expected = (
            array_stats.rhat(cells),
            array_stats.ess(cells, method="bulk"),
            array_stats.ess(cells, method="tail", prob=(0.05, 0.95)),
            array_stats.mcse(cells, method="mean"),
            array_stats.mcse(cells, method="sd"),
        )
        found = (*convergence(x), mcse_mean(x), mcse_sd(x))
    if kind == "infinite":  # moments of an infinite value are nothing to compare
        expected, found = expected[:3], found[:3]
    for theirs, ours in zip(expected, found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 1000), (1, 37)])
def test_ebfmi__equals_arviz(shape: tuple[int, int]) -> None:
    from arviz_stats.base import array_stats

    energy = np.cumsum(normals(shape), axis=1)
    np.testing.assert_allclose(ebfmi(energy), array_stats.bfmi(energy), rtol=1e-12)


def test_ebfmi__of_independent_energies_is_two() -> None:
    # E[(E_n - E_{n-1})^2] = 2 Var(E) where energies are independent.
    np.testing.assert_allclose(ebfmi(normals((2, 20_000))), 2.0, rtol=0.03)


def test_convergence__refuses_what_has_no_draws() -> None:
    with pytest.raises(InputError, match=r"x=array of shape \(0, 5\): dimensions are \(chain, draw"):
        convergence(np.empty((0, 5)))
    with pytest.raises(InputError, match="dimensions are"):
        ebfmi(np.zeros(5))


def test_convergence__too_short_to_tell() -> None:
    for n_draws in (1, 2, 3):
        assert np.isnan(convergence(normals((4, n_draws, 2)))).all()


def test_mcse__of_one_draw_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for error in (mcse_mean, mcse_sd):
            assert np.isnan(error(np.ones((1, 1, 2)))).all()
