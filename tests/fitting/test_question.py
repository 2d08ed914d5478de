"""What Stan is asked: the data of a patient, and that a real fit answers it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tdmx_dask.domain.cohort import read_cohort
from tdmx_dask.domain.error_model import ERROR_KINDS, ErrorModel
from tdmx_dask.domain.patient import Patient, read_patient
from tdmx_dask.domain.prior import FITTED, PriorSet
from tdmx_dask.errors import FitError, InputError, TdmxWarning
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.question import PROGRAMS, ask, ask_program
from tdmx_dask.kernels.course import Input, course_at
from tdmx_dask.kernels.disposition import disposition

ERROR = {"kind": "proportional", "proportional": 0.15}
PRIORS = {"CL": {"median": 10, "omega": 0.3}, "V": {"median": 20, "omega": 0.2}}


def patient(**options) -> Patient:
    given = {"id": "A", "regimen": "1000 mg q8h inf 30min", "levels": [(41, 12.3), (47.5, 6.1)]}
    return Patient(**{**given, **options})


def test_ask__data_of_the_contract():
    question = ask(read_patient("meropenem_tdm"))
    data = question.data
    assert (question.name, question.program.name, question.model) == ("meropenem_tdm", "linear_2c", "2C")
    assert question.parameters == ("CL", "Vc", "sigma_proportional")
    assert (
        data["n_doses"] == len(data["dose_time"]) == len(data["dose_amount"]) == len(data["dose_tinf"]) == 6
    )
    assert (data["level_time"], data["level"], data["below"]) == ([41.0, 47.5], [12.3, 6.1], [0, 0])
    assert np.exp(data["prior_mean"]) == pytest.approx([13.6 * (75 / 87.6) ** 0.66, 26.5, 9.8, 13.2])
    omega = [math.sqrt(math.log1p(cv**2)) for cv in (0.221, 0.23)]
    assert np.asarray(data["prior_chol"]) == pytest.approx(np.diag([*omega, 0, 0]))
    assert (data["error_model"], data["centred"], data["nu"]) == (2, 0, 4.0)
    assert data["sigma_mean"] == pytest.approx([0.0, math.log(0.15)])
    assert data["sigma_omega"] == pytest.approx([0.0, math.sqrt(math.log1p(0.09))])
    assert question.carried == {"fu": 0.98}
    assert question.notes == ()
    assert json.loads(question.json) == data
    for name, dims in question.dims.items():
        assert question.constant[name].ndim == len(dims)


def test_ask__digest_is_of_program_and_data_alone():
    one = ask(patient(), priors=PRIORS, error=ERROR)
    levels = [(41, 12.3), (47.5, 6.1)]
    same = ask(
        patient(id="B", levels=levels[::-1], title="another"),
        priors=dict(reversed(PRIORS.items())),
        error=ERROR,
    )
    assert one.digest == same.digest
    assert one.digest != ask(patient(levels=[(41, 12.4), (47.5, 6.1)]), priors=PRIORS, error=ERROR).digest
    later = ask(patient(regimen="1000 mg q8h inf 30min x9"), priors=PRIORS, error=ERROR)
    assert one.digest == later.digest  # doses behind the last level change nothing
    other = one.reparameterised()
    assert other is not None
    assert (other.data["centred"], other.digest != one.digest) == (1, True)
    assert other.reparameterised().digest == one.digest


def test_ask__no_centred_form_of_a_parameter_that_others_determine():
    priors = {**PRIORS, "correlations": {"CL, V": 1.0}}
    assert ask(patient(), priors=priors, error=ERROR).reparameterised() is None
    assert ask(patient(), priors={**PRIORS, "V": 20}, error=ERROR).reparameterised() is not None
    with pytest.raises(InputError, match="centred=True"):
        ask(patient(), priors=priors, error=ERROR, centred=True)


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_ask__error_models(kind):
    parts = ErrorModel.parts_of(kind)
    values = {"additive": 0.5, "proportional": 0.15}
    data = ask(patient(), priors=PRIORS, error={"kind": kind, **{part: values[part] for part in parts}}).data
    assert data["error_model"] == ERROR_KINDS.index(kind) + 1
    assert data["sigma_mean"] == pytest.approx(
        [math.log(values[part]) if part in parts else 0 for part in values]
    )
    assert data["sigma_omega"] == [0.0, 0.0]


@pytest.mark.parametrize("model", ["michaelis_menten", "parallel"])
def test_ask__programs_of_each_model_have_its_parameters(model):
    assert set(PROGRAMS) == set(FITTED)
    priors = PriorSet.from_mapping({name: {"median": 5, "omega": 0.2} for name in FITTED[model]})
    assert (priors.model, len(priors.log_median)) == (model, len(FITTED[model]))


def test_ask__weights_are_carried_for_doses_per_kg():
    one = patient(
        regimen="15 mg/kg of IBW q8h inf 30min", covariates={"IBW": "60 kg", "WT": "80000 g"}, fu=0.9
    )
    question = ask(one, priors=PRIORS, error=ERROR)
    assert question.carried == {"fu": 0.9, "IBW": 60.0, "WT": 80.0}
    assert question.data["dose_amount"][0] == 900


def test_ask__fu_of_the_population():
    population = {"parameters": {"CL": 5, "V": 20}, "bsv": {"CL": {"cv": 0.3}}, "fu": 0.7}
    assert ask(patient(), priors=population, error=ERROR).carried == {"fu": 0.7}
    assert ask(patient(fu=0.8), priors=population, error=ERROR).carried == {"fu": 0.8}


def test_ask__assumptions_are_warned_about_and_noted():
    with pytest.warns(TdmxWarning, match="prior only"):
        question = ask(patient(levels=[]), priors=PRIORS, error=ERROR)
    assert "prior only" in question.notes[0]
    assert question.data["n_levels"] == 0
    with pytest.warns(TdmxWarning, match="a proportional error of 20 % is assumed"):
        question = ask(patient(), priors=PRIORS)
    assert question.data["sigma_mean"][1] == pytest.approx(math.log(0.2))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "a fit needs a population or priors"),
        ({"priors": PRIORS, "model": "2C"}, "a 2C model has CL Vc Q1 Vp1"),
        ({"priors": PriorSet.from_mapping(PRIORS), "model": "2C"}, "the priors are of a 1C model"),
        ({"priors": PRIORS, "model": "4C"}, "there is no such model"),
        ({"priors": {"CL": 5, "V": 20}}, "every parameter is fixed"),
        (
            {"priors": {"parameters": {"CL": "5 * CCr", "V": 20}, "covariates": {"CCr": {"unit": "mL/min"}}}},
            "covariates.CCr=None",
        ),
        ({"priors": 3}, "priors are a Population, a PriorSet or a mapping"),
        ({"priors": PRIORS, "error": 0.15}, "an error is an ErrorModel or a mapping"),
    ],
)
def test_ask__refused(options, match):
    with pytest.raises(InputError, match=match):
        ask(patient(), **{"error": ERROR, **options})


def test_ask__steady_state_that_is_none(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("ID,TIME,AMT,DUR,DV,SS,II\n1,0,1000,0.5,.,1,8\n1,4,.,.,12.5,.,.\n", encoding="utf-8")
    (one,) = read_cohort(path)
    assert ask(one, priors=PRIORS, error=ERROR).data["n_doses"] == 31
    slow = {"CL": {"median": 0.1, "omega": 0.3}, "V": 40}
    with pytest.raises(InputError, match="SS=1: 240 h of past doses leave 55% of the steady state unreached"):
        ask(one, priors=slow, error=ERROR)


def test_ask_program__any_program():
    program = Program(
        "coin",
        "data { int n; array[n] int y; } parameters { real<lower=0, upper=1> p; } model { y ~ bernoulli(p); }",
    )
    question = ask_program(program, {"n": 3, "y": np.array([True, False, True])}, parameters=("p",))
    assert question.data == {"n": 3, "y": [1, 0, 1]}
    assert (question.name, question.parameters, question.patient) == ("coin", ("p",), None)
    assert question.reparameterised() is None
    for bad in (math.nan, "a", None):
        with pytest.raises(InputError, match="data of a program are finite numbers"):
            ask_program(program, {"n": bad})
    with pytest.raises(InputError, match="there is no such Stan program"):
        ask_program("nothing", {})


# --- answered by stanli itself


def sampled(question, *, draws: int = 1000, seed: int = 1):
    """Columns of one chain of stanli, run here."""
    from tdmx_dask.fitting.stanli_engine import StanliEngine
    from tdmx_dask.fitting.task import ChainTask, Sampling

    task = ChainTask(question.program, question.json, seed, 0, sampling=Sampling(500, draws))
    (result,) = StanliEngine().run([task], lambda event: None)
    return dict(zip(result.names, result.draws.T, strict=True))


def test_ask__a_real_fit_of_the_shipped_patient():
    question = ask(read_patient("meropenem_tdm"))
    columns = sampled(question)
    assert set(question.parameters) <= set(columns)
    modes = disposition(*(columns[name] for name in ("CL", "Vc", "Q1", "Vp1")))
    data = question.data
    inputs = [
        Input(*each) for each in zip(data["dose_time"], data["dose_amount"], data["dose_tinf"], strict=True)
    ]
    for k, time in enumerate(data["level_time"], start=1):
        np.testing.assert_allclose(columns[f"predicted[{k}]"], course_at(modes, inputs, time), rtol=1e-9)
    assert np.ptp(columns["Q1"]) == 0.0
    assert columns["CL"].mean() < math.exp(
        data["prior_mean"][0]
    )  # the trough is far above what the prior expects


def test_ask__without_levels_a_fit_gives_the_prior():
    with pytest.warns(TdmxWarning, match="prior only"):
        question = ask(patient(levels=[]), priors={**PRIORS, "correlations": {"CL, V": 0.5}}, error=ERROR)
    columns = sampled(question, draws=4000)
    logs = np.log([columns["CL"], columns["Vc"]])
    assert logs.mean(axis=1) == pytest.approx(question.data["prior_mean"], abs=0.03)
    assert np.cov(logs) == pytest.approx(np.array([[0.09, 0.03], [0.03, 0.04]]), abs=0.012)


def test_ask__wrong_data_are_named():
    question = ask_program("linear_2c", {"n_doses": 1})
    with pytest.raises(FitError, match="linear_2c"):
        sampled(question)
