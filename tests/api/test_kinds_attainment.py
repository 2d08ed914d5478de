"""Jobs of PTA and CFR: the same bits as the verbs, every mistake said at submit."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import tdmx_dask as tdmx
from tdmx_dask.api.kinds import BUILT_IN
from tdmx_dask.api.kinds.question import distribution_mapping, regimen_mapping
from tdmx_dask.errors import InputError, JobLost, StoreError, TdmxWarning
from tdmx_dask.jobs.request import Work
from tdmx_dask.store.value import address, decode, encode
from tests.api.place import HereKnown, HerePlace, answer, stored
from tests.conftest import posterior

KIND = {kind.name: kind for kind in BUILT_IN}
PTA, CFR, OPTIMUM = (KIND[name] for name in ("pta_calculation", "cfr_calculation", "optimization"))
REGIMENS = ("1000 mg q8h inf 3h", "2000 mg q8h inf 30min")
TARGET = "fT>MIC >= 50%"
MIC = [0.5, 1, 2, 4]
COLUMNS = {
    "CL": np.exp(np.random.default_rng(1).normal(1.6, 0.3, 500)),
    "Vc": np.exp(np.random.default_rng(2).normal(3, 0.3, 500)),
}
POPULATION = tdmx.Population.from_mapping(
    {
        "name": "two thetas",
        "thetas": {"TVCL": 13.6, "AA": 1.5},
        "parameters": {"CL": "TVCL * (CCr/87.6)**0.66 * AA", "V1": 26.5},
        "covariates": {
            "ZZ": {"unit": "kg", "lognormal": {"median": 70, "cv": 0.2}},
            "CCr": {"unit": "mL/min", "uniform": {"low": 20, "high": 120}},
            "AGE": {"unit": "years", "uniform": {"low": 18, "high": 90}},
        },
        "bsv": {"V1": {"omega": 0.23}, "CL": {"cv": 0.221}},
        "correlations": {"CL, V1": 0.4},
        "fu": 0.98,
    }
)
ISOLATES = tdmx.MICDistribution.parse("<=0.5:10, 1:20, 2:60, 4:3, >4:7", organism="E. coli")


@pytest.fixture
def known(tmp_path: Path) -> HereKnown:
    return HereKnown(tmp_path / "data", {7: ("pta_calculation", "ab" * 32), 8: ("stan_fit", None)})


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """The same variables and labels, bit for bit."""
    left, right = found.drop_attrs(), expected.drop_attrs()
    xr.testing.assert_identical(left, right)
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype
    for key in ("interval", "seed", "model", "fu", "regimens", "targets", "n_draws", "n_subjects"):
        assert found.attrs.get(key) == expected.attrs.get(key)


QUESTIONS: dict[str, dict[str, Any]] = {
    "columns": {"draws": COLUMNS, "fu": 0.9},
    "frame": {"draws": pd.DataFrame({**COLUMNS, "who": "x", "extra": np.nan}), "fu": 0.9},
    "fu a draw": {"draws": COLUMNS, "fu": np.linspace(0.2, 1, 500)},
    "mcmc": {"draws": posterior(2, 300, omega=False).assign_attrs(sampling="mcmc"), "fu": 1.0},
    "omega": {"draws": posterior(2, 60), "subjects": 10, "fu": 0.8, "interval": "credible"},
    "tree": {"draws": xr.DataTree.from_dict({"posterior": posterior(1, 50, omega=False)}), "fu": 0.8},
    "lazy": {"draws": posterior(1, 3000, omega=False).chunk(draw=1000), "fu": 0.8},
    "population": {"draws": POPULATION, "n": 300, "seed": 2**64 - 1},
    "thetas": {"draws": {"TVCL": np.linspace(5, 20, 120)}, "population": POPULATION, "subjects": 8},
    "fu of draws and population": {
        "draws": {"TVCL": np.linspace(5, 20, 120)}, "population": POPULATION, "subjects": 4, "fu": np.linspace(0.1, 1, 120),
    },
    "scenarios": {
        "draws": POPULATION, "n": 200, "scenarios": {"z": {"CCr": 30}, "a": {"CCr": 100.5}},
    },
    "design": {
        "draws": POPULATION, "n": 200, "scenarios": {"z": {"CCr": 30}, "a": {"CCr": 100.5}}, "regimens": None,
        "design": [("a", REGIMENS[1]), ("z", tdmx.Regimen(dose=500, tau=12, tinf=1, name="low")), ("z", REGIMENS[1])],
    },
    "window": {"draws": COLUMNS, "fu": 1.0, "window": (24, 48)},
    "window tuple of a target": {
        "draws": COLUMNS,
        "targets": [tdmx.parse_target(TARGET, window=tdmx.Window.of("interval 3")), "Cmax <= 60", "fT>2xMIC >= 0.3 at ELF 0.3"],
        "fu": 1.0,
    },
    "joint": {"draws": COLUMNS, "targets": "fT>MIC >= 50% and Cmin <= 20", "fu": 0.7},
    "weight": {"draws": COLUMNS, "regimens": "15 mg/kg q12h inf 1h", "weight": np.float64(71.3), "fu": 1.0},
    "loading": {"draws": COLUMNS, "regimens": "2 g load inf 30min, then 3 g q24h ci", "targets": "AUC24/MIC >= 40"},
    "no mic": {"draws": COLUMNS, "targets": "AUC24 400..600", "mic": None},
    "isolates": {"draws": COLUMNS, "mic": ISOLATES, "fu": 1},
}  # fmt: skip


def call(spec: dict[str, Any]) -> dict[str, Any]:
    return {"regimens": REGIMENS, "targets": TARGET, "mic": MIC, **spec}


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_pta_calculation__is_tdmx_pta(name: str, known: HereKnown) -> None:
    spec = call(QUESTIONS[name])
    same(answer(PTA, spec, known), tdmx.pta(**spec))


def test_pta_calculation__path_of_a_store_and_dataset_of_it(known: HereKnown, store: Path) -> None:
    spec = call({"draws": str(store), "fu": 0.9, "subjects": 2})
    expected = tdmx.pta(**spec)
    same(answer(PTA, spec, known), expected)
    same(answer(PTA, {**spec, "draws": tdmx.open_draws(store)}, known), expected)
    assert not known.data.exists()  # they are in a store already
    checked = PTA.check(spec, known)
    assert checked.content is not None
    assert str(store) not in json.dumps(checked.content)
    assert checked.spec["draws"]["store"] == str(store.resolve())


def test_pta_calculation__says_what_it_is(known: HereKnown) -> None:
    checked = PTA.check(call({"draws": COLUMNS, "fu": 0.9}), known)
    assert checked.title == "1000 mg q8h inf 3h and 1 more, fT>MIC >= 50%"
    assert (checked.family, checked.size) == ("pta_calculation 1C", 1000.0)
    assert (checked.after, checked.memory_mb) == ((), None)
    large = PTA.check(call({"draws": POPULATION, "n": 10**8}), known)
    assert large.size == 2e8
    many = call({"draws": posterior(4, 50_000), "subjects": 10, "fu": 1.0, "mic": np.geomspace(0.01, 64, 60)})
    assert (PTA.check(many, known).memory_mb or 0) > 300


def test_pta_calculation__names_of_the_seed(known: HereKnown) -> None:
    ours = call({"draws": COLUMNS, "fu": 0.9})
    theirs = {
        "draws": COLUMNS,
        "fu": 0.9,
        "regimen": list(REGIMENS),
        "target_def": TARGET,
        "MIC": MIC,
        "model_type": "1c",
    }
    assert PTA.check(theirs, known) == PTA.check(ours, known)


def test_pta_calculation__equal_questions_have_one_content(known: HereKnown, tmp_path: Path) -> None:
    spec = call({"draws": COLUMNS, "fu": 0.9})
    first = stored(PTA.check(spec, known))
    again = stored(PTA.check({**spec, "draws": {key: value.copy() for key, value in COLUMNS.items()}}, known))
    assert first == again
    elsewhere = PTA.check(spec, HereKnown(tmp_path / "other"))
    assert address(elsewhere.content) == address(first.content)
    others = [{"fu": 0.8}, {"mic": [1]}, {"seed": 5}, {"targets": "fT>MIC >= 60%"}, {"level": 0.9}]
    others += [
        {"draws": {**COLUMNS, "CL": COLUMNS["CL"] * 2}},
        {"breakpoint_level": 0.8},
        {"interval": "monte_carlo"},
    ]
    digests = {address(PTA.check({**spec, **other}, known).content) for other in others}
    assert len(digests | {address(first.content)}) == len(others) + 1


def test_pta_calculation__seed_is_fixed_at_submit(known: HereKnown) -> None:
    import dask

    spec = call({"draws": POPULATION, "n": 50})
    with dask.config.set({"tdmx.seed": 11}):
        checked = stored(PTA.check(spec, known))
    assert checked.spec["seed"] == 11
    assert PTA.check(spec, known).content != checked.content


def test_pta_calculation__warns_once_at_submit(known: HereKnown) -> None:
    spec = call({"draws": COLUMNS})
    with pytest.warns(TdmxWarning, match="fu = 1 assumed"):
        checked = PTA.check(spec, known)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(PTA.run(Work(1, checked.spec, 1), HerePlace()))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"regimen": "x"}, r"spec\.regimen=x: regimens is given twice"),
        ({"regimens": "1000 mg q8h inf 9h"}, r"spec\.regimens\.tinf"),
        ({"regimens": ()}, r"spec\.regimens"),
        ({"regimens": 5}, r"spec\.regimens"),
        ({"targets": "fT>MIC >= 500%"}, r"spec\.targets"),
        ({"targets": None}, r"spec\.targets"),
        ({"target": "AUC24/MIC <= 700", "targets": None}, r"spec\.target"),
        ({"mic": None}, r"spec\.mic"),
        ({"mic": [1, -2]}, r"spec\.mic"),
        ({"mic": [1, np.nan]}, r"spec\.mic"),
        ({"fu": 1.2}, r"spec\.fu"),
        ({"fu": [0.5, 0.6]}, r"spec\.fu"),
        ({"fu": np.full(500, 1.5)}, r"spec\.draws\.fu"),
        ({"fu": "free"}, r"spec\.fu"),
        ({"draws": None}, r"spec\.draws"),
        ({"draws": "nowhere.zarr"}, r"spec\.draws"),
        ({"draws": 5}, r"spec\.draws"),
        ({"draws": {"CL": [1.0, np.nan], "Vc": [1.0, 2.0]}}, r"spec\.draws\.CL"),
        ({"draws": {"CL": [1.0, -1.0], "Vc": [1.0, 2.0]}}, r"spec\.draws\.CL"),
        ({"draws": {"CL": [1.0], "Vd": ["a"]}}, r"spec\."),
        ({"draws": {"CL": [1.0, 2.0]}}, r"spec\."),
        ({"draws": {"parameters": {"CL": 5}}}, r"spec\.draws"),
        ({"population": 5}, r"spec\.population"),
        ({"population": {"parameters": {"CL": "x", "V": 2}}}, r"spec\.population"),
        ({"subjects": 0}, r"spec\.subjects"),
        ({"subjects": 4}, r"spec\.subjects"),
        ({"n": 5}, r"spec\.n="),
        ({"seed": -1}, r"spec\.seed"),
        ({"seed": "one"}, r"spec\.seed"),
        ({"weight": -3, "regimens": "1 mg/kg q8h"}, r"spec\.weight"),
        ({"regimens": "1 mg/kg q8h"}, r"spec\.WT"),
        ({"window": "week"}, r"spec\.targets\.window"),
        ({"interval": "wide"}, r"spec\.interval"),
        ({"interval": "credible"}, r"spec\.interval"),
        ({"level": 1.5}, r"spec\.level"),
        ({"breakpoint_level": 0}, r"spec\.breakpoint_level"),
        ({"scenarios": 3}, r"spec\.scenarios"),
        ({"scenarios": {"a": {"CCr": 3}}}, r"spec\.scenarios"),
        ({"design": 3}, r"spec\.design"),
        ({"design": [("a", "1000 mg q8h")], "regimens": None}, r"spec\.design"),
        ({"model_type": "2C"}, r"spec\.model_type=2C: the draws are of a 1C model"),
        ({"n_workers": 2}, r"spec\.n_workers"),
        ({"regimns": 2}, r"spec\.regimns=2: this key is not known\. Did you mean 'regimens'"),
        ({3: 2}, r"spec\.3"),
    ],
)  # fmt: skip
def test_pta_calculation__wrong_spec_is_refused(change: dict[str, Any], match: str, known: HereKnown) -> None:
    with pytest.raises(InputError, match=match):
        PTA.check({**call({"draws": COLUMNS, "fu": 1.0}), **change}, known)


def test_pta_calculation__no_spec_is_refused(known: HereKnown) -> None:
    with pytest.raises(InputError, match="spec=list: a spec is a mapping"):
        PTA.check([], known)  # type: ignore[arg-type]


def test_pta_calculation__changed_or_lost_store_is_refused(known: HereKnown, tmp_path: Path) -> None:
    path = tmp_path / "draws.zarr"
    tdmx.write_draws(posterior(1, 20, omega=False), path)
    checked = PTA.check(call({"draws": path, "fu": 1.0}), known)
    tdmx.write_draws(posterior(1, 20, omega=False, seed=2), path, overwrite=True)
    import shutil

    with pytest.raises(InputError, match="not what it was when the job was submitted"):
        asyncio.run(PTA.run(Work(1, checked.spec, 1), HerePlace()))
    shutil.rmtree(path)
    with pytest.raises(StoreError, match=r"draws\.zarr"):
        asyncio.run(PTA.run(Work(1, checked.spec, 1), HerePlace()))


def _keep(folder: Path) -> str:
    spec = call({"draws": COLUMNS, "fu": 1.0})
    return str(PTA.check(spec, HereKnown(folder)).spec["draws"]["store"])


def test_pta_calculation__two_processes_keep_one_copy(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_keep, [tmp_path / "data"] * 6, chunksize=1)
    assert len(set(found)) == 1
    assert [each.name for each in (tmp_path / "data").iterdir()] == [Path(found[0]).name]


@pytest.mark.parametrize(
    "spec",
    [
        {"draws": POPULATION, "n": 40_000, "scenarios": {"z": {"CCr": 30}, "a": {"CCr": 100.5}}},
        {"draws": posterior(2, 1500), "subjects": 7, "fu": 0.9},
        {"draws": posterior(1, 120), "subjects": 300, "fu": 0.9, "interval": "monte_carlo"},
    ],
)
@pytest.mark.parametrize("n_pieces", [2, 3])
def test_pta_calculation__same_bits_in_pieces(spec: dict[str, Any], n_pieces: int, known: HereKnown) -> None:
    checked = stored(PTA.check(call(spec), known))
    place = HerePlace(slots=n_pieces)
    work = Work(1, {**checked.spec, "seconds": 7.0}, 1)
    found = decode(asyncio.run(PTA.run(work, place)))
    same(found, tdmx.pta(**call(spec)))
    assert [function.partition(":")[2] for function, _ in place.calls] == ["count_piece"] * n_pieces + [
        "merge_pieces"
    ]
    assert place.steps == [(done, n_pieces) for done in range(1, n_pieces + 1)]
    alone = HerePlace(slots=1)
    asyncio.run(PTA.run(work, alone))
    assert len(alone.calls) == 1


def test_pta_calculation__only_large_ones_are_timed(known: HereKnown) -> None:
    assert PTA.check(call({"draws": POPULATION, "n": 10**6}), known).spec["seconds"] == 0
    checked = PTA.check(call({"draws": POPULATION, "n": 10**9}), known)
    assert checked.spec["seconds"] > 10
    assert checked.content == PTA.check(call({"draws": POPULATION, "n": 10**9}), known).content


def test_pta_calculation__a_piece_that_fails_ends_the_others(known: HereKnown) -> None:
    class Failing(HerePlace):
        ended = 0

        async def call(self, function: str, arguments: Any, *, name: str = "") -> bytes:
            if arguments.get("piece") == 1:
                raise JobLost("job", 1, "its process died")
            try:
                await asyncio.sleep(60)
            finally:
                self.ended += 1
            return b""

    place = Failing(slots=3)
    checked = PTA.check(call({"draws": POPULATION, "n": 100}), known)
    with pytest.raises(JobLost, match="its process died"):
        asyncio.run(PTA.run(Work(1, {**checked.spec, "seconds": 7.0}, 1), place))
    assert place.ended == 2


# --- CFR ------------------------------------------------------------------------------------------------------


def test_cfr_calculation__is_tdmx_cfr(known: HereKnown, tmp_path: Path) -> None:
    wild = tdmx.MICDistribution.parse("0.5:0.3, 1:0.7", organism="wild type")
    ask = {"draws": posterior(2, 60), "subjects": 10, "fu": 0.8, "regimens": REGIMENS, "targets": TARGET}
    pta = tdmx.pta(**ask, mic=[ISOLATES, wild])
    expected = tdmx.cfr(pta, [ISOLATES, wild], level=0.9)
    both = {"distributions": [ISOLATES, str(wild)], "level": 0.9}
    with pytest.raises(InputError, match=r"spec\.pta"):
        CFR.check({"pta": 3.5, **both}, known)
    both = {"isolates": [ISOLATES, wild], "level": 0.9}
    same(answer(CFR, {"pta": pta, **both}, known), expected)
    same(answer(CFR, {"pta": 7, **both}, known, inputs={7: encode(pta)}), expected)
    tdmx.write_result(pta, tmp_path / "pta.zarr")
    same(answer(CFR, {"pta": tmp_path / "pta.zarr", **both}, known), expected)
    mics = [*ISOLATES.mic]
    same(
        answer(CFR, {**ask, **both}, known), tdmx.cfr(tdmx.pta(**ask, mic=mics, level=0.9), [ISOLATES, wild])
    )


def test_cfr_calculation__waits_for_its_job(known: HereKnown) -> None:
    checked = CFR.check({"pta": 7, "distributions": ISOLATES}, known)
    assert checked.after == (7,)
    assert checked.content is not None
    assert "ab" * 32 in json.dumps(checked.content)
    unknown = HereKnown(known.data, {7: ("pta_calculation", None)})
    assert CFR.check({"pta": 7, "distributions": ISOLATES}, unknown).content is None


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"pta": 7}, r"spec\.distributions"),
        ({"pta": 9, "distributions": ISOLATES}, r"spec\.pta\.job=9: there is no such job"),
        ({"pta": 8, "distributions": ISOLATES}, r"spec\.pta=8: that job is a stan_fit"),
        ({"pta": True, "distributions": ISOLATES}, r"spec\.pta"),
        ({"pta": "nowhere", "distributions": ISOLATES}, r"spec\.pta"),
        ({"pta": 7, "distributions": "x"}, r"spec\.distributions"),
        ({"pta": 7, "distributions": [ISOLATES, ISOLATES]}, r"spec\.distributions"),
        ({"pta": 7, "distributions": []}, r"spec\.distributions"),
        ({"pta": 7, "distributions": 4}, r"spec\.distributions"),
        ({"pta": 7, "distributions": ISOLATES, "level": 3}, r"spec\.level"),
        ({"pta": 7, "distributions": ISOLATES, "mic": [1]}, r"spec\.mic"),
        ({"ptas": 7, "distributions": ISOLATES}, r"spec\.ptas=7: .*Did you mean 'pta'"),
        ({**call({"draws": COLUMNS, "fu": 1.0, "mic": [1]}), "distributions": ISOLATES}, r"spec\.mic=0\.5"),
        ({**call({"draws": COLUMNS, "fu": 9.0}), "distributions": ISOLATES}, r"spec\.fu"),
    ],
)  # fmt: skip
def test_cfr_calculation__wrong_spec_is_refused(spec: dict[str, Any], match: str, known: HereKnown) -> None:
    with pytest.raises(InputError, match=match):
        CFR.check(spec, known)


def test_cfr_calculation__damaged_copy_is_refused(known: HereKnown) -> None:
    pta = tdmx.pta(COLUMNS, REGIMENS, TARGET, mic=ISOLATES, fu=1)
    spec = {"pta": pta, "distributions": ISOLATES}
    CFR.check(spec, known)
    (file,) = known.data.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="not what it was"):
        answer(CFR, spec, known)


# --- which regimen ----------------------------------------------------------------------------------------------

GRID: dict[str, Any] = {"doses": [500, 1000], "taus": [6, 8], "tinfs": [0.5, "ci"]}


@pytest.mark.parametrize(
    "spec",
    [
        {**GRID, "mic": 2, "max_daily_dose": 3000},
        {"candidates": REGIMENS, "distributions": [ISOLATES, "0.5:0.3, 1:0.7"], "goal": 0.8},
        {"candidates": {"a": "15 mg/kg q8h"}, "mic": 2, "weight": 70, "seed": 4, "level": 0.9},
    ],
)
def test_optimization__is_tdmx_optimise(spec: dict[str, Any], known: HereKnown) -> None:
    asked = {"draws": COLUMNS, "targets": TARGET, "fu": 0.9, **spec}
    found, expected = answer(OPTIMUM, asked, known), tdmx.optimise(**asked)
    same(found, expected)
    for key in ("best", "reason", "candidates", "goal", "n_left_out"):
        assert found.attrs[key] == expected.attrs[key]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mic": None}, r"spec\.mic"),
        ({"mic": "two"}, r"spec\.mic"),
        ({"goal": 2}, r"spec\.goal"),
        ({"isolates": ISOLATES}, r"spec\.mic"),
        ({"mic": None, "isolates": 4}, r"spec\.distributions"),
        ({"candidates": REGIMENS}, r"spec\.doses"),
        ({"doses": None}, r"spec\.doses"),
        ({"doses": [-1]}, r"spec\.dose=-1"),
        ({"tinfs": 100}, r"spec\.tinfs"),
        ({"taus": object()}, r"spec\.taus"),
        ({"max_daily_dose": 1}, r"spec\.max_daily_dose"),
        ({"draws": {"CL": [1.0]}}, r"spec\."),
        ({"targets": "x"}, r"spec\.targets"),
        ({"dosis": 1}, r"spec\.dosis=1: .*Did you mean 'doses'"),
    ],
)
def test_optimization__wrong_spec_is_refused(change: dict[str, Any], match: str, known: HereKnown) -> None:
    with pytest.raises(InputError, match=match):
        OPTIMUM.check({"draws": COLUMNS, "targets": TARGET, "fu": 1.0, "mic": 2, **GRID, **change}, known)


# --- nouns come back as they were -----------------------------------------------------------------------------

positive = st.floats(1e-3, 1e5, allow_nan=False, exclude_min=True)


@settings(max_examples=60, deadline=None)
@given(
    dose=positive, tau=st.floats(0.1, 96), share=st.floats(0, 1), n=st.none() | st.integers(1, 30), start=st.floats(0, 40),
    per_kg=st.booleans(), load=st.none() | positive, name=st.none() | st.text("abc é%", min_size=1).filter(str.strip),
)  # fmt: skip
def test_regimen_mapping__exact(
    dose: float, tau: float, share: float, n: int | None, start: float, per_kg: bool, load: float | None, name: str | None
) -> None:  # fmt: skip
    loading = () if load is None else (tdmx.DoseEvent(0.0, load, 0.25, per_kg),)
    regimen = tdmx.Regimen(
        dose=dose,
        tau=tau,
        tinf=share * tau,
        n_doses=n,
        start_time=start,
        loading=loading,
        per_kg=per_kg,
        name=name,
    )
    found = tdmx.Regimen.from_mapping(json.loads(json.dumps(regimen_mapping(regimen))))
    assert found == regimen
    assert found.label == regimen.label


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.001, 1), min_size=1, max_size=8), first=st.integers(-6, 2),
    above=st.floats(0, 0.5), n=st.none() | st.integers(1, 500),
)  # fmt: skip
def test_distribution_mapping__exact(weights: list[float], first: int, above: float, n: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TdmxWarning)
        mic = tuple(2.0 ** (first + i) for i in range(len(weights)))
        isolates = tdmx.MICDistribution(
            "one", mic, tuple(weights), above=above, n_isolates=n, source="table 3"
        )
    mapping = json.loads(json.dumps(distribution_mapping(isolates)))
    assert tdmx.MICDistribution.from_mapping(mapping) == isolates
