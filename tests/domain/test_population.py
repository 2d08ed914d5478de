"""Populations: reading them, printing them, and what is refused."""

import pickle

import numpy as np
import pytest

from tdmx_dask.domain.document import parse_yaml
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.section import Item
from tdmx_dask.domain.variability import omega_of_cv
from tdmx_dask.errors import InputError
from tests.domain.populations import CEFATHIAMIDINE, LI, MEROPENEM, patients, population


class TestReading:
    def test_names_are_printed_as_the_seed_does(self):
        meropenem = Population.from_mapping(MEROPENEM)
        assert meropenem.model == "2C"
        assert list(meropenem.parameters) == ["CL", "Vc", "Q1", "Vp1"]
        assert meropenem.etas == ("CL", "Vc")
        assert meropenem.fu == 1.0
        assert meropenem.covariates["CCr"].unit == "mL/min/1.73m2"
        assert str(meropenem.parameters["CL"]) == "13.6 * (CCr / 87.6)**0.66"

    def test_scales_of_variability(self):
        meropenem, li = Population.from_mapping(MEROPENEM), Population.from_mapping(LI)
        assert np.sqrt(np.diag(meropenem.omega)) == pytest.approx(
            [np.sqrt(np.log(1 + 0.221**2)), np.sqrt(np.log(1 + 0.23**2))], rel=1e-14
        )
        assert np.diag(li.omega) == pytest.approx([0.0884, 0.0976, 0.103, 0.0726], rel=1e-14)
        assert omega_of_cv(0.8854) == pytest.approx(0.7608025808895648, rel=1e-12)  # Adamiszak 2025, printed
        assert omega_of_cv(0.5585) == pytest.approx(0.5210503124413062, rel=1e-12)

    def test_correlations_make_covariances(self):
        omega = Population.from_mapping(LI).omega
        assert omega[0, 1] == pytest.approx(0.4 * np.sqrt(0.0884 * 0.0976), rel=1e-13)
        assert omega[2, 3] == omega[3, 2] == pytest.approx(-0.3 * np.sqrt(0.103 * 0.0726), rel=1e-13)
        assert omega[0, 2] == omega[1, 3] == 0

    @pytest.mark.parametrize("matrix", [[[0.05], [0.01, 0.06]], [[0.05, 0.01], [0.01, 0.06]]])
    def test_a_covariance_in_place_of_bsv(self, matrix):
        given = population(bsv=None, covariance={"etas": ["V", "CL"], "matrix": matrix})
        np.testing.assert_array_equal(given.omega, [[0.06, 0.01], [0.01, 0.05]])

    def test_nonmem_names_under_bsv_follow_the_parameters(self):
        """Q2 is the first flow in ADVAN11, and the second beside Q1."""
        numbers = {"CL": 10, "V1": 50, "Q2": 5, "V2": 100, "Q3": 3, "V3": 150}
        nonmem = population(parameters=numbers, bsv={"Q2": {"omega": 0.1}})
        assert nonmem.etas == ("Q1",)
        assert [each.constant for each in nonmem.parameters.values()] == [10, 50, 5, 100, 3, 150]
        seed = {"CL": 10, "Vc": 50, "Q1": 5, "Vp1": 100, "Q2": 3, "Vp2": 150}
        assert population(parameters=seed, bsv={"Q2": {"omega": 0.1}}).etas == ("Q2",)

    @pytest.mark.parametrize("mapping", [MEROPENEM, CEFATHIAMIDINE, LI])
    def test_round_trip(self, mapping):
        first = Population.from_mapping(mapping)
        again = Population.from_mapping(first.to_mapping())
        assert again == first
        assert hash(again) == hash(first)
        assert again.to_mapping() == first.to_mapping()
        np.testing.assert_array_equal(again.omega, first.omega)
        travelled = pickle.loads(pickle.dumps(first))  # noqa: S301
        assert travelled == first
        for name, values in patients(first).items():
            np.testing.assert_array_equal(patients(travelled)[name], values)

    def test_a_variance_without_an_exact_root_survives_the_round_trip(self):
        first = population(bsv=None, covariance={"etas": ["CL", "Vc"], "matrix": [[0.3], [0.0, 0.7]]})
        assert Population.from_mapping(first.to_mapping()) == first

    def test_populations_that_differ_are_not_equal(self):
        assert population() != population(name="other")
        assert population() != population(bsv={"CL": {"omega": 0.3}, "Vc": {"omega": 0.20001}})
        assert population() != 3

    def test_fu_in_its_forms(self):
        assert population(fu=0.98).fu == 0.98
        assert population(fu="98%").fu == 0.98
        assert population(fu="0.5 + 0.4").fu == 0.9
        assert (
            str(population(fu="1 - ALB / 100", covariates={"ALB": {"unit": "g/L", "value": 30}}).fu)
            == "1 - ALB / 100"
        )
        assert population().fu is None


