"""Priors and residual errors: laws, round trips, refusals."""

from __future__ import annotations

import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.error_model import ERROR_KINDS, ErrorModel
from tdmx_dask.domain.prior import FITTED, Prior, PriorSet
from tdmx_dask.errors import InputError

medians = st.floats(1e-3, 1e4, allow_nan=False)
omegas = st.one_of(st.just(0.0), st.floats(1e-3, 1.5, allow_nan=False))


@st.composite
def prior_sets(draw: st.DrawFn) -> PriorSet:
    model = draw(st.sampled_from(sorted(FITTED)))
    names = FITTED[model]
    priors = {name: Prior(draw(medians), draw(omegas)) for name in names}
    free = [name for name in names if priors[name].omega > 0]
    covariances = {}
    if len(free) > 1:
        one, other = free[:2]
        value = draw(st.floats(-0.95, 0.95)) * priors[one].omega * priors[other].omega
        covariances = {(one, other): value, (other, one): value}
    return PriorSet.of(model, priors, covariances, source=draw(st.sampled_from(("", "a paper", "<script>"))))


@given(prior_sets())
def test_priors__factor_is_of_the_covariance(priors):
    np.testing.assert_allclose(priors.factor @ priors.factor.T, priors.covariance, rtol=1e-10, atol=1e-14)
    fixed = [i for i, name in enumerate(priors.parameters) if name not in priors.free]
    assert not priors.factor[fixed].any()
    assert not priors.factor[:, fixed].any()


@given(prior_sets())
def test_priors__round_trip(priors):
    again = PriorSet.from_mapping(json.loads(json.dumps(priors.to_mapping())))
    assert (again.model, again.median, again.source, again.free) == (
        priors.model,
        priors.median,
        priors.source,
        priors.free,
    )
    np.testing.assert_allclose(again.covariance, priors.covariance, rtol=1e-12, atol=1e-300)
    assert pickle.loads(pickle.dumps(priors)) == priors  # noqa: S301


@given(prior_sets(), st.randoms())
def test_priors__order_of_the_keys_is_free(priors, random):
    pairs = list(priors.to_mapping().items())
    random.shuffle(pairs)
    assert PriorSet.from_mapping(dict(pairs)) == PriorSet.from_mapping(priors.to_mapping())


def test_priors__nonmem_names_scales_and_correlation():
    priors = PriorSet.from_mapping(
        {
            "CL": {"median": 5, "cv": "30%"},
            "V1": {"median": 20, "variance": 0.04},
            "Q": 2,
            "V2": {"median": 10, "omega": 0.1},
            "correlations": {"CL, V1": 0.5},
        }
    )
    assert priors.model == "2C"
    assert priors.median == (5, 20, 2, 10)
    omega = math.sqrt(math.log(1.09))
    assert priors.covariance[0, 1] == pytest.approx(0.5 * omega * 0.2)
    assert priors.free == ("CL", "Vc", "Vp1")


@pytest.mark.parametrize(
    ("mapping", "match"),
    [
        ({"CL": 5}, "these are the parameters of no model"),
        ({"CL": 5, "V": 0}, "the median of a prior must be a finite number"),
        ({"CL": -5, "V": 2}, "A log-normal prior is of a positive quantity"),
        ({"CL": {"cv": 0.3}, "V": 2}, "needs this key"),
        ({"CL": {"median": 5, "cv": 30}, "V": 2}, "If it is a percent, write 0.3 or 30%"),
        ({"CL": {"median": 5, "cv": 0.3, "omega": 0.3}, "V": 2}, "one of omega, cv and variance is wanted"),
        ({"CL": {"median": 5, "sd": 0.3}, "V": 2}, "this key is not known here"),
        ({"CL": 5, "V": 2, "Vcc": 1}, "priors.Vcc"),
        ({"CL": 5, "V": 2, "Vc": 2}, "both stand for Vc"),
        ({"CL": 5, "V": 2, "model": "2C"}, "a 2C model has CL Vc Q1 Vp1"),
        ({"CL": 5, "V": 2, "model": "4C"}, "there is no such model"),
        ({"CL": 5, "V": {"median": 2, "cv": 0.1}, "correlations": {"CL, V": 0.5}}, "CL has no variability"),
        (
            {"CL": {"median": 5, "cv": 0.1}, "V": {"median": 2, "cv": 0.1}, "correlations": {"CL, V": 1.5}},
            "it must be between -1 and 1",
        ),
    ],
)
def test_priors__refused(mapping, match):
    with pytest.raises(InputError, match=re.escape(match)):
        PriorSet.from_mapping(mapping)


def test_priors__covariance_refused():
    with pytest.raises(InputError, match="positive semidefinite"):
        PriorSet("1C", (5, 20), np.array([[0.1, 0.2], [0.2, 0.1]]))
    with pytest.raises(InputError, match=r"it must be \(2, 2\) for CL, Vc"):
        PriorSet("1C", (5, 20), np.eye(3))
    with pytest.raises(InputError, match="an SD of the log is at most 3"):
        PriorSet("1C", (5, 20), np.diag([0.1, 16.0]))
    with pytest.raises(InputError, match="a 1C model has CL Vc"):
        PriorSet("1C", (5,), np.eye(1))
    with pytest.raises(InputError, match="Use the smaller model where a flow is 0"):
        PriorSet("2C", (5, 20, 0, 10), np.zeros((4, 4)))


# --- residual error


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_error__kinds_round_trip(kind):
    parts = ErrorModel.parts_of(kind)
    given = {"kind": kind} | {
        name: {"median": value, "omega": 0.3}
        for name, value in (("additive", 0.5), ("proportional", 0.15))
        if name in parts
    }
    error = ErrorModel.from_mapping(given)
    assert error.code == ERROR_KINDS.index(kind) + 1
    assert error.free == parts
    assert (error.nu == 4.0) == kind.startswith("student")
    assert ErrorModel.from_mapping(json.loads(json.dumps(error.to_mapping()))) == error


def test_error__kind_of_its_parts():
    assert ErrorModel.from_mapping({"additive": 0.5}).kind == "additive"
    assert ErrorModel.from_mapping({"additive": 0.5, "proportional": "15%"}).kind == "combined"
    assert ErrorModel.from_mapping({"proportional": "15%"}).proportional == Prior(0.15)


@pytest.mark.parametrize(
    ("mapping", "match"),
    [
        ({}, "there is no such error model"),
        ({"kind": "exponential", "additive": 1}, "error.kind=exponential"),
        ({"kind": "additive"}, "the error additive has additive"),
        ({"kind": "additive", "additive": 1, "proportional": 0.1}, "Remove it, or change the kind"),
        ({"kind": "proportional", "proportional": 15}, "If it is a percent, write 0.15 or 15%"),
        ({"kind": "proportional", "proportional": 0}, "the median of a prior must be"),
        ({"kind": "additive", "additive": 5e3}, "an additive error must be a finite number <= 1000 mg/L"),
        ({"kind": "additive", "additive": 1, "nu": 3}, "degrees of freedom belong to a Student error"),
        (
            {"kind": "student_additive", "additive": 1, "nu": -3},
            "degrees of freedom must be a finite number > 0",
        ),
        ({"kind": "additive", "additive": "1 mg"}, "a number is wanted here"),
    ],
)
def test_error__refused(mapping, match):
    with pytest.raises(InputError, match=re.escape(match)):
        ErrorModel.from_mapping(mapping)
