"""Calibration of the shipped linear program: every error model, a real cluster, and the rule that stops chains."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.api.calibrate import calibrate, simulated_patients, typical_error, typical_patient
from tdmx_dask.domain.error_model import ERROR_KINDS
from tdmx_dask.errors import InputError

SHORT = {"chains": 1, "iter_warmup": 250, "iter_sampling": 300, "engine": "stanli"}


@pytest.fixture(scope="module")
def cluster():
    with tdmx.cluster("local", n_workers=2) as found:
        yield found


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_calibrate__two_compartments_are_uniform(kind, cluster):
    """Ranks of 100 fits, among them levels below quantification, as a cohort on a cluster."""
    result = calibrate("2C", error=kind, n=100, seed=1, on=cluster, **SHORT)
    assert json.loads(result.attrs["failures"]) == {}
    assert result.sizes["fit"] == 100
    assert result.attrs["share_below"] > 0.01
    assert float(result["ecdf_p"].min()) * result.sizes["quantity"] > 0.05, result.attrs["verdict"]
    assert result.attrs["uniform"] == 1
    assert float(result["n_independent"].mean()) > 70


def test_calibrate__uniform_with_the_stopping_rule():
    """Chains that stop when they have what was asked are not biased by it."""
    result = calibrate(
        "1C",
        error="proportional",
        n=100,
        seed=4,
        target_ess=200,
        chains=4,
        iter_warmup=250,
        iter_sampling=250,
        engine="stanli",
    )
    assert result.attrs["uniform"] == 1, result.attrs["verdict"]
    assert json.loads(result.attrs["settings"])["target_ess"] == 200


def test_calibrate__fewer_fits_are_the_first_of_more():
    few = calibrate("1C", n=10, seed=2, **SHORT)
    many = calibrate("1C", n=14, seed=2, **SHORT)
    np.testing.assert_array_equal(few["rank"].values, many["rank"].values[:10])


def test_calibrate__a_wrong_prior_is_found(monkeypatch):
    """Fits that are told another prior than the one that the parameters came from."""
    import tdmx_dask.api.calibrate as module

    def narrower(question, simulated):
        patients = original(question, simulated)
        prior = typical_patient("1C").priors
        tight = type(prior)(prior.model, prior.median, prior.covariance / 9, prior.source)
        return [replace(patient, priors=tight) for patient in patients]

    original = module._patients
    monkeypatch.setattr(module, "_patients", narrower)
    result = calibrate("1C", n=100, seed=2, **SHORT)
    assert result.attrs["uniform"] == 0
    assert "CL are too narrow" in result.attrs["verdict"]


def test_calibrate__of_a_shipped_patient():
    result = calibrate("meropenem_tdm", n=10, seed=2, **SHORT)
    assert result["quantity"].values.tolist() == ["CL", "Vc", "sigma_proportional", "log_likelihood"]
    assert result.attrs["model"] == "2C"


def test_simulated_patients__keep_doses_and_times():
    patient = replace(typical_patient("1C"), error=typical_error("combined"))
    first, second = simulated_patients(patient, 2, seed=3)
    assert [level.time for level in first.levels] == [level.time for level in patient.levels]
    assert first.regimen == patient.regimen
    assert first.levels != second.levels


@pytest.mark.parametrize(
    ("patient", "options", "expected"),
    [
        ("2C", {"n": 9}, "n=9: "),
        ("2C", {"ranked": 3}, "ranked=3: "),
        ("2C", {"error": "additve"}, "there is no such error model. Did you mean additive"),
        ("2C", {"lloq": -1.0}, "lloq=-1: "),
        ("2C", {"seed": -1}, "seed=-1: "),
        ("michaelis_menten", {}, "michaelis_menten: levels are simulated for linear models"),
        ("nowhere.yaml", {}, "there is no such file"),
    ],
)
def test_calibrate__refused(patient, options, expected):
    with pytest.raises(InputError, match=expected):
        calibrate(patient, **options)
