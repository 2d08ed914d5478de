"""What Stan is asked of a cohort, and that a real fit answers it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tdmx_dask.domain.cohort import read_cohort
from tdmx_dask.domain.patient import Patient
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.fitting.cohort_question import ask_population
from tdmx_dask.fitting.question import FitQuestion
from tdmx_dask.fitting.stanli_engine import StanliEngine
from tdmx_dask.fitting.task import ChainTask, Sampling

ERROR = {"proportional": {"median": 0.15, "cv": 0.3}}
PRIORS = {"CL": {"median": 10, "omega": 1}, "V1": {"median": 20, "omega": 1}, "Q": 9.8, "V2": 13.2}
EFFECTS = {
    "CL": {
        "CCr": {"reference": 87.6, "unit": "mL/min/1.73m2", "mean": 0.5, "sd": 0.5},
        "SEX": {"category": "male"},
    }
}


def question(patients: object = None, **options) -> FitQuestion:
    given = {"priors": PRIORS, "bsv": ["Vc", "CL"], "covariates": EFFECTS, "error": ERROR, **options}
    return ask_population(read_cohort("example_cohort") if patients is None else patients, **given)


def test_population__data():
    asked = question()
    data = asked.data
    assert (data["n_subjects"], data["n_doses"], data["n_levels"]) == (12, 72, 48)
    assert data["dose_subject"] == sorted(data["dose_subject"])
    assert data["level_subject"] == [1 + k // 4 for k in range(48)]
    assert (data["typical_sd"], data["effect_parameter"], data["eta_parameter"]) == (
        [1, 1, 0, 0],
        [1, 1],
        [1, 2],
    )
    assert np.shape(data["design"]) == (12, 2)
    assert (data["omega_prior"], data["omega_scale"], data["lkj"]) == (1, [0.5, 0.5], 2.0)
    assert asked.parameters == ("CL", "Vc", "effect", "omega", "sigma_proportional")
    assert asked.coords["eta"] == ("CL", "Vc")
    assert asked.coords["effect"] == ("CL~CCr", "CL~SEX=male")
    assert asked.coords["subject"] == tuple(str(k) for k in range(1, 13))
    assert asked.reparameterised() is None
    assert json.loads(asked.json) == data
    assert {name: array.ndim for name, array in asked.constant.items()} == {
        name: len(dims) for name, dims in asked.dims.items()
    }


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patients": []}, "a cohort has at least one patient"),
        ({"patients": [Patient(id="A", regimen="1 g q8h x1")] * 2}, "two patients have this id"),
        ({"patients": ["A"]}, "a cohort is of patients"),
        ({"priors": {"Vmax": 3, "Km": 5, "V": 20}}, "there is no such model of a cohort"),
        ({"priors": 3}, "priors of typical values are a PriorSet or a mapping"),
        ({"priors": {**PRIORS, "correlations": {"CL, V1": 0.5}}}, "typical values have independent priors"),
        ({"model": "1C"}, "a 1C model has CL Vc"),
        ({"lkj": -1}, "the shape of an LKJ prior must be"),
        ({"grainsize": 0.5}, "subjects a slice must be a whole number"),
        ({"bsv": ["CLL"]}, "the model has no parameter of this name"),
        (
            {"covariates": {"CL": {"WT": {"reference": 70}}}},
            "1, covariates.WT=None: the effect CL~WT needs it",
        ),
        (
            {"covariates": {"CL": {"CCr": {"reference": 80, "unit": "mL/min"}}}},
            "the population takes mL/min, another quantity",
        ),
        (
            {"priors": {"CL": 5, "V": 20}, "bsv": [], "covariates": None, "error": {"proportional": 0.2}},
            "every parameter is fixed",
        ),
    ],
)
def test_population__refused(options, match):
    with pytest.raises(InputError, match=match):
        question(**options)


def test_population__assumptions_are_noted():
    silent = [Patient(id="A", regimen="1 g q8h x1")]
    with pytest.warns(TdmxWarning, match="prior only"):
        asked = question(silent, covariates=None)
    assert "prior only" in asked.notes[0]
    with pytest.warns(TdmxWarning, match="20 % is assumed"):
        question(error=None)


def test_population__a_real_fit_of_the_shipped_cohort():
    """The truth of the cohort's header: CL 13.6 (CCr/87.6)^0.66, Vc 26.5, omega^2 0.048 and 0.052, error 15 %."""
    asked = question(covariates={"CL": {"CCr": EFFECTS["CL"]["CCr"]}})
    task = ChainTask(asked.program, asked.json, 1, 0, sampling=Sampling(300, 300))
    (result,) = StanliEngine().run([task], lambda event: None)
    columns = dict(zip(result.names, result.draws.T, strict=True))
    for name, truth in (("CL", 13.6), ("Vc", 26.5), ("effect[1]", 0.66), ("sigma_proportional", 0.15)):
        assert abs(columns[name].mean() - truth) < 3.5 * columns[name].std(), name
    bases = {name.partition("[")[0] for name in result.names}
    assert set(asked.parameters) | set(asked.outputs) <= bases
    assert set(asked.internal) - bases == {"omega_raw"}  # of the other kind of prior
    assert sum(name.startswith("log_lik[") for name in result.names) == 48
