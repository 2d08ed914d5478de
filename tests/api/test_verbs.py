"""The verbs: same numbers wherever and however they run; what is refused; what results say of themselves."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import tdmx_dask as tdmx
from tdmx_dask.analysis import execute
from tdmx_dask.errors import InputError, SchemaError, StoreError, TdmxWarning
from tests.conftest import MIC, posterior

REGIMENS = ["1000 mg q8h inf 1h", "2 g q24h ci", "500 mg load inf 30min, then 1000 mg q12h inf 2h"]
TARGETS = ["T>MIC >= 50%", "AUC24/MIC >= 100 in day1", "Cmin 1..20"]
COUNTED = ["1000 mg q8h inf 1h"]


def columns(n: int = 1, **changes: float) -> dict[str, np.ndarray]:
    values = {"CL": 5.0, "Vc": 30.0, "Q1": 2.0, "Vp1": 20.0, **changes}
    return {name: np.full(n, value) for name, value in values.items()}


@pytest.fixture(scope="module")
def reference(store: Path) -> xr.Dataset:
    return tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, run="direct")


@pytest.mark.parametrize(
    "options",
    [
        {"run": "direct", "chunk_size": 1},
        {"run": "direct", "chunk_size": 2048},
        {"run": "threads", "n_workers": 1},
        {"run": "threads", "n_workers": 2, "chunk_size": 1024},
        {"run": "threads", "n_workers": 3, "chunk_size": 5000},
        {"run": "processes", "n_workers": 2, "chunk_size": 1024},
    ],
)
def test_pta__same_counts_for_any_chunking(
    store: Path, reference: xr.Dataset, options: dict[str, object]
) -> None:
    found = tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, **options)
    np.testing.assert_array_equal(found["attained_by_draw"], reference["attained_by_draw"])
    np.testing.assert_array_equal(found["lower"], reference["lower"])
    assert found.attrs["run_mode"] == options["run"]


def test_pta__another_seed_gives_other_counts(store: Path, reference: xr.Dataset) -> None:
    found = tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=4)
    assert (found["attained_by_draw"] != reference["attained_by_draw"]).any()


def test_pta__a_shorter_run_is_a_prefix(store: Path, reference: xr.Dataset) -> None:
    draws = tdmx.open_draws(store).isel(draw=slice(0, 1500)).load()
    found = tdmx.pta(draws, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3)
    expected = reference["attained_by_draw"].isel(draw=slice(0, 1500))
    np.testing.assert_array_equal(found["attained_by_draw"], expected)


@pytest.mark.parametrize("lazy", ["numpy", "backend", "dask"])
def test_pta__same_for_any_kind_of_dataset(store: Path, reference: xr.Dataset, lazy: str) -> None:
    draws = tdmx.open_draws(store)
    draws = {"numpy": draws.load(), "backend": draws, "dask": draws.chunk(draw=700)}[lazy]
    for run in ("direct", "threads", "processes"):
        found = tdmx.pta(draws, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, run=run, n_workers=2)
        np.testing.assert_array_equal(found["attained_by_draw"], reference["attained_by_draw"])


def test_critical_mic__bit_identical_for_any_chunking_and_scheduler(store: Path) -> None:
    direct = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=3, seed=3, run="direct")
    for options in ({"run": "direct", "chunk_size": 1024}, {"run": "threads", "n_workers": 2}):
        found = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=3, seed=3, **options)
        np.testing.assert_array_equal(found, direct)
    lazy = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=3, seed=3, compute=False)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), direct)
    assert direct.sizes == {"scenario": 1, "regimen": 3, "target": 3, "chain": 2, "draw": 3000, "subject": 3}


def test_pta__counts_the_critical_mic(store: Path, reference: xr.Dataset) -> None:
    critical = tdmx.critical_mic(store, COUNTED, TARGETS, subjects=9, seed=3)
    for mic in MIC:
        expected = (critical >= mic).sum(("chain", "draw", "subject"))
        np.testing.assert_array_equal(reference["n_attained"].sel(mic=mic), expected)


def test_pta__lazy_reads_nothing_until_computed(store: Path, reference: xr.Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "moved.zarr"
    tdmx.write_draws(posterior(), copy)
    lazy = tdmx.pta(copy, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, compute=False)
    assert all(variable.chunks is not None for variable in lazy.data_vars.values())
    isolates = tdmx.MICDistribution.parse("0.25:0.5, 4:0.5")
    lazy_cfr = tdmx.cfr(lazy, isolates)
    assert lazy_cfr["cfr"].chunks is not None
    np.testing.assert_array_equal(lazy["attained_by_draw"].compute(), reference["attained_by_draw"])
    np.testing.assert_array_equal(lazy_cfr.compute()["upper"], tdmx.cfr(reference, isolates)["upper"])
    (copy / "zarr.json").unlink()
    with pytest.raises(SchemaError, match=r"moved\.zarr"):
        tdmx.pta(copy, COUNTED, TARGETS, mic=MIC)
    with pytest.raises((StoreError, SchemaError, InputError), match=r"moved\.zarr"):
        tdmx.critical_mic(copy, COUNTED, TARGETS, compute=False).compute()


def test_pta__lazy_result_goes_to_zarr(store: Path, reference: xr.Dataset, tmp_path: Path) -> None:
    lazy = tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, compute=False)
    lazy.to_zarr(tmp_path / "lazy.zarr", consolidated=False)
    written = xr.open_zarr(tmp_path / "lazy.zarr", consolidated=False, chunks=None)
    np.testing.assert_array_equal(written["upper"], reference["upper"])
    assert written["regimen"].values.tolist() == COUNTED
    assert lazy.persist()["n_attained"].equals(reference["n_attained"])


def test_pta__lazy_graph_holds_no_draws(store: Path) -> None:
    draws = {name: np.random.default_rng(1).lognormal(1, 0.1, 200_000) for name in ("CL", "Vc")}
    lazy = tdmx.pta(draws, COUNTED, "T>MIC >= 50%", mic=MIC, compute=False)
    names = {str(key[0] if isinstance(key, tuple) else key) for key in lazy["pta"].__dask_graph__()}
    assert any(name.startswith("tdmx-pta") for name in names)
    stored = tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, compute=False)
    assert len(pickle.dumps(dict(stored["pta"].__dask_graph__()))) < 100_000


def test_pta__of_one_patient_by_hand() -> None:
    """Continuous infusion of 2.4 g a day at CL = 5 L/h: 20 mg/L throughout, AUC24 = 480."""
    pta = tdmx.pta(
        columns(),
        "2400 mg q24h ci",
        ["T>MIC >= 100%", "AUC24/MIC >= 400", "Cmax <= 20.1", "Cmin 10..19.9"],
        mic=[1, 1.3, 19, 21],
    )
    expected = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(pta["pta"][0, 0], expected)
    np.testing.assert_array_equal(pta["breakpoint"][0, 0], [19, 1, np.nan, np.nan])


@given(
    dose=st.floats(1, 1e4),
    scale=st.sampled_from([0.25, 0.5, 2.0, 8.0]),
    cl=st.floats(0.1, 50),
    fu=st.floats(0.01, 1),
)
@settings(max_examples=30, deadline=None)
def test_critical_mic__depends_on_dose_and_fu_linearly(
    dose: float, scale: float, cl: float, fu: float
) -> None:
    draws = columns(CL=cl)
    whole = tdmx.critical_mic(draws, tdmx.Regimen(dose, 8, 1), "T>MIC >= 50%").item()
    assert tdmx.critical_mic(draws, tdmx.Regimen(dose * scale, 8, 1), "T>MIC >= 50%").item() == whole * scale
    free = tdmx.critical_mic(draws, tdmx.Regimen(dose, 8, 1), "fT>MIC >= 50%", fu=fu).item()
    assert math.isclose(free, whole * fu, rel_tol=1e-12)


def test_pta__all_of_is_attained_by_all() -> None:
    draws = posterior(omega=False)
    both = tdmx.critical_mic(draws, COUNTED, "all of (T>MIC >= 50%; Cmax <= 40)")
    efficacy, safety = (
        tdmx.critical_mic(draws, COUNTED, target) for target in ("T>MIC >= 50%", "Cmax <= 40")
    )
    np.testing.assert_array_equal(both, np.minimum(efficacy.values, safety.values))
    assert 0 < (safety == 0).mean() < 1


def test_pta__interval_is_named_for_what_it_is(store: Path, reference: xr.Dataset) -> None:
    assert reference.attrs["interval"] == "credible"
    one_level = tdmx.pta(posterior(omega=False), COUNTED, TARGETS, mic=MIC)
    assert one_level.attrs["interval"] == "monte_carlo"
    with pytest.warns(TdmxWarning, match="interval: none is given: 20 draws"):
        few = tdmx.pta(posterior(1, 20), COUNTED, TARGETS, mic=MIC, subjects=5)
    assert few.attrs["interval"] == "none"
    assert np.isnan(few["lower"]).all()
    with pytest.raises(InputError, match="several subjects a draw"):
        tdmx.pta(posterior(omega=False), COUNTED, TARGETS, mic=MIC, interval="credible")
    clustered = tdmx.pta(store, COUNTED, TARGETS, mic=MIC, subjects=9, seed=3, interval="monte_carlo")
    assert clustered.attrs["interval"] == "monte_carlo"
    narrower = (clustered["upper"] - clustered["lower"]) <= (reference["upper"] - reference["lower"]) + 1e-12
    assert narrower.all()


def test_pta__dependent_draws_count_for_less() -> None:
    rng = np.random.default_rng(5)
    walk = np.zeros(4000)
    for i in range(1, walk.size):
        walk[i] = 0.95 * walk[i - 1] + rng.normal(0, 0.3 * math.sqrt(1 - 0.95**2))
    draws = xr.Dataset(
        {
            "CL": (("chain", "draw"), 5 * np.exp(walk.reshape(2, 2000)), {"units": "L/h"}),
            "Vc": (("chain", "draw"), np.full((2, 2000), 30.0), {"units": "L"}),
        },
        attrs={"sampling": "mcmc"},
    )
    mcmc = tdmx.pta(draws, COUNTED, "T>MIC >= 50%", mic=[16])
    independent = tdmx.pta(draws.assign_attrs(sampling="independent"), COUNTED, "T>MIC >= 50%", mic=[16])
    ratio = (mcmc["mcse"] / independent["mcse"]).item() ** 2
    assert 10 < ratio < 100  # (1 + 0.95) / (1 - 0.95) = 39 for the walk itself
    plain = {name: draws[name].values.ravel() for name in ("CL", "Vc")}
    with pytest.warns(TdmxWarning, match=r"successive values of CL are correlated \(0.9"):
        columns_ = tdmx.pta(plain, COUNTED, "T>MIC >= 50%", mic=[16])
    assert columns_.attrs["sampling"] == "mcmc"
    rng.shuffle(plain["CL"])
    assert tdmx.pta(plain, COUNTED, "T>MIC >= 50%", mic=[16]).attrs["sampling"] == "independent"


def test_pta__few_dependent_draws_have_no_interval() -> None:
    draws = posterior(1, 1, omega=False).assign_attrs(sampling="mcmc")
    with pytest.warns(TdmxWarning, match="too few draws"):
        found = tdmx.pta(draws, COUNTED, "T>MIC >= 50%", mic=[16])
    assert found.attrs["interval"] == "none"
    assert np.isnan(found["lower"]).all()


def test_pta__scenarios_share_their_patients() -> None:
    population = tdmx.Population.from_mapping(
        {
            "parameters": {"CL": "5 * CCr / 100", "V": 20},
            "covariates": {"CCr": {"unit": "mL/min"}},
            "bsv": {"CL": {"omega": 0.3}},
        }
    )
    scenarios = {"50": {"CCr": 50}, "100": {"CCr": 100}}
    found = tdmx.critical_mic(
        population, ["1 g q24h ci"], "AUC24/MIC >= 100", scenarios=scenarios, n=2000, seed=1
    )
    np.testing.assert_allclose(found[0], 2 * found[1].values, rtol=1e-13)
    draws = tdmx.sample(population, 2000, seed=1, scenarios=scenarios)
    np.testing.assert_array_equal(tdmx.critical_mic(draws, ["1 g q24h ci"], "AUC24/MIC >= 100"), found)


def test_pta__design_asks_for_pairs_alone() -> None:
    population = tdmx.Population.from_mapping(
        {"parameters": {"CL": "5 * CCr / 100", "V": 20}, "covariates": {"CCr": {"unit": "mL/min"}}}
    )
    low, high = tdmx.Regimen(500, 8), tdmx.Regimen(1000, 8)
    found = tdmx.pta(
        population, None, "T>MIC >= 50%", mic=MIC, n=10, scenarios={"low": {"CCr": 30}, "high": {"CCr": 120}},
        design=[("low", low), ("high", high)],
    )  # fmt: skip
    np.testing.assert_array_equal(found["n_simulated"][..., 0], [[10, 0], [0, 10]])
    assert np.isnan(found["pta"].sel(scenario="low", regimen=high.label)).all()


def test_pta__doses_in_mg_per_kg() -> None:
    by_weight = tdmx.critical_mic(columns(), "15 mg/kg q8h inf 1h", "T>MIC >= 50%", weight=80)
    fixed = tdmx.critical_mic(columns(), "1200 mg q8h inf 1h", "T>MIC >= 50%")
    np.testing.assert_allclose(by_weight, fixed.values, rtol=1e-14)
    loaded = tdmx.critical_mic(
        columns(WT=80.0), "25 mg/kg load inf 1h, then 500 mg q12h inf 1h", "T>MIC >= 50% in day1"
    )
    plain = tdmx.critical_mic(
        columns(), "2000 mg load inf 1h, then 500 mg q12h inf 1h", "T>MIC >= 50% in day1"
    )
    np.testing.assert_allclose(loaded, plain.values, rtol=1e-14)
    later = "25 mg/kg load, then 2 g q24h ci"  # the load is over at steady state: no weight counts, none is needed
    for target in ("AUC24 >= 400", "T>MIC >= 50%"):
        steady = [tdmx.critical_mic(columns(), regimen, target) for regimen in (later, "2 g q24h ci")]
        np.testing.assert_array_equal(steady[0], steady[1].values)
    with pytest.raises(InputError, match=r"WT=missing: a dose in mg/kg needs a body weight, in kg"):
        tdmx.pta(columns(), "15 mg/kg q8h", "T>MIC >= 50%", mic=1)


def test_pta__ignores_columns_that_are_no_numbers() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "CL": [5.0, 6.0], "Vc": [30.0, 30.0], "male": [True, False]})
    assert tdmx.pta(table, COUNTED, "T>MIC >= 50%", mic="0.5..4").sizes["mic"] == 4


def test_pta__regimens_by_name() -> None:
    pta = tdmx.pta(columns(), {"short": "1 g q8h inf 30min", "long": "1 g q8h inf 4h"}, "T>MIC >= 50%", mic=1)
    assert pta["regimen"].values.tolist() == ["short", "long"]


def test_pta__changed_draws_are_not_those_of_their_store(store: Path) -> None:
    """Attributes survive arithmetic: a path among them must not bring the old values back."""
    opened = tdmx.open_draws(store)
    changed = opened.assign(CL=opened["CL"] * 2)
    found = tdmx.critical_mic(changed, "2 g q24h ci", "AUC24/MIC >= 100", subjects=2)
    np.testing.assert_allclose(
        found * 2, tdmx.critical_mic(opened, "2 g q24h ci", "AUC24/MIC >= 100", subjects=2), rtol=1e-13
    )
    assert found.attrs["draws_digest"] == ""


def test_pta__columns_may_number_chains() -> None:
    rng = np.random.default_rng(1)
    table = {"chain": np.repeat([1, 2], 500), "CL": rng.lognormal(1.6, 0.3, 1000), "Vc": np.full(1000, 30.0)}
    found = tdmx.critical_mic(table, COUNTED, "T>MIC >= 50%")
    assert found.sizes["chain"] == 2
    plain = tdmx.critical_mic({name: table[name] for name in ("CL", "Vc")}, COUNTED, "T>MIC >= 50%")
    np.testing.assert_array_equal(found.values.ravel(), plain.values.ravel())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": columns(CL=math.nan)}, r"CL\[chain=0, draw=0\]=nan"),
        ({"draws": columns(3, Vc=math.inf)}, r"Vc\[chain=0, draw=0\]=inf"),
        ({"draws": columns(CL=-1.0)}, r"CL\[chain=0, draw=0\]=-1"),
        ({"draws": {"CL": [1.0]}}, "Vc"),
        ({"draws": {"CL": [1.0], "Vc": [1.0, 2.0]}}, "Give all draws of each"),
        ({"draws": {"CL": [], "Vc": []}}, "at least one draw"),
        ({"draws": 7}, "draws=int"),
        ({"draws": "nowhere.zarr"}, "nowhere.zarr"),
        ({"regimens": "1000 mg"}, "1000 mg"),
        ({"regimens": []}, "at least one regimen"),
        ({"targets": "fT>MIC >= 150%"}, "150"),
        ({"mic": None}, "mic=None"),
        ({"mic": [0.5, -1]}, "mic=-1"),
        ({"mic": [math.nan]}, "mic=nan"),
        ({"fu": 98}, "fu=98"),
        ({"subjects": 0}, "subjects=0"),
        ({"subjects": 10}, "no omega"),
        ({"n": 10}, "n=10"),
        ({"seed": -1}, "seed=-1"),
        ({"level": 95}, "level=95"),
        ({"run": "fast"}, "run=fast"),
        ({"n_workers": 0}, "n_workers=0"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"scenarios": {"a": {"CCr": 1}}}, "population"),
        ({"targets": "AUC24/MIC >= 10 in first_dose"}, "24 h"),
        ({"regimens": "1 g q8h x3", "targets": "T>MIC >= 50%"}, "no steady state"),
        ({"on": 3}, "on=3"),
        ({"progress": "yes"}, "progress=yes"),
        (
            {"draws": columns(CL=1e-310)},
            r"CL\[chain=0, draw=0\]=1e-310: a clearance must be finite and > 0 L/h \(1e-30 to 1e\+30\)",
        ),
        ({"regimens": tdmx.Regimen(1000, 1e-4), "targets": "T>MIC >= 50% in day1"}, "doses are followed"),
        ({"regimens": "1 g q8h", "targets": "C@1e9h >= 1"}, "doses are followed"),
        ({"draws": {**columns(), "CL": np.array(["5"])}}, "CL"),
        ({"draws": {**columns(), "CL": np.array([5 + 1j])}}, "CL"),
        ({"regimens": "15 mg/kg q8h", "weight": 70000}, "weight=70000"),
        ({"regimens": "15 mg/kg q8h", "draws": columns(WT=70.0), "weight": 80}, "WT"),
        ({"mic": "0.25..x"}, "mic=0.25..x"),
    ],
)
def test_pta__refuses(change: dict[str, object], message: str) -> None:
    arguments = {"draws": columns(), "regimens": COUNTED, "targets": "T>MIC >= 50%", "mic": [1.0], **change}
    with pytest.raises((InputError, StoreError), match=message) as caught:
        tdmx.pta(**arguments)
    assert "\n" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own bytes
    assert str(again) == str(caught.value)


def test_pta__an_unknown_free_fraction_is_warned_about() -> None:
    with pytest.warns(TdmxWarning, match="fu = 1 assumed"):
        assumed = tdmx.pta(columns(), COUNTED, "fT>MIC >= 50%", mic=[1.0])
    assert "fu = 1 assumed" in assumed.attrs["fu_note"]
    told = tdmx.pta(columns(fu=0.5), COUNTED, "fT>MIC >= 50%", mic=[1.0])
    assert told.attrs["fu_note"] == ""
    assert told.attrs["fu"] == "of the draws"
    given = tdmx.pta(columns(fu=0.5), COUNTED, ["fT>MIC >= 50%", "T>MIC >= 60%"], mic=[1.0], fu=0.25)
    assert given.attrs["fu"] == "0.25"
    population = tdmx.Population.from_mapping({"parameters": {"CL": 5, "V": 30}, "fu": 0.9})
    assert (
        tdmx.pta(population, COUNTED, "fT>MIC >= 50%", mic=[1.0], n=5).attrs["fu"] == "0.9, of the population"
    )


def test_pta__omega_without_subjects_is_warned_about() -> None:
    with pytest.warns(TdmxWarning, match="typical patients"):
        tdmx.pta(posterior(1, 10), COUNTED, "T>MIC >= 50%", mic=[1.0])


def test_pta__goes_on_from_a_checkpoint(store: Path, reference: xr.Dataset, tmp_path: Path) -> None:
    kept = tmp_path / "counts.npz"
    options = {"mic": MIC, "subjects": 9, "seed": 3, "run": "direct", "chunk_size": 1024, "checkpoint": kept}
    steps = []

    def stop(done: int, _total: int) -> None:
        steps.append(done)
        if done >= 2048 * 9:
            raise KeyboardInterrupt("stopped here")

    with pytest.raises(KeyboardInterrupt, match="stopped here"):
        tdmx.pta(store, COUNTED, TARGETS, progress=stop, **options)
    assert kept.is_file()
    steps.clear()
    resumed = tdmx.pta(store, COUNTED, TARGETS, progress=lambda done, _: steps.append(done), **options)
    assert steps[0] == 2048 * 9  # nothing is counted twice
    np.testing.assert_array_equal(resumed["attained_by_draw"], reference["attained_by_draw"])
    with pytest.raises(InputError, match=r"counts\.npz"):
        tdmx.pta(store, COUNTED, TARGETS, **{**options, "seed": 4})


def test_pta__an_interrupt_on_threads_keeps_what_is_whole(store: Path, tmp_path: Path) -> None:
    kept = tmp_path / "counts.npz"
    options = {"mic": MIC, "subjects": 9, "seed": 3, "run": "threads", "n_workers": 2, "chunk_size": 1024}

    def stop(done: int, _total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt("stopped here")

    with pytest.raises(KeyboardInterrupt, match="stopped here"):
        tdmx.pta(store, COUNTED, TARGETS, progress=stop, checkpoint=kept, **options)
    seen: list[int] = []
    resumed = tdmx.pta(
        store, COUNTED, TARGETS, progress=lambda done, _: seen.append(done), checkpoint=kept, **options
    )
    assert seen[0] > 0
    assert seen[-1] == 2 * 3000 * 9
    whole = tdmx.pta(store, COUNTED, TARGETS, **options)
    np.testing.assert_array_equal(resumed["attained_by_draw"], whole["attained_by_draw"])


def test_cfr__is_the_dot_product(reference: xr.Dataset) -> None:
    isolates = tdmx.MICDistribution.parse("0.25:0.1, 2:0.3, 16:0.4, >32:0.2", organism="made up")
    found = tdmx.cfr(reference, isolates)
    pta = reference["pta"]
    expected = 0.1 * pta.sel(mic=0.25) + 0.3 * pta.sel(mic=2) + 0.4 * pta.sel(mic=16)
    np.testing.assert_allclose(found["cfr"][..., 0], expected, rtol=1e-14)
    assert ((found["lower"] <= found["cfr"]) & (found["cfr"] <= found["upper"])).all()
    with pytest.raises(InputError, match="was not counted"):
        tdmx.cfr(reference, tdmx.MICDistribution.parse("3:1"))
    with pytest.raises(InputError, match="own name"):
        tdmx.cfr(reference, [isolates, isolates])


def test_cfr__of_a_selection(store: Path) -> None:
    """A dimension of one may be dropped, and pairs left out: the same numbers, by label."""
    pta = tdmx.pta(store, REGIMENS, ["T>MIC >= 50%", "AUC24/MIC >= 100 in day1"], mic=MIC, subjects=3, seed=3)
    isolates = "0.25:0.1, 2:0.9"
    whole = tdmx.cfr(pta, isolates)
    for selection in ({"regimen": 1}, {"regimen": [2, 0]}, {"target": 1, "regimen": 2}, {"mic": slice(2, 9)}):
        part = tdmx.cfr(pta.isel(selection), isolates)
        expected = whole.isel({name: index for name, index in selection.items() if name != "mic"})
        for name in ("cfr", "lower", "upper", "mcse"):
            np.testing.assert_array_equal(part[name].squeeze(), expected[name].squeeze())
    np.testing.assert_array_equal(tdmx.breakpoint(pta.isel(regimen=1), 0.5), tdmx.breakpoint(pta, 0.5)[:, 1])


def test_cfr__monte_carlo_error_is_that_of_repeated_runs() -> None:
    """The error of one level, from nested indicators, against the spread of independent runs."""
    isolates = tdmx.MICDistribution.parse("4:0.2, 8:0.3, 16:0.5")
    rng = np.random.default_rng(2)
    found, errors = [], []
    for _ in range(300):
        draws = {"CL": rng.lognormal(1.6, 0.4, 200), "Vc": rng.lognormal(3.4, 0.3, 200)}
        cfr = tdmx.cfr(tdmx.pta(draws, COUNTED, "T>MIC >= 50%", mic=isolates), isolates)
        found.append(cfr["cfr"].item())
        errors.append(cfr["mcse"].item())
    assert np.std(found, ddof=1) == pytest.approx(np.mean(errors), rel=4 / math.sqrt(2 * 299))


def test_breakpoint__at_other_levels() -> None:
    draws = posterior(omega=False)
    result = tdmx.pta(draws, COUNTED, ["T>MIC >= 50%", "Cmax <= 60"], mic=MIC)
    for level in (0.5, 0.9, 0.99):
        found = tdmx.breakpoint(result, level)[0, 0]
        attained = [mic for mic in MIC if result["pta"].sel(mic=mic)[0, 0, 0] >= level]
        assert found[0] == max(attained)
        assert np.isnan(found[1])


@pytest.mark.parametrize("run", ["threads", "processes"])
def test_pta__of_several_threads_at_once(store: Path, reference: xr.Dataset, run: str) -> None:
    """Each takes its own parts: a callback of Dask's goes to whichever thread computes next (wrong numbers, seen)."""
    asked = {"mic": MIC, "subjects": 9, "seed": 3, "run": run, "n_workers": 2, "chunk_size": 1024}

    def ask(_: int) -> Any:
        found = [tdmx.pta(store, COUNTED, TARGETS, **asked) for _ in range(1 if run == "processes" else 8)]
        critical = tdmx.critical_mic(
            store, COUNTED, TARGETS[:1], **once, run=run, n_workers=2, chunk_size=1024
        )
        return found, critical

    once: dict[str, Any] = {"subjects": 2, "seed": 3}
    direct = tdmx.critical_mic(store, COUNTED, TARGETS[:1], **once, run="direct")
    with ThreadPoolExecutor(4) as threads:
        for found, critical in threads.map(ask, range(4)):
            for each in found:
                np.testing.assert_array_equal(each["attained_by_draw"], reference["attained_by_draw"])
            np.testing.assert_array_equal(critical, direct)


def test_pta__a_block_that_is_missing_is_no_result(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "run_direct", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"1 of 1 blocks were not counted \(run=direct\)"):
        tdmx.pta({"CL": [1.0], "Vc": [1.0]}, "1 g q8h", "T>MIC >= 50%", mic=1, run="direct")
