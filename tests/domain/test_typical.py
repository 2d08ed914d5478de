"""The prior that a population gives a patient, against virtual patients of that population."""

from __future__ import annotations

import numpy as np
import pytest

from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.typical import prior_of, typical_values
from tdmx_dask.errors import InputError, TdmxWarning

POPULATION = Population.from_mapping(
    {
        "name": "made up",
        "thetas": {"TVCL": 6.0},
        "parameters": {"CL": "TVCL * (CCr / 80)**0.7", "V1": "30 * WT / 70", "Q": 4, "V2": 20},
        "covariates": {
            "AGE": {"unit": "years"},
            "WT": {"unit": "kg"},
            "SEX": {"unit": "female"},
            "SCR": {"unit": "mg/dL"},
            "CCr": {"unit": "mL/min", "equation": "cockcroft-gault", "weight": "total"},
        },
        "bsv": {"CL": {"omega": 0.4}, "V1": {"omega": 0.3}, "V2": {"omega": 0.2}},
        "correlations": {"CL, V1": 0.6, "V1, V2": -0.3},
        "fu": "0.5 + SEX / 10",
    }
)
GIVEN = {"AGE": 60, "WT": "80 kg", "SEX": "female", "SCR": "110 umol/L", "OTHER": 3}


def measured(**values: object) -> dict[str, Measurement]:
    return {name: Measurement.read(name, value) for name, value in values.items()}


def test_prior__is_that_of_many_virtual_patients():
    priors, fu = prior_of(POPULATION, measured(**GIVEN))
    scenario = {"AGE": 60.0, "WT": 80.0, "SEX": 1.0, "SCR": 110 / 88.4}
    n = 100_000
    patients = POPULATION.simulate(seed=3, chain=0, draw_start=0, n_draws=n, scenario=scenario)
    logs = np.log([patients[name][0] for name in priors.parameters])
    assert fu == pytest.approx(0.6)
    assert priors.free == ("CL", "Vc", "Vp1")
    for i, omega in enumerate(np.sqrt(np.diag(priors.covariance))):
        error = 1.2533 * omega / np.sqrt(n)  # of a normal's median
        assert abs(np.median(logs[i]) - priors.log_median[i]) <= 4 * error + 1e-12
    spread = np.diag(priors.covariance)
    error = np.sqrt((np.outer(spread, spread) + priors.covariance**2) / n)  # of a normal's covariance
    assert (np.abs(np.cov(logs) - priors.covariance) <= 4.5 * error + 1e-12).all()


def test_prior__without_variability_is_the_typical_value():
    fixed = Population.from_mapping({"parameters": {"CL": 5, "V": 20}})
    priors, fu = prior_of(fixed, {})
    assert priors.median == (5, 20)
    assert not priors.covariance.any()
    assert (priors.free, fu) == ((), None)
    assert typical_values(fixed, {}) == {"CL": 5, "Vc": 20}


def test_prior__a_derived_covariate_may_be_given():
    assert typical_values(POPULATION, measured(**GIVEN, CCr=80))["CL"] == pytest.approx(6.0)


def test_prior__own_value_of_the_population_is_warned_about():
    own = Population.from_mapping(
        {"parameters": {"CL": "5 * WT / 70", "V": 20}, "covariates": {"WT": {"unit": "kg", "value": 70}}}
    )
    with pytest.warns(TdmxWarning, match="WT = 70 kg, the population's own value, is taken"):
        assert prior_of(own, {})[0].median == (5, 20)
    assert prior_of(own, measured(WT=35))[0].median == (2.5, 20)


@pytest.mark.parametrize(
    ("given", "varying", "match"),
    [
        (
            {key: value for key, value in GIVEN.items() if key != "AGE"},
            (),
            "covariates.AGE=None: made up needs it, in years",
        ),
        (
            {**{key: value for key, value in GIVEN.items() if key != "SCR"}, "SCr": 1},
            (),
            r"covariates.SCr=1.*Did you mean SCR\?",
        ),
        (
            {key: value for key, value in GIVEN.items() if key != "WT"},
            ("WT",),
            "WT=several values: it changes within the record",
        ),
        ({**GIVEN, "AGE": "60 kg"}, (), "its unit must be years"),
        ({**GIVEN, "WT": -5}, (), "WT=-5: it must be above 0 kg"),
    ],
)
def test_prior__refused(given, varying, match):
    with pytest.raises(InputError, match=match):
        prior_of(POPULATION, measured(**given), varying)


def test_prior__a_drawn_covariate_must_be_given():
    drawn = Population.from_mapping(
        {
            "parameters": {"CL": "5 * WT / 70", "V": 20},
            "covariates": {"WT": {"unit": "kg", "normal": {"mean": 70, "sd": 9}}},
        }
    )
    with pytest.raises(InputError, match="needs it, in kg, and the patient does not give it"):
        prior_of(drawn, {})