BAD = [
    (
        {"parmeters": {}},
        r"population\.parmeters=\{\}: this key is not known here\. Did you mean parameters\?",
    ),
    ({"parameters": None}, r"population\.parameters=null: population needs this key"),
    ({"parameters": {"CL": 5}}, r"parameters=CL: a 1C model needs CL Vc; missing: Vc"),
    ({"model": "2C"}, r"a 2C model needs CL Vc Q1 Vp1; missing: Q1 Vp1"),
    ({"model": "4C"}, r"population\.model=4C: a model has one, two or three compartments"),
    (
        {"parameters": {"CL": 5, "Vc": 20, "Vcc": 3}},
        r"parameters\.Vcc=3: the model has no parameter .* Did you mean Vc\?",
    ),
    ({"parameters": {"CL": 5, "Vc": 20, "V": 3}}, r"Vc, V: both stand for Vc"),
    ({"parameters": {"CL": "5 * CCR", "Vc": 20}}, r"CL=5 \* CCR: CCR is neither theta nor covariate"),
    (
        {"parameters": {"CL": "5 * CCR", "Vc": 20}, "covariates": {"CCr": {"unit": "mL/min", "value": 90}}},
        r"CCR is neither theta nor covariate\. Did you mean CCr\?",
    ),
    (
        {"parameters": {"CL": "a.b", "Vc": 20}},
        r"population\.parameters\.CL=a\.b: a\.b is not allowed in a formula",
    ),
    ({"parameters": {"CL": True, "Vc": 20}}, r"parameters\.CL=true: a formula is a text or a number"),
    (
        {"parameters": {"CL": -5, "Vc": 20}},
        r"population\.parameters\.CL=-5: clearance must be above 0 L/h and finite",
    ),
    ({"parameters": {"CL": "5 - 5", "Vc": 20}}, r"CL=0: clearance must be above 0 L/h"),
    ({"parameters": {"CL": "1 / 0", "Vc": 20}}, r"CL=inf: clearance must be above 0 L/h and finite"),
    ({"thetas": {"TVCL": 3}}, r"thetas=TVCL: no formula uses it"),
    ({"thetas": {"exp": 3}}, r"thetas=exp: the name has another meaning in a formula"),
    ({"thetas": {"TVCL": "x"}}, r"thetas\.TVCL=x: a number is wanted here"),
    (
        {
            "thetas": {"WT": 3},
            "parameters": {"CL": "WT", "Vc": 1},
            "covariates": {"WT": {"unit": "kg", "value": 3}},
        },
        r"thetas=WT: a covariate has this name too",
    ),
    (
        {"bsv": {"CL": 0.22}},
        r"bsv\.CL=0\.22: its scale must be named.* Write \{cv: 0\.22\}, \{omega: 0\.22\}",
    ),
    (
        {"bsv": {"CL": {"cv": 22.1}}},
        r"bsv\.CL\.cv=22\.1: a fraction here is at most 3\. If it is a percent, write 0\.221 or 22\.1%",
    ),
    ({"bsv": {"CL": {"omega": 38.6}}}, r"omega=38\.6: .* write 0\.386 or 38\.6%"),
    ({"bsv": {"CL": {"variance": 22}}}, r"variance=22: it must be between 0 and 9"),
    ({"bsv": {"CL": {"cv": -0.1}}}, r"cv=-0\.1: it must be at least 0"),
    ({"bsv": {"CL": {"cv": "22"}}}, r"cv=22: a fraction is a number such as 0\.221, or a percent"),
    ({"bsv": {"CL": {"cv": "-22%"}}}, r"cv=-22%: a fraction is a number"),
    ({"bsv": {"CL": {"cv": float("nan")}}}, r"cv=nan: the number must be finite"),
    ({"bsv": {"CL": {"cv": 0.2, "omega": 0.2}}}, r"one of omega, cv and variance"),
    ({"bsv": {"CL": {"sd": 0.2}}}, r"bsv\.CL\.sd=0\.2: this key is not known"),
    ({"bsv": {"Q1": {"cv": 0.2}}}, r"bsv\.Q1=\{cv\}: Q1 is no parameter of this model"),
    ({"bsv": {"Vc": {"cv": 0.2}, "V": {"cv": 0.2}}}, r"bsv\.V=\{cv\}: Vc has its variability twice"),
    ({"correlations": {"CL, Vc": 1.2}}, r"correlations\.CL, Vc=1\.2: it must be between -1 and 1"),
    ({"correlations": {"CL": 0.2}}, r'a correlation is named by two parameters, as "CL, Vc"'),
    ({"correlations": {"CL, CL": 0.2}}, r"a correlation joins two parameters, once"),
    ({"correlations": {"CL, Vc": 0.2, "Vc, CL": 0.2}}, r"a correlation joins two parameters, once"),
    (
        {"correlations": {"CL, Vc": 0.2}, "bsv": {"CL": {"cv": 0.2}}},
        r"Vc has no variability\. Give bsv a value for Vc",
    ),
    (
        {"covariance": {"etas": ["CL"], "matrix": [[0.1]]}},
        r"a covariance stands in place of bsv and correlations",
    ),
    ({"bsv": None, "covariance": {"etas": ["CL", "Vc"], "matrix": [[0.1]]}}, r"one row for each of its etas"),
    ({"bsv": None, "covariance": {"etas": ["CL", "Vc"], "matrix": [[0.1], [0.1]]}}, r"row 2 has 2 numbers"),
    (
        {"bsv": None, "covariance": {"etas": ["CL", "Vc"], "matrix": [[0.1, 0.02], [0.01, 0.1]]}},
        r"not symmetric in CL, Vc",
    ),
    (
        {"bsv": None, "covariance": {"etas": ["CL", "Vc"], "matrix": [[0.1], [0.2, 0.1]]}},
        r"omega=\[\[0\.1, 0\.2\], \[0\.2, 0\.1\]\]: a covariance must be positive semidefinite",
    ),
    ({"bsv": None, "covariance": {"etas": ["CL"], "matrix": [[-0.1]]}}, r"positive semidefinite"),
    ({"fu": 89}, r"fu=89: a fraction here is at most 1\. If it is a percent, write 0\.89 or 89%"),
    ({"fu": "150%"}, r"fu=1\.5: the unbound fraction must be above 0 and at most 1"),
    ({"fu": 0}, r"fu=0: the unbound fraction must be above 0"),
    ({"fu": "1 - ALB"}, r"fu=1 - ALB: ALB is neither theta nor covariate"),
    ({"covariates": {"WT": 70}}, r"covariates\.WT=70: a covariate states its unit and its value"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_populations_are_refused(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        population(**changes)
    assert "\n" not in str(caught.value)


def test_three_impossible_correlations_are_refused():
    bsv = {key: {"omega": 0.3} for key in ("CL", "Vc", "Q1")}
    correlations = {"CL, Vc": 0.9, "CL, Q1": 0.9, "Vc, Q1": -0.9}
    with pytest.raises(InputError, match="positive semidefinite: no combination of etas"):
        population(parameters={"CL": 1, "Vc": 1, "Q1": 1, "Vp1": 1}, bsv=bsv, correlations=correlations)


YAML = """
name: study
population:
  parameters: {CL: "5 * (CCr/90)", Vc: 20}
  covariates: {CCr: {unit: mL/min, value: 90}}
  bsv:
    CL: {cv: 0.2}
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("cv: 0.2", "cv: 20", 7),
        ("cv: 0.2", "cvv: 20", 7),
        ("5 * (CCr/90)", "5 * [CCr]", 4),
        ("value: 90", "expression: a.b", 5),
        ("value: 90", "uniform: {low: 3, high: 2}", 5),
        ("5 * (CCr/90)", "5 * (CCR/90)", 3),
        ("20}", "-20}", 3),
    ],
)
def test_the_line_of_a_file_is_named_once(old, new, line):
    top = parse_yaml(YAML.replace(old, new), file="study.yaml")
    for given in (top["population"], Item(top["population"], "population", "study.yaml, line 3")):
        if line == 3 and not isinstance(given, Item):
            continue
        with pytest.raises(InputError, match=r"^population\.") as caught:
            Population.from_mapping(given)
        assert str(caught.value).endswith(f"(study.yaml, line {line})")
        assert str(caught.value).count("study.yaml") == 1
