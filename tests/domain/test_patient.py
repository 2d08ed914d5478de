"""Patients: what they hold, what they refuse, and the one that is shipped."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.doses import DoseEvent
from tdmx_dask.domain.error_model import ErrorModel
from tdmx_dask.domain.level import Level
from tdmx_dask.domain.patient import Patient, as_patient, read_patient, shipped_patients
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.prior import PriorSet
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.errors import InputError

BASE = "regimen: 1000 mg q8h inf 30min x6\nlevels: [{time: 41h, value: 12.3}]\n"


def patient(text: str = "", base: str = BASE) -> Patient:
    return Patient.from_mapping(parse_yaml(base + text, file="p.yaml"))


# --- laws

doses = st.lists(
    st.builds(
        DoseEvent,
        st.floats(0, 500, allow_nan=False),
        st.floats(1, 3e3, allow_nan=False),
        st.sampled_from([0.0, 0.5, 1 / 3, 3.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
levels = st.lists(st.builds(Level, st.floats(501, 1e3), st.floats(0.01, 100), st.booleans()), max_size=6)
covariates = st.fixed_dictionaries(
    {"WT": st.one_of(st.floats(1, 200), st.just("3200 g"), st.just("70 kg"))},
    optional={
        "CCr": st.one_of(st.floats(0, 500), st.just("75 mL/min/1.73m2"), st.just("75 mL/min")),
        "SEX": st.sampled_from(["female", "male"]),
    },
)
patients = st.builds(
    Patient,
    id=st.one_of(st.just("<script>alert(1)</script>"), st.just("a & b; 'c' ../d"), st.just("Ä-1")),
    regimen=doses.map(Regimen.from_events),
    levels=levels,
    covariates=covariates,
    fu=st.one_of(st.none(), st.floats(0.01, 1)),
    error=st.sampled_from([None, ErrorModel.from_mapping({"additive": 0.5})]),
    title=st.sampled_from(["", "a title: with colon"]),
)


@given(patients)
def test_patient__round_trip(one):
    mapping = one.to_mapping()
    assert Patient.from_mapping(json.loads(json.dumps(mapping))) == one
    assert Patient.from_mapping(parse_yaml(yaml.safe_dump(mapping, allow_unicode=True))) == one
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301


@given(doses, levels, st.randoms())
def test_patient__order_is_free(events, measured, random):
    one = Patient(id="A", regimen=Regimen.from_events(events), levels=measured, covariates={"WT": 70})
    random.shuffle(events)
    random.shuffle(measured)
    assert Patient(id="A", regimen=Regimen.from_events(events), levels=measured, covariates={"WT": 70}) == one


@given(doses)
def test_patient__doses_are_mg(events):
    one = Patient(id="A", regimen=Regimen.from_events(events), covariates={"WT": "2500 g"})
    given_mg = sorted((e.time, e.amount * (2.5 if e.per_kg else 1), e.tinf) for e in events)
    assert sorted((e.time, e.amount, e.tinf) for e in one.doses) == given_mg
    assert not any(each.per_kg for each in one.doses)


def test_patient__endless_regimen_ends_before_the_last_level():
    endless = Patient(id="A", regimen="1000 mg q8h inf 30min", levels=[(40, 2), (41, 12)])
    counted = Patient(id="A", regimen="1000 mg q8h inf 30min x6", levels=[(40, 2), (41, 12)])
    assert endless.doses == counted.doses
    at_dose = Patient(id="A", regimen="1000 mg q8h inf 30min", levels=[(40, 2)])
    assert [each.time for each in at_dose.doses] == [0, 8, 16, 24, 32]
    assert len(Patient(id="A", regimen="1000 mg q8h").doses) == 1


def test_patient__counted_doses_are_those_before_the_last_level():
    one = Patient(id="A", regimen="1000 mg q8h inf 30min x9", levels=[(40, 2)])
    assert [each.time for each in one.counted_doses] == [
        0,
        8,
        16,
        24,
        32,
    ]  # the level is just before the dose at 40 h
    assert len(Patient(id="A", regimen="1000 mg q8h x9").counted_doses) == 9


def test_patient__replicates_stay():
    assert (
        len(patient("", BASE.replace("}]", "}, {time: 41h, value: 12.3}, {time: 41h, value: 12.9}]")).levels)
        == 3
    )


# --- the document


def test_patient__doses_and_pairs():
    one = patient(
        base="doses: [{time: 0, dose: 2 g, tinf: 30min}, [8, 1000, 0.5]]\nlevels: [[9, 20], [15.5, '<0.5']]\n"
    )
    assert [(d.time, d.amount, d.tinf) for d in one.doses] == [(0, 2000, 0.5), (8, 1000, 0.5)]
    assert one.levels == (Level(9, 20), Level(15.5, 0.5, below=True))


def test_patient__levels_may_be_missing():
    for base in ("regimen: 1 g q8h x2\n", "regimen: 1 g q8h x2\nlevels: []\n"):
        assert patient(base=base).levels == ()


def test_patient__weight_of_the_doses():
    base = "regimen: 15 mg/kg of IBW q12h x2\nlevels: [[13, 20]]\n"
    one = patient("covariates: {IBW: 60 kg, WT: 120 kg}", base)
    assert one.doses[0].amount == 900
    with pytest.raises(
        InputError, match=re.escape("covariates.IBW=null: a dose in mg/kg needs a body weight")
    ):
        patient("covariates: {WT: 120 kg}", base)
    with pytest.raises(InputError, match=r"a body weight must be a finite number >= 0\.2 and <= 650 kg"):
        patient("covariates: {IBW: 3200}", base)
    with pytest.raises(InputError, match="a body weight is in kg"):
        patient("covariates: {IBW: 120 lb}", base)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("level: 3", r"level=3: this key is not known here. Did you mean levels\? \(p.yaml, line 3\)"),
        ("fu: 98", "fu=98: it must be between 0 and 1"),
        ("fu: 0", "above 0"),
        ("error: 15%", "error=15%: a mapping of"),
        ("error: {kind: proportional, proportional: 15}", r"error.proportional=15.*line 3"),
        ("priors: {CL: 5}", "these are the parameters of no model"),
        ("model: 2C", "a model goes with priors"),
        ("model: 2C\npriors: {CL: 5, V: 20}", "a 2C model has CL Vc Q1 Vp1"),
        ("model: 2C\npopulation: {parameters: {CL: 5, V: 20}}", "the population has a 1C model"),
        (
            "priors: {CL: 5, V: 20}\npopulation: {parameters: {CL: 5, V: 20}}",
            "the population gives the priors already",
        ),
        ("doses: [[0, 100]]", "regimen says the doses already"),
        ("weight: IBW", "a regimen names its weight itself"),
        ("covariates: {CCr: high}", r"covariates.CCr=high: this is no value of a covariate.*line 3"),
        ("covariates: {CCr: '75,5'}", "with a decimal point"),
        ("covariates: {CCr: .nan}", "a covariate must be a finite number"),
        ("targets: fT>MIC >= 50%\nmic: 1", "regimens=null: this key is needed"),
        ("regimens: 1 g q8h", "targets=null: this key is needed"),
        ("regimens: 1 g q8h\ntargets: fT>MIC >= 50%", "mic=null"),
        ("id: ''", "the text is empty"),
        ('id: "a\\nb"', "a text of one line"),
    ],
)
def test_patient__refused(text, match):
    with pytest.raises(InputError, match=match):
        patient(text)


@pytest.mark.parametrize(
    ("base", "match"),
    [
        ("levels: [[9, 20]]\n", "regimen=null: this key is needed"),
        ("regimen: 1 g q8h\nlevels: [[-1, 20]]\n", r"levels\[0\].*the time of a level must be"),
        (
            "regimen: 1 g q8h\nlevels: [{time: 9, value: -20}]\n",
            r"levels\[0\].value=-20: a level must be .*line 2",
        ),
        ("regimen: 1 g q8h\nlevels: [{time: 9, below: ~}]\n", "the limit of quantification must be"),
        ("regimen: 1 g q8h\nlevels: [{time: 9, below: true}]\n", "below gives the limit of quantification"),
        ("regimen: 1 g q8h\nlevels: [9, 20]\n", "levels are a list"),
        ("regimen: 1 g q8h\nlevels: 20 mg/L\n", "levels are a list"),
        (
            "regimen: from 8h 1 g q8h\nlevels: [[3, 20]]\n",
            "a level must be later than the first dose, at 8 h",
        ),
        ("regimen: 1 g q8h\nlevels: [[0, 20]]\n", "a level must be later than the first dose, at 0 h"),
        ("regimen: 1 g every day\nlevels: [[9, 20]]\n", "regimen=1 g every day"),
        ("regimen: 5\nlevels: [[9, 20]]\n", "a regimen is a text or a mapping"),
        ("doses: [[0, -100]]\nlevels: [[9, 20]]\n", "a dose must be a finite number > 0"),
        ("doses: []\nlevels: [[9, 20]]\n", "the list is empty"),
        ("regimen: 1 g q1h x9999\nlevels: [[9, 20]]\n", "at most 5,000 doses"),
    ],
)
def test_patient__history_refused(base, match):
    with pytest.raises(InputError, match=match):
        patient(base=base)


def test_patient__as_patient(tmp_path):
    path = tmp_path / "somebody.yaml"
    path.write_text(BASE, encoding="utf-8")
    one = as_patient(path)
    assert one.id == "somebody"
    assert as_patient(one) is one
    assert as_patient({**one.to_mapping()}) == one
    assert as_patient(str(path)) == one
    with pytest.raises(InputError, match="there is no such file, and no shipped patient"):
        as_patient("nobody")
    with pytest.raises(InputError, match="a CSV file holds a cohort"):
        as_patient("some.csv")
    with pytest.raises(InputError, match="a patient is a Patient, a mapping, or a YAML file"):
        as_patient(3)


def test_patient__too_many_levels():
    with pytest.raises(InputError, match="at most 5,000 levels"):
        Patient(id="A", regimen="1 g q8h x1", levels=[(1, 1)] * 5001)


# --- shipped


def test_shipped__meropenem():
    one = read_patient("meropenem_tdm")
    assert [str(each) for each in one.levels] == ["12.3 mg/L at 41 h", "6.1 mg/L at 47.5 h"]
    assert [(d.time, d.amount, d.tinf) for d in one.doses] == [(8.0 * k, 1000, 0.5) for k in range(6)]
    assert isinstance(one.priors, Population)
    assert "10.1097/FTD" in one.priors.source
    assert one.assessment is not None
    assert one.assessment.distributions[0].illustrative
    assert len(one.assessment.regimens) == 3
    assert len(one.assessment.targets) == 2
    assert Patient.from_mapping(json.loads(json.dumps(one.to_mapping()))) == one


def test_shipped__all_are_read():
    found = shipped_patients()
    assert {"meropenem_tdm", "example_cohort"} <= set(found)
    for path in found.values():
        assert isinstance(path, Path)
        if path.suffix == ".yaml":
            assert read_patient(path).id == path.stem


def test_patient__priors_round_trip():
    priors = PriorSet.from_mapping({"Vmax": {"median": 30, "cv": 0.3}, "Km": 5, "V": 50})
    one = Patient(id="A", regimen="1 g q8h x1", priors=priors)
    assert Patient.from_mapping(one.to_mapping()) == one
    assert priors.model == "michaelis_menten"
