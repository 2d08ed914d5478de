"""A patient from the texts of a form: the same as from a file, and complaints at the right field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tdmx_dask.dashboard.workbench.patient_text import PatientText, patients_of_file, read_level_lines
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.patient import Patient, read_patient
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.question import ask

SHIPPED = read_patient("meropenem_tdm")
TEXTS = PatientText.of(SHIPPED)
CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_texts__of_a_patient_ask_the_same_of_the_engine() -> None:
    patient, wrong = TEXTS.read()
    assert not wrong
    assert patient is not None
    first, second = ask(SHIPPED), ask(patient)
    assert first.program == second.program
    assert {key: str(value) for key, value in first.data.items()} == {
        key: str(value) for key, value in second.data.items()
    }


def test_texts__as_people_write_them() -> None:
    assert TEXTS.spread == {"CL": "cv 22.1%", "Vc": "cv 23%"}
    assert TEXTS.error == "proportional 0.15 cv 30%"
    assert TEXTS.levels.split() == ["41", "12.3", "47.5", "6.1"]


def test_texts__with_correlations_and_a_saturable_model() -> None:
    mapping = {
        "regimen": "500 mg q12h x4", "levels": [{"time": 10, "value": 3}], "model": "michaelis_menten",
        "priors": {"Vmax": {"median": 300, "omega": 0.3}, "Km": {"median": 5, "cv": "40%"}, "Vc": 20, "correlations": {"Vmax, Km": 0.5}},
        "error": "proportional 10%",
    }  # fmt: skip
    from tdmx_dask.domain.error_model import ErrorModel

    patient = Patient.from_mapping({**mapping, "error": ErrorModel.parse("proportional 10%").to_mapping()})
    again, wrong = PatientText.of(patient).read()
    assert not wrong
    assert again is not None
    assert str(ask(again).data) == str(ask(patient).data)


def test_texts__keep_a_prior_that_they_cannot_hold() -> None:
    population = {
        "model": "1C", "parameters": {"CL": "TV * WT / 70", "Vc": 30}, "thetas": {"TV": 5}, "covariates": {"WT": {"unit": "kg"}},
        "bsv": {"CL": {"cv": 0.3}},
    }  # fmt: skip
    patient = Patient.from_mapping(
        {
            "regimen": "500 mg q12h x4",
            "levels": [{"time": 10, "value": 3}],
            "population": population,
            "covariates": {"WT": "70 kg"},
        }
    )
    texts = PatientText.of(patient)
    assert texts.kept == patient.priors
    again, wrong = texts.read()
    assert not wrong
    assert again is not None
    assert again.priors == patient.priors


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"varying": ("CCr",), "covariates": {}}, "it changes within the record"),
        ({"run_in": 1.0}, "of the steady state unreached"),
    ],
)
def test_texts__keep_what_speaks_against_a_fit(changed: dict[str, object], message: str) -> None:
    record = replace(SHIPPED, **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        ask(record)
    patient, wrong = PatientText.of(record).read()
    assert patient is None
    assert [text for text in wrong.values() if message in text]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("41 12.3\n47.5 6.1", (Level(41, 12.3), Level(47.5, 6.1))),
        ("41,12.3\n\n47.5,<0.5", (Level(41, 12.3), Level(47.5, 0.5, below=True))),
        ("time;level\n41 h;12.3 mg/L", (Level(41, 12.3),)),
        ("41 h <0.5 mg/L", (Level(41, 0.5, below=True),)),
        ("90 min\t820 ng/mL", (Level(1.5, 0.82),)),
        ("", ()),
    ],
)
def test_levels__as_they_are_pasted(text: str, levels: tuple[Level, ...]) -> None:
    assert read_level_lines(text) == levels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("41", "line 1=41: a line has a time"),
        ("41 12.3\n42 -1", "line 2"),
        ("41;12,3", "decimal point"),
        ("41 12.3 mmol/L", "mass per volume"),
        ("41, 12.3, 7", "a line has a time"),
    ],
)
def test_levels__that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_level_lines(text)


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"id": " "}, "id", "a text of one line"),
        ({"model": "4C"}, "model", "no such model"),
        ({"typical": {**TEXTS.typical, "CL": ""}}, "typical.CL", "a typical value is wanted"),
        ({"typical": {**TEXTS.typical, "CL": "13 * XX"}}, "typical.CL", "neither theta nor covariate"),
        ({"typical": {**TEXTS.typical, "Vc": "-3"}}, "typical.Vc", "Vc"),
        ({"spread": {"CL": "22"}}, "spread.CL", "22%"),
        ({"spread": {"CL": "sd 0.2"}}, "spread.CL", "omega 0.23"),
        ({"correlations": "CL, Vc: 1.5"}, "correlations", "1.5"),
        ({"correlations": "CL Vc"}, "correlations", "Write CL, Vc: 0.4"),
        ({"covariates": "CCr much"}, "covariates", "no value of a covariate"),
        ({"covariates": "CCr 75 mL/min"}, "covariates", "another quantity"),
        ({"covariates": ""}, "covariates", "CCr"),
        ({"covariates": "CCr 75\nCCr 750"}, "covariates", "CCr: it is given twice"),
        ({"units": "CCr mL/min\nCCr mL/min/1.73m2"}, "units", "given twice"),
        ({"correlations": "CL, Vc: 0.5\nCL, Vc: 0.4"}, "correlations", "given twice"),
        ({"correlations": "CL, Vc: +-3"}, "correlations", "two parameters and their correlation"),
        ({"units": "CCr"}, "units", "its unit"),
        ({"units": "CCr furlongs"}, "covariates", "furlongs"),
        ({"units": ""}, "typical.CL", "neither theta nor covariate"),
        ({"regimen": "1 g sometimes"}, "regimen", "1 g sometimes"),
        ({"regimen": "15 mg/kg q12h x4"}, "covariates", "body weight"),
        ({"levels": "0 12"}, "levels", "later than the first dose"),
        ({"error": "proportional"}, "error", "has its figures"),
        ({"error": "additive 5000"}, "error", "mg/L"),
        ({"fu": "98"}, "fu", "0.98"),
        ({"fu": "most"}, "fu", "a fraction is wanted"),
    ],
)
def test_complaints__stand_at_their_field(changed: dict[str, object], field: str, message: str) -> None:
    patient, wrong = replace(TEXTS, **changed).read()  # type: ignore[arg-type]
    assert patient is None
    assert message in wrong[field]


def test_files__yaml_and_csv() -> None:
    one = patients_of_file("bed.yaml", (CONFIG / "patients" / "meropenem_tdm.yaml").read_bytes())
    assert [each.id for each in one] == ["meropenem_tdm"]
    many = patients_of_file("cohort.csv", (CONFIG / "patients" / "example_cohort.csv").read_bytes())
    assert len(many) == 12


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"regimen: [", "a.yaml"),
        ("a.yaml", b"nothing: 1", "nothing"),
        ("a.csv", b"\xff\xfe", "UTF-8|columns|a.csv"),
        ("a.csv", b"", "empty|a.csv"),
        ("a.yaml", b"id: a\n" * 400_000, "at most 2,000,000 bytes"),
    ],
)
def test_files__that_hold_no_patient(name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        patients_of_file(name, content)
    assert "/tmp" not in str(caught.value)  # noqa: S108  (where it lay is nobody's business)
    assert "uploaded" not in str(caught.value)
