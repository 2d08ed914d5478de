"""Diagnoses of posteriors: what is sound, what is not, and that the words say so."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.diagnostics import diagnose, evidence, summary
from tdmx_dask.fitting.task import STATS

Floats = NDArray[np.float64]
N_CHAINS, N_DRAWS = 4, 500


def posterior(seed: int = 1) -> xr.Dataset:
    """Independent draws of a number, a vector, a labelled matrix and a constant."""
    rng = np.random.default_rng(seed)
    shape = (N_CHAINS, N_DRAWS)
    return xr.Dataset(
        {
            "CL": (("chain", "draw"), np.exp(rng.normal(1.6, 0.2, shape)), {"units": "L/h"}),
            "CL_i": (("chain", "draw", "subject"), rng.standard_normal((*shape, 3))),
            "omega": (("chain", "draw", "eta", "eta2"), rng.standard_normal((*shape, 2, 2))),
            "fu": (("chain", "draw"), np.full(shape, 0.98)),
        },
        coords={"eta": ["CL", "Vc"], "eta2": ["CL", "Vc"]},
    )


def sampler(**columns: Floats) -> xr.Dataset:
    rng = np.random.default_rng(2)
    shape = (N_CHAINS, N_DRAWS)
    made = {
        "divergent__": np.zeros(shape),
        "treedepth__": np.full(shape, 3.0),
        "energy__": rng.standard_normal(shape),
    }
    return xr.Dataset({name: (("chain", "draw"), values) for name, values in {**made, **columns}.items()})


def test_summary__agrees_with_arviz() -> None:
    import arviz_stats

    made = posterior().drop_vars("fu")
    ours = summary(made)
    tree = xr.DataTree.from_dict(
        {"posterior": made.assign_coords(chain=range(N_CHAINS), draw=range(N_DRAWS))}
    )
    theirs = arviz_stats.summary(tree, round_to="none")
    assert list(ours.index) == [
        "CL", "CL_i[1]", "CL_i[2]", "CL_i[3]", "omega[CL,CL]", "omega[CL,Vc]", "omega[Vc,CL]", "omega[Vc,Vc]"
    ]  # fmt: skip
    for column, name in (
        ("mean", "mean"),
        ("ess_bulk", "ess_bulk"),
        ("r_hat", "r_hat"),
        ("mcse", "mcse_mean"),
    ):
        np.testing.assert_allclose(ours[column], theirs[name].astype(float), rtol=1e-9)
    # ArviZ's table takes the tails of its 89 % interval; Stan's and the paper's are 5 % and 95 %.
    tail = arviz_stats.ess(made, method="tail", prob=(0.05, 0.95))
    assert ours.loc["CL", "ess_tail"] == pytest.approx(float(tail["CL"]), rel=1e-9)
    assert ours.loc["CL", "sd"] == pytest.approx(float(made["CL"].std(ddof=1)))
    assert ours.loc["CL", "unit"] == "L/h"
    assert (ours["q5"] < ours["q50"]).all()
    assert (ours["q50"] < ours["q95"]).all()


def test_summary__lazy_draws_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    made = posterior()
    expected = summary(made)
    monkeypatch.setattr("tdmx_dask.fitting.diagnostics._BLOCK", 2 * N_CHAINS * N_DRAWS)  # two cells at a time
    found = summary(made.chunk({"chain": 1, "draw": 200}))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    assert list(summary(made, ["fu", "CL"]).index) == ["fu", "CL"]


def test_summary__refuses_an_unknown_name() -> None:
    with pytest.raises(
        InputError,
        match=r"names=\['Vx'\]: each is a variable of the posterior. There are: CL, CL_i, omega, fu",
    ):
        summary(posterior(), ["CL", "Vx"])
    with pytest.raises(InputError, match="names="):
        diagnose(posterior(), names=[])


def test_diagnose__sound_draws() -> None:
    found = diagnose(posterior(), sampler())
    assert found.healthy
    assert found.problems == found.notes == ()
    assert found.figures["chains"] == 4
    assert found.figures["draws"] == 500
    assert found.figures["rhat"] < 1.01
    assert str(found).startswith("The draws are sound.")
    assert diagnose(posterior()).healthy


def test_diagnose__knows_arviz_names() -> None:
    names = {"divergent__": "diverging", "treedepth__": "tree_depth", "energy__": "energy"}
    stats = sampler(divergent__=np.eye(N_CHAINS, N_DRAWS))
    assert diagnose(posterior(), stats.rename(names)) == diagnose(posterior(), stats)


def test_diagnose__names_the_parameter_and_what_to_do() -> None:
    made = posterior()
    made["CL"][0] += 2.0
    found = diagnose(made, sampler())
    assert not found.healthy
    assert found.problems[0].startswith("CL: the chains disagree (R-hat ")
    assert "iter_warmup" in found.problems[0]
    assert any("too few independent draws" in line for line in found.problems)
    assert "Do not dose by these draws yet" in str(found)
    assert diagnose(made, sampler(), names=["omega"]).healthy


@pytest.mark.parametrize(
    ("columns", "word", "fix"),
    [
        ({"divergent__": np.eye(N_CHAINS, N_DRAWS)}, "4 divergent transitions", "adapt_delta"),
        ({"energy__": np.cumsum(np.ones((N_CHAINS, N_DRAWS)), axis=1)}, "E-BFMI 0.00", "parameterisation"),
    ],
)
def test_diagnose__sampler(columns: dict[str, Floats], word: str, fix: str) -> None:
    found = diagnose(posterior(), sampler(**columns))
    assert len(found.problems) == 1
    assert word in found.problems[0]
    assert fix in found.problems[0]


def test_diagnose__tree_depth_is_slow_not_wrong() -> None:
    found = diagnose(posterior(), sampler(treedepth__=np.full((N_CHAINS, N_DRAWS), 10.0)))
    assert found.healthy
    assert "2000 of 2000 transitions stopped at max_treedepth=10" in found.notes[0]
    assert (
        diagnose(posterior(), sampler(treedepth__=np.full((N_CHAINS, N_DRAWS), 10.0)), max_treedepth=12).notes
        == ()
    )


def test_diagnose__draws_that_are_not_finite_or_do_not_vary() -> None:
    made = posterior()
    made["CL"][0, 3] = np.nan
    found = diagnose(made)
    assert found.problems == (
        "CL: draws are not finite. Check dose and level times and units, and that no prior is open-ended.",
    )
    assert "nothing can be judged" in diagnose(posterior(), names=["fu"]).problems[0]


def test_diagnose__few_chains_need_fewer_draws() -> None:
    one = posterior().isel(chain=[0])
    assert diagnose(one).healthy == (diagnose(one).figures["rhat"] < 1.01)
    assert not any("ESS" in line for line in diagnose(one).problems)


def columns_of(stats: xr.Dataset) -> Floats:
    return np.stack(
        [stats[name].values if name in stats else np.full((N_CHAINS, N_DRAWS), np.nan) for name in STATS],
        axis=2,
    )


def test_evidence__says_what_diagnose_says() -> None:
    made = posterior()
    stats = sampler(divergent__=np.eye(N_CHAINS, N_DRAWS), treedepth__=np.full((N_CHAINS, N_DRAWS), 10.0))
    cells = np.concatenate(
        [made[name].values.reshape(N_CHAINS, N_DRAWS, -1) for name in made.data_vars], axis=2
    )
    found, figures = evidence(cells, columns_of(stats), rounds=1), diagnose(made, stats).figures
    for name in ("chains", "draws", "rhat", "ess_bulk", "ess_tail", "divergences", "treedepth_hits", "ebfmi"):
        assert getattr(found, name) == pytest.approx(figures[name], rel=1e-12)
    assert found.agreement == 1.0


def test_evidence__rounds_that_differ() -> None:
    x = np.random.default_rng(1).standard_normal((4, 500, 2))
    assert evidence(x, None, rounds=2, ends=(250, 500)).agreement < 1.02
    x[:, :250, 1] += 1.5
    assert evidence(x, None, rounds=2, ends=(250, 500)).agreement > 1.05


def test_evidence__broken_draws_count_against_the_fit() -> None:
    x = np.random.default_rng(1).standard_normal((4, 100, 2))
    x[0, 0, 0] = np.inf
    for broken in (x, np.ones((4, 100, 2))):
        found = evidence(broken, None, rounds=1)
        assert (found.rhat, found.ess_bulk, found.ess_tail) == (np.inf, 0.0, 0.0)


def test_evidence__an_approximation_has_no_sampler() -> None:
    x = np.random.default_rng(1).standard_normal((4, 100, 2))
    found = evidence(x, np.full((4, 100, len(STATS)), np.nan), rounds=1)
    assert (found.divergences, found.treedepth_hits, found.ebfmi) == (0, 0, 1.0)
