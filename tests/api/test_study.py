"""A study from end to end: what it computes, what it writes, how it goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tdmx_dask.api.deviation import deviations
from tdmx_dask.api.records import cfr_rows, pta_rows, write_csv
from tdmx_dask.api.results import simulated_draws
from tdmx_dask.api.study import run_study
from tdmx_dask.api.verbs import pta
from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.study import Study, read_study
from tdmx_dask.errors import InputError
from tdmx_dask.store.draws import open_draws
from tdmx_dask.store.results import open_result

SMALL = """
name: small
n: 3000
fu: 0.9
seed: 4
population: {model: 1C, parameters: {CL: "10 * (CCr / 80)", Vc: 20}, covariates: {CCr: {unit: mL/min}}, bsv: {CL: {cv: 0.3}}}
scenarios:
  - {name: low, covariates: {CCr: 40}, regimens: [1 g q8h inf 30min]}
  - {name: high, covariates: {CCr: 120}, regimens: [1 g q8h inf 30min, 1 g q8h inf 3h]}
targets: [fT>MIC >= 50%, Cmax <= 60]
mic: 0.5..16
distributions: {organism: example, text: "1:0.5, 4:0.5", illustrative: true}
"""


def small(extra: str = "") -> Study:
    return Study.from_mapping(parse_yaml(SMALL + extra))


@pytest.fixture(scope="module")
def result():
    return run_study(small(), progress=False)


def test_run__pairs_alone(result):
    simulated = result.pta["n_simulated"].values
    assert simulated.tolist() == [[[3000, 3000], [0, 0]], [[3000, 3000], [3000, 3000]]]
    assert np.isnan(result.pta["pta"].values[0, 1]).all()


def test_run__is_the_verb(result):
    study = result.study
    alone = pta(
        study.population,
        ["1 g q8h inf 3h"],
        ["fT>MIC >= 50%"],
        mic=study.mic,
        n=3000,
        fu=0.9,
        seed=4,
        scenarios={"high": {"CCr": 120}},
    )
    np.testing.assert_array_equal(
        alone["n_attained"].values[0, 0, 0],
        result.pta["n_attained"].sel(scenario="high", regimen="1000 mg q8h inf 3h").values[0],
    )


def test_run__cfr_is_the_mean_over_isolates(result):
    cell = {"scenario": "high", "regimen": "1000 mg q8h inf 3h", "target": "fT>MIC ≥ 50%"}
    expected = result.pta["pta"].sel(cell).sel(mic=[1, 4]).mean().item()
    assert result.cfr is not None
    assert result.cfr["cfr"].sel(cell).item() == pytest.approx(expected, abs=1e-12)


def test_rows__one_for_a_target_without_mic(result):
    rows = pta_rows(result.pta)
    assert len(rows) == 3 * 6 + 3
    without = [row for row in rows if row["target"] == "Cmax ≤ 60 mg/L"]
    assert [row["mic"] for row in without] == [None] * 3
    assert {row["scenario"] for row in rows} == {"low", "high"}
    assert len(cfr_rows(result.cfr)) == 6


def test_csv__round_trip(result, tmp_path):
    rows = pta_rows(result.pta)
    write_csv(rows, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [float(row["pta"]) for row in found] == [row["pta"] for row in rows]
    assert found[-1]["mic"] == ""


def test_draws__are_those_that_were_counted(result):
    draws = simulated_draws(result.study)
    assert draws is not None
    again = pta(
        draws.sel(scenario="high").drop_vars("scenario"),
        ["1 g q8h inf 3h"],
        ["fT>MIC >= 50%"],
        mic=result.study.mic,
        fu=0.9,
    )
    np.testing.assert_array_equal(
        again["n_attained"].values.ravel(),
        result.pta["n_attained"].sel(scenario="high", regimen="1000 mg q8h inf 3h").values[0],
    )


def test_folder__holds_everything(tmp_path):
    published = (
        "published: {source: Table 1, unit: percent, tolerance_pp: 100, target: fT>MIC >= 50%,"
        " columns: [scenario, regimen, 1, 4], rows: [[low, 1 g q8h inf 30min, 99, 50]]}"
    )
    done = run_study(small(published), tmp_path / "r", progress=False)
    out = tmp_path / "r"
    assert done.out == out
    assert {path.name for path in out.iterdir()} == {
        "draws.zarr", "pta.zarr", "cfr.zarr", "pta.csv", "cfr.csv", "published.csv", "pta.png", "pta.svg",
        "report.html", "run.json",
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["seed"] == 4
    assert record["as read"]["targets"] == ["fT>MIC >= 50%", "Cmax <= 60"]
    assert record["published"]["cells"] == 2
    assert record["where"]["mode"] == "direct"
    assert set(record["versions"]) >= {"python", "numpy", "dask", "zarr", "tdmx-dask"}
    assert record["digests"]["draws"] == open_draws(out / "draws.zarr").attrs["digest"]
    np.testing.assert_array_equal(open_result(out / "pta.zarr")["pta"].values, done.pta["pta"].values)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in page.lower()
    assert (out / "pta.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "pta.svg").read_text()


def test_folder__exists(tmp_path):
    (tmp_path / "r").mkdir()
    with pytest.raises(InputError, match="overwrite"):
        run_study(small(), tmp_path / "r", progress=False)


def test_folder__nothing_left_of_a_failure(tmp_path):
    with pytest.raises(InputError, match="n_workers=0"):
        run_study(small(), tmp_path / "r", n_workers=0, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_run__from_a_store(tmp_path):
    first = run_study(small(), tmp_path / "r", progress=False)
    text = (
        "draws: r/draws.zarr\nregimens: [1 g q8h inf 30min]\ntargets: fT>MIC >= 50%\nmic: 0.5..16\nfu: 0.9\n"
    )
    (tmp_path / "again.yaml").write_text(text + "scenarios: [{name: low}, {name: high}]\n")
    again = run_study(tmp_path / "again.yaml", tmp_path / "s", progress=False)
    np.testing.assert_array_equal(
        again.pta["n_attained"].values[:, 0, 0],
        first.pta["n_attained"].sel(regimen="1000 mg q8h inf 0.5h").values[:, 0],
    )
    record = json.loads((tmp_path / "s" / "run.json").read_text())
    assert record["draws"] == str(tmp_path / "r" / "draws.zarr")
    assert not (tmp_path / "s" / "draws.zarr").exists()


def test_run__from_a_csv_file(tmp_path):
    (tmp_path / "d.csv").write_text("CL,Vc\n5,20\n50,20\n")
    text = "draws: d.csv\nregimens: 1 g q8h\ntargets: T>MIC >= 50%\nmic: [2]\n"
    (tmp_path / "s.yaml").write_text(text)
    assert run_study(tmp_path / "s.yaml", progress=False).pta["pta"].values.item() == 0.5


def test_run__two_levels(tmp_path):
    draws = tmp_path / "d.zarr"
    import xarray as xr

    from tdmx_dask.store.draws import write_draws

    rng = np.random.default_rng(2)
    typical = xr.Dataset(
        {
            "TVCL": (("chain", "draw"), np.exp(rng.normal(2, 0.1, (2, 200)))),
            "TVV": (("chain", "draw"), np.full((2, 200), 20.0)),
        },
        attrs={"sampling": "mcmc"},
    )
    write_draws(typical, draws)
    text = "draws: d.zarr\nsubjects: 50\npopulation: {model: 1C, thetas: {TVCL: 8, TVV: 20}, parameters: {CL: TVCL, Vc: TVV},"
    text += " bsv: {CL: {cv: 0.3}}}\nregimens: 1 g q8h\ntargets: T>MIC >= 50%\nmic: [2, 4, 8]\n"
    (tmp_path / "s.yaml").write_text(text)
    found = run_study(tmp_path / "s.yaml", progress=False)
    assert found.pta.attrs["interval"] == "credible"
    assert found.pta["n_simulated"].values.item() == 400 * 50


def test_checkpoint__must_be_answered(tmp_path):
    (tmp_path / "r.checkpoint").write_bytes(b"")
    with pytest.raises(InputError, match=r"an interrupted run left its counts here\. Go on with --resume"):
        run_study(small(), tmp_path / "r", progress=False)
    run_study(small(), tmp_path / "r", overwrite=True, progress=False)
    assert not (tmp_path / "r.checkpoint").exists()


def test_deviations__cell_by_cell(result):
    published = (
        "published: {source: s, unit: percent, tolerance_pp: 2, columns: [scenario, regimen, target, mic, pta],"
        " rows: [[low, 1 g q8h inf 30min, Cmax <= 60, ~, 50], [high, 1 g q8h inf 3h, fT>MIC >= 50%, 16, 0]],"
        " exclude: {reason: typo, columns: [scenario, regimen, target], rows: [[low, 1 g q8h inf 30min, Cmax <= 60]]}}"
    )
    study = small(published)
    assert study.published is not None
    first, second = deviations(result.pta, study.published)
    assert not first.judged
    assert second.judged
    value = result.pta["pta"].sel(scenario="high", regimen="1000 mg q8h inf 3h", mic=16).values[0]
    assert second.computed == value
    assert second.difference == pytest.approx(value)
    assert second.within == (value <= 0.02)


@pytest.mark.parametrize("name", ["meropenem_sepsis", "fluconazole_auc", "teicoplanin_loading"])
def test_shipped__published_tables_are_met(name):
    """Fukumoto 2023 (3 points), Adamiszak 2025 (2.5 and rounding), Fu 2022 (3 SE of n = 1,000); sources in the files."""
    found = run_study(read_study(name), progress=False)
    beyond = [each for each in found.comparison if each.judged and not each.within]
    assert beyond == []
    assert len(found.comparison) > 50


def test_shipped__seed_workloads():
    found = run_study("seed_workloads", progress=False)
    assert (found.pta["pta"].sel(mic=2) == 1).all()
    assert found.cfr is not None
    assert found.cfr["cfr"].min() > 0.99


def test_run__path_of_a_study_that_is_none():
    with pytest.raises(InputError, match="study=nowhere: there is no such file"):
        run_study(Path("nowhere"))
