from __future__ import annotations

import re

import numpy as np
import pytest

from tdmx_dask.domain.effect import read_effects, read_variability_of
from tdmx_dask.domain.patient import Patient
from tdmx_dask.domain.prior import Prior
from tdmx_dask.errors import InputError

PARAMETERS = ("CL", "Vc")


def cohort(*covariates: dict, **options) -> list[Patient]:
    return [
        Patient(id=str(k), regimen="1 g q8h x1", covariates=each, **options)
        for k, each in enumerate(covariates)
    ]


def test_effect__designs():
    patients = cohort(
        {"WT": "70 kg", "SEX": "female", "GENO": 2}, {"WT": "35000 g", "SEX": "male", "GENO": 3}
    )
    effects = read_effects(
        {
            "CL": {"WT": {"reference": 70, "mean": 0.75, "sd": 0}, "SEX": {"category": "male"}},
            "Vc": {"WT": {"form": "exponential", "reference": 70, "unit": "kg"}, "GENO": {"category": 2}},
        },
        PARAMETERS,
    )
    assert [each.label for each in effects] == ["CL~WT", "CL~SEX=male", "Vc~WT", "Vc~GENO=2"]
    assert [(each.mean, each.sd) for each in effects] == [(0.75, 0), (0, 1), (0, 1), (0, 1)]
    assert np.array([each.design(patients) for each in effects]) == pytest.approx(
        np.array([[0, np.log(0.5)], [0, 1], [0, -35], [1, 0]])
    )


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"Q1": {"WT": {"reference": 70}}}, "covariates.Q1"),
        ({"CL": {"WT": {"reference": 0}}}, "a reference must be a finite number > 0"),
        ({"CL": {"WT": {"sd": 1}}}, "covariates.CL.WT.reference=null"),
        ({"CL": {"WT": {"form": "cubic", "reference": 1}}}, "there is no such form"),
        ({"CL": {"WT": {"category": 1, "reference": 1}}}, "a category says which"),
        ({"CL": {"WT": {"form": "category", "reference": 1}}}, "a category says which"),
        ({"CL": {"SEX": {"category": "boy"}}}, "a category is female, male or a number"),
        ({"CL": {"WT": {"reference": 70, "sd": -1}}}, "the SD of a coefficient must be a finite number >= 0"),
        ({"CL": {"WT": {"reference": 70, "slope": 1}}}, "this key is not known here"),
        ({"CL": 0.75}, "a mapping of"),
    ],
)
def test_effects__refused(given, match):
    with pytest.raises(InputError, match=re.escape(match)):
        read_effects(given, PARAMETERS)


@pytest.mark.parametrize(
    ("covariates", "options", "match"),
    [
        ({}, {}, "0, covariates.WT=None: the effect CL~WT needs it"),
        ({}, {"varying": ("WT",)}, "it changes within the record"),
        ({"WT": "70 cm"}, {}, "its unit must be kg or g"),
        ({"WT": -70}, {}, "a power needs a value above 0"),
    ],
)
def test_effect__patient_refused(covariates, options, match):
    (effect,) = read_effects({"CL": {"WT": {"reference": 70, "unit": "kg"}}}, PARAMETERS)
    with pytest.raises(InputError, match=match):
        effect.design(cohort(covariates, **options))


def test_variability__forms():
    plain = read_variability_of(["Vc", "CL"], PARAMETERS)
    assert [(each.parameter, each.half_normal) for each in plain] == [("CL", 0.5), ("Vc", 0.5)]
    (one,) = read_variability_of({"CL": {"median": 0.3, "omega": 0.5}}, PARAMETERS)
    assert (one.log_normal, one.scale, one.location) == (Prior(0.3, 0.5), 0.5, pytest.approx(np.log(0.3)))
    assert read_variability_of([], PARAMETERS) == ()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (["CL", "Q1"], "bsv.Q1"),
        ({"CL": {"half_normal": 0}}, "the scale of a half-normal must be"),
        (
            {"CL": {"half_normal": 0.4}, "Vc": {"median": 0.3, "cv": 0.2}},
            "all SDs have half-normal priors or all log-normal",
        ),
        ({"CL": {"median": 30, "cv": 0.2}}, "the median of an SD of the log must be"),
        ({"CL": {"cv": 0.2}}, "median"),
    ],
)
def test_variability__refused(given, match):
    with pytest.raises(InputError, match=re.escape(match)):
        read_variability_of(given, PARAMETERS)
