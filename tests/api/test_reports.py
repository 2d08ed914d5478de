"""The report of a study, a patient and a fit: what it says, and that no text of theirs is markup."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.api.individual import Individual, course_of, fit_individual, level_rows
from tdmx_dask.api.reports import command, report_of
from tdmx_dask.api.study import run_study
from tdmx_dask.domain.patient import read_patient
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.fitting.calibration import predicted
from tests.fitting.stan_programs import NORMAL, NORMAL_DATA
from tests.report.test_html import Page

FEW: dict[str, Any] = {"chains": 2, "iter_warmup": 300, "iter_sampling": 200, "engine": "stanli", "seed": 3}
EVIL = "</title></td><script>alert('x')</script><img src=x onerror=alert(1)>"
SATURABLE = {"Vmax": 200.0, "Km": 8.0, "Vc": 30.0}


def page_of(text: str, folder: Path) -> Page:
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    page = Page(path)
    assert page.open == []
    assert "<script" not in text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "form"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    return page


def facts(page: Page) -> dict[str, str]:
    return {row[0][0]: row[1][0] for table in page.every for row in table if len(row) == 2}


@pytest.fixture(scope="module")
def individual(tmp_path_factory: pytest.TempPathFactory) -> Individual:
    folder = tmp_path_factory.mktemp("patient")
    patient = replace(read_patient("meropenem_tdm"), id=EVIL, title=EVIL, description=EVIL, source=EVIL)
    return fit_individual(patient, folder / "out", library=folder / "library", **FEW)


def test_report_of_a_patient(individual: Individual, tmp_path: Path) -> None:
    assert individual.out is not None
    written = (individual.out / "report.html").read_text(encoding="utf-8")
    page = page_of(written, tmp_path)
    said = facts(page)
    assert said["Patient"] == EVIL
    assert said["Doses given"] == "1000 mg q8h inf 0.5h x6"
    assert said["CCr"] == "75 mL/min/1.73m2"
    assert said["Residual error"].startswith("proportional; proportional 0.15, SD of its log 0.294")
    assert said["Source"].startswith("Fukumoto S et al., Ther Drug Monit 2023")
    assert said["Divergent draws"] == "0"
    assert said["Draws"] == "400"
    assert said["seed"] == "3"
    assert said["digest of the program"] == individual.fit.attrs["program_digest"]
    assert "python" in said["versions"]
    assert "pytest" in said["command"]
    assert "attained with a probability of at least 90 % under" in page.text.replace("\u00a0", " ")
    assert page.text.count("1 of 2 levels lies outside of what the fitted model makes: these numbers") == 2
    assert "of patients" not in page.text
    assert "finite number of draws" in page.text
    posterior = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Parameter" and len(sheet[0]) == 9)
    summary = individual.fit.summary()
    for row in posterior[1:]:
        cells = [text for text, _ in row]
        assert float(cells[2]) == pytest.approx(float(summary.loc[cells[0], "q50"]), rel=0.005)
        assert float(cells[6]) == pytest.approx(float(summary.loc[cells[0], "r_hat"]), abs=0.0006)
    assert float(posterior[1][4][0]) == pytest.approx(individual.prior["CL"][0], rel=0.005)
    captions = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert captions[:3] == ["Posterior and prior", "Chains", "Measured levels on the predicted course"]


def test_report_of_a_patient__marks_the_levels_that_the_fit_does_not_explain(
    individual: Individual, tmp_path: Path
) -> None:
    rows = level_rows(individual)
    far = [not row["replicated_q5"] <= row["measured"] <= row["replicated_q95"] for row in rows]  # type: ignore[operator]
    assert far == [True, False]
    page = page_of(report_of(individual), tmp_path)
    assert "1 of 2 levels lies outside the 90 % interval" in page.text.replace("\u00a0", " ")
    marked = [
        attributes for tag, attributes in page.tags if tag == "tr" and attributes.get("class") == "marked"
    ]
    assert len(marked) == 1
    levels = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Time (h)")
    assert [row[-1][0] for row in levels[1:]] == ["outside", ""]


def test_course_of_a_patient__peaks_where_an_infusion_ends(individual: Individual) -> None:
    course = course_of(individual)
    assert course is not None
    assert {40.0, 40.5, 41.0, 47.5} <= set(course.time.values.tolist())
    draws = individual.fit.draws
    columns = np.stack([draws[name].values.ravel() for name in ("CL", "Vc", "Q1", "Vp1")], axis=1)
    doses = individual.patient.doses
    data = {"level_time": [40.5, 41.0, 47.5], "dose_time": [dose.time for dose in doses]}
    data |= {"dose_amount": [dose.amount for dose in doses], "dose_tinf": [dose.tinf for dose in doses]}
    every = np.quantile(predicted(data, columns), (0.05, 0.5, 0.95), axis=0)
    at = course.sel(time=data["level_time"])
    np.testing.assert_allclose([at[name] for name in ("q5", "q50", "q95")], every, rtol=1e-9)
    assert course.time.values[course["q50"].values.argmax()] == 40.5
    rows = level_rows(individual)
    np.testing.assert_array_equal([row["replicated_q95"] for row in rows], course["level_q95"])
    np.testing.assert_allclose([row["predicted"] for row in rows], every[1, 1:], rtol=1e-9)
    np.testing.assert_allclose([row["predicted_q95"] for row in rows], every[2, 1:], rtol=1e-9)


def test_report_of__what_is_given_counts(individual: Individual, tmp_path: Path) -> None:
    pta = tdmx.pta(individual.fit.draws, "500 mg q6h", "fT>MIC >= 40%", mic=[1, 2])
    text = report_of(
        individual,
        pta=pta,
        title="Bed 4",
        notes=[EVIL],
        about=["Why"],
        figures={EVIL: f"<svg>{EVIL}</svg>"},
        provenance={EVIL: EVIL},
    )
    page = page_of(text, tmp_path)
    assert "500 mg q6h" in page.text
    assert "2000 mg q8h" not in page.text
    assert facts(page)[EVIL] == EVIL
    assert page.source.count("<title>Bed 4</title>") == 1
    assert "Cumulative fraction" not in page.text


def test_report_of_a_patient__saturable_has_no_pta(tmp_path: Path) -> None:
    given = read_patient("meropenem_tdm")
    priors = {name: {"median": median, "omega": 0.2} for name, median in SATURABLE.items()}
    few = {**FEW, "iter_warmup": 150, "iter_sampling": 100, "library": tmp_path / "library"}
    found = fit_individual(given, tmp_path / "out", model="michaelis_menten", priors=priors, **few)
    assert found.pta is None
    page = page_of((tmp_path / "out" / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert {"Vmax", "Km", "Vc"} <= {row[0][0] for sheet in page.sheets for row in sheet}
    assert "PTA and CFR of a saturable model are not computed yet" in page.text
    captions = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert captions == ["Posterior and prior", "Chains", "Measured levels and their replicates"]
    assert "Probability of target attainment" not in page.text
    assert [sheet for sheet in page.sheets if sheet[0][0][0] == "Time (h)"]


def test_report_of_a_fit__and_of_any_program(individual: Individual, tmp_path: Path) -> None:
    page = page_of(report_of(individual.fit), tmp_path)
    assert "The draws are sound" in page.text or "Do not dose by these draws yet" in page.text
    assert facts(page)["Method"] == "nuts"
    mine = tdmx.fit(program=NORMAL, data=NORMAL_DATA, name=EVIL, library=tmp_path / "library", **FEW)
    other = page_of(report_of(mine), tmp_path)
    assert "mu" in [row[0][0] for sheet in other.sheets for row in sheet]


def test_report_of_a_study(tmp_path: Path) -> None:
    study = replace(tdmx.read_study("meropenem_sepsis"), n=300, title=EVIL)
    result = run_study(study, progress=False)
    page = page_of(report_of(result), tmp_path)
    assert page.text.count("Not a medical device") == 2
    regimens = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Regimen")
    assert [[text for text, _ in row] for row in regimens[1:3]] == [
        ["1000 mg q8h inf 0.5h", "1,000 mg", "8", "0.5", "3,000 mg", "1.5"],
        ["1000 mg q8h inf 3h", "1,000 mg", "8", "3", "3,000 mg", "9"],
    ]
    parameters = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Parameter")
    assert [text for text, _ in parameters[1]][:3] == ["CL", "13.6 * (CCr / 87.6)**0.66", "L/h"]
    assert parameters[1][3][0].startswith("CV 22.1 %")
    scenarios = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Scenario")
    assert len(scenarios) == 1 + len(study.scenarios)
    assert "of patients with" in page.text
    assert facts(page)["seed"] == str(study.seed)
    assert facts(page)["Simulated profiles"] == "300"


def test_report_of_a_pta_alone(tmp_path: Path) -> None:
    population = tdmx.Population.from_mapping(
        {"name": EVIL, "parameters": {"CL": 5, "Vc": 20}, "bsv": {"CL": {"cv": 0.3}}}
    )
    isolates = tdmx.MICDistribution.parse("1:0.5, 2:0.5", organism=EVIL)
    regimens = [tdmx.Regimen(1000, 8, name=EVIL), tdmx.Regimen.parse("15 mg/kg q8h inf 1h")]
    pta = tdmx.pta(population, regimens, "T>MIC >= 50%", mic=isolates, n=100, weight=70)
    page = page_of(report_of(pta=pta, cfr=tdmx.cfr(pta, isolates)), tmp_path)
    assert page.text.count("Research use only") == 2
    assert EVIL in [row[0][0] for sheet in page.sheets for row in sheet]
    assert "45 mg/kg" in page.text
    assert facts(page)["Body weight WT"] == "70 kg"
    assert facts(page)["Body weight (kg)"] == "WT 70"
    assert facts(page)["Model"] == "1C"
    cut = pta.isel(regimen=0, scenario=0, target=0)
    assert "T>MIC" in page_of(report_of(pta=cut), tmp_path).text
    assert np.isfinite(pta.pta).all()


def test_report__says_what_every_number_depends_on(tmp_path: Path) -> None:
    population = tdmx.Population.from_mapping(
        {"name": "x", "parameters": {"CL": 5, "Vc": 20}, "bsv": {"CL": {"cv": 0.3}}}
    )
    targets = [
        "fT>MIC >= 50%",
        "fAUC24/MIC >= 50",
        "Cmax <= 60 in day1",
        "all of (fT>MIC >= 50% in 24..48h; C@48h >= 1)",
    ]
    asked = {"n": 50, "mic": [1, 2], "weight": 120}
    pta = tdmx.pta(population, "15 mg/kg q8h inf 3h", targets, fu=0.35, **asked)
    assert json.loads(pta.attrs["weights"]) == {"WT": 120.0}
    page = page_of(report_of(pta=pta), tmp_path)
    question = facts(page)
    assert question["Unbound fraction (fu)"] == "0.35"
    windows = next(sheet for sheet in page.sheets if sheet[0][0][0] == "Target")
    assert [row[1][0] for row in windows[1:]] == [
        "one dosing interval at steady state", "mean day at steady state", "the first 24 h", "24 to 48 h; at 48 h",
    ]  # fmt: skip
    said = "Targets that name no window are counted at steady state: over one dosing interval, AUC24 over its mean day."
    assert said in page.text
    with pytest.warns(TdmxWarning, match="fu = 1 assumed"):
        assumed = tdmx.pta(population, "1 g q8h", "fT>MIC >= 50% in day1", n=50, mic=[1, 2])
    page = page_of(report_of(pta=assumed), tmp_path)
    assert "steady state" not in page.text
    assert "1 (assumed: none was given)" in [
        row[1][0] for sheet in page.sheets for row in sheet if len(row) == 2
    ]


@pytest.mark.parametrize(
    ("covariates", "scenarios", "said"),
    [
        ({"WT": {"value": 80, "unit": "kg"}}, None, "of the population"),
        ({"WT": {"unit": "kg"}}, {"light": {"WT": 50}, "heavy": {"WT": 100}}, "of the scenario"),
    ],
)
def test_report__says_whose_weight(covariates: Any, scenarios: Any, said: str, tmp_path: Path) -> None:
    population = tdmx.Population.from_mapping(
        {
            "name": "x",
            "parameters": {"CL": "5 * WT / 70", "Vc": 20},
            "covariates": covariates,
            "bsv": {"CL": {"cv": 0.3}},
        }
    )
    pta = tdmx.pta(population, "15 mg/kg q8h inf 3h", "T>MIC >= 50%", n=50, mic=[1, 2], scenarios=scenarios)
    page = page_of(report_of(pta=pta), tmp_path)
    assert said in [row[1][0] for sheet in page.sheets for row in sheet if row[0][0] == "Body weight WT"]
    heads = [text for sheet in page.sheets for text, _ in sheet[0] if text.startswith("WT")]
    assert heads == (["WT (kg)"] if scenarios else [])


def test_command__is_none_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/venv/lib/python3.11/site-packages/ipykernel_launcher.py", "-f", "x.json"]
    )
    assert command() == ""
    monkeypatch.setattr("sys.argv", ["/usr/bin/tdmx", "run", "a b.yaml"])
    assert command() == "tdmx run 'a b.yaml'"


@pytest.mark.parametrize("what", [None, 3, "fit"])
def test_report_of__nothing_is_refused(what: Any) -> None:
    with pytest.raises(
        ValueError, match=r"what=\w+: a report is of a study's, a patient's or a fit's result"
    ):
        report_of(what)
