"""A question from the texts of a form, and its answer: that of the verbs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.dashboard.workbench.question import (
    MOST_REGIMENS,
    QuestionText,
    answer,
    distribution_lines,
    distributions_of_file,
    simple_regimen,
)
from tdmx_dask.dashboard.workbench.sources import Source, of_store, of_study, shipped
from tdmx_dask.errors import InputError, StoreError

TEXTS = QuestionText(
    "1000 mg q8h inf 3h", "fT>MIC >= 50%\nfAUC24/MIC >= 100", distributions="E. coli: 0.5:10, 1:20, 2:5"
)


@pytest.fixture(scope="module")
def source() -> Source:
    return of_study("meropenem_sepsis", "CCr 100-129", 2000)


def test_answer__is_that_of_the_verbs(source: Source) -> None:
    question, wrong = replace(TEXTS, fu="0.98").read(source)
    assert not wrong
    assert question is not None
    found = answer(question)
    study = tdmx.read_study("meropenem_sepsis")
    pta = tdmx.pta(
        study.population, "1000 mg q8h inf 3h", ["fT>MIC >= 50%", "fAUC24/MIC >= 100"], mic=question.mic, n=2000, seed=0, fu=0.98,
        scenarios={"CCr 100-129": {"CCr": 130}},
    )  # fmt: skip
    assert np.array_equal(found.pta.pta.values, pta.pta.values)
    assert found.cfr is not None
    assert np.array_equal(found.cfr.cfr.values, tdmx.cfr(pta, question.distributions).cfr.values)
    assert found.notes == ()


def test_answer__says_what_was_assumed(source: Source) -> None:
    with pytest.warns(tdmx.errors.TdmxWarning, match="normalised"):
        question, _ = replace(TEXTS, distributions="0.5:0.5, 1:0.2").read(source)
    assert question is not None
    with pytest.warns(tdmx.errors.TdmxWarning, match="fu = 1 assumed"):
        notes = answer(question).notes
    assert [text for text in notes if "normalised" in text]
    assert [text for text in notes if "fu = 1" in text]


def test_two_levels__take_subjects(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = np.column_stack([rng.lognormal(2, 0.1, 500), rng.lognormal(3, 0.1, 500)])
    np.savetxt(tmp_path / "draws.csv", table, delimiter=",", header="CL,Vc", comments="")
    draws = tdmx.import_draws(tmp_path / "draws.csv")
    draws["omega"] = (("chain", "draw", "eta", "eta2"), np.tile([[0.09, 0.0], [0.0, 0.04]], (1, 500, 1, 1)))
    draws = draws.assign_coords(eta=["CL", "Vc"], eta2=["CL", "Vc"])
    tdmx.write_draws(draws, tmp_path / "two.zarr")
    source = of_store(str(tmp_path / "two.zarr"))
    assert source.two_level
    question, wrong = replace(TEXTS, subjects="20", fu="1").read(source)
    assert not wrong
    assert question is not None
    assert answer(question).pta.attrs["interval"] == "credible"
    _, wrong = replace(TEXTS, subjects="100000").read(source)
    assert "100,000,000 profiles" in wrong["subjects"]


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"regimens": ""}, "regimens", "there must be a regimen"),
        ({"regimens": "1 g q8h\n1000 mg q8h"}, "regimens", "given twice"),
        (
            {"regimens": "\n".join(f"{k}00 mg q8h" for k in range(1, MOST_REGIMENS + 2))},
            "regimens",
            "at most 8",
        ),
        ({"targets": ""}, "targets", "at least one target"),
        ({"targets": "fT>MIC"}, "targets", "fT>MIC"),
        ({"mic": "a"}, "mic", "numbers in mg/L"),
        ({"mic": ""}, "mic", "mic"),
        ({"distributions": "E. coli: 0.5:1\nE. coli: 1:1"}, "distributions", "the same name"),
        ({"distributions": "E. coli"}, "distributions", "a MIC, a colon and a weight"),
        ({"fu": "2"}, "fu", "0.98"),
        ({"weight": "much"}, "weight", "is a number"),
        ({"level": "100%"}, "level", "0 < level < 1"),
        ({"level": "high"}, "level", "is a number"),
        ({"subjects": "2"}, "subjects", "no between-subject variability"),
        ({"subjects": "1.5"}, "subjects", "1.5"),
        ({"subjects": "9" * 5000}, "subjects", "whole number"),
        (
            {
                "regimens": "\n".join(f"{k} mg q0.5h inf 0.1h x4000" for k in (1, 2, 3)),
                "targets": "fT>MIC >= 50% in 0..2000h",
            },
            "regimens",
            "24,006,000 profiles",
        ),
        ({"distributions": "\n".join(f"o{k}: 1:1" for k in range(60))}, "distributions", "at most 50"),
    ],
)
def test_complaints__stand_at_their_field(
    source: Source, changed: dict[str, str], field: str, message: str
) -> None:
    question, wrong = replace(TEXTS, **changed).read(source)
    assert question is None
    assert message in wrong[field]


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("1 g q8h inf 3h", True), ("2 g q24h ci", True), ("500 mg q6h", True), ("15 mg/kg q8h", False), ("1 g q8h x3", False),
        ("2 g load inf 1h, then 1 g q8h ci", False), ("1000 mg at 0h, 8h inf 1h", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_simple_regimen__is_what_sliders_can_hold(text: str, simple: bool) -> None:
    assert (simple_regimen(text) is not None) == simple


def test_distributions__there_and_back(source: Source) -> None:
    question, _ = TEXTS.read(source)
    assert question is not None
    again, _ = replace(TEXTS, distributions=distribution_lines(question.distributions)).read(source)
    assert again is not None
    assert again.distributions == question.distributions


def test_distributions__of_a_file() -> None:
    found = distributions_of_file("isolates.csv", b"organism,mic,count\nE. coli,0.5,3\nE. coli,1,1\n")
    assert [each.organism for each in found] == ["E. coli"]
    with pytest.raises(InputError, match=r"bad\.csv") as caught:
        distributions_of_file("bad.csv", b"organism,mic,count\nE. coli,0.5,x\n")
    assert "uploaded" not in str(caught.value)


def test_sources__all_shipped_populations_are_there() -> None:
    assert "meropenem_sepsis" in shipped()
    for name, study in shipped().items():
        source = of_study(name, study.scenarios[-1].name, 100)
        assert source.n_draws == 100
        assert not source.two_level


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: of_study("nothing", "all", 10), InputError, "no such population"),
        (lambda: of_study("meropenem_sepsis", "CCr 1", 10), InputError, "no such population"),
        (lambda: of_study("meropenem_sepsis", "CCr 50-84", 10**9), InputError, "at most 200,000"),
        (lambda: of_study("meropenem_sepsis", "CCr 50-84", 0), InputError, "n=0"),
        (lambda: of_store(" "), InputError, "path of a store"),
        (lambda: of_store("nowhere.zarr"), StoreError, r"nowhere\.zarr"),
        (lambda: of_store("~nosuchuser/x"), InputError, "no path"),
        (lambda: of_store("x" * 5000), InputError, "no path"),
        (lambda: of_store("a\0b"), InputError, "no path"),
    ],
)
def test_sources__that_are_none(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
