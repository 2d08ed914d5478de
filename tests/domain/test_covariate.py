"""Covariates: their distributions, their equations, their units, and the order in which they are derived."""

import math
import pickle

import numpy as np
import pytest

from tdmx_dask.domain.covariate import Covariate, Derivation, in_order
from tdmx_dask.domain.distribution import Distribution
from tdmx_dask.domain.expression import Expression
from tdmx_dask.domain.renal import (
    bsa_dubois,
    bsa_mosteller,
    ckd_epi_2021,
    cockcroft_gault,
    ideal_weight,
    lean_weight,
    mdrd,
)
from tdmx_dask.domain.section import Item
from tdmx_dask.domain.variability import omega_of_cv
from tdmx_dask.errors import InputError, TdmxWarning
from tdmx_dask.kernels.random import PURPOSE_COVARIATE

UNIFORM = (np.arange(200_000) + 0.5) / 200_000


def read(name, **mapping):
    return Covariate.from_item(name, Item(mapping, f"covariates.{name}"))


class TestReading:
    @pytest.mark.parametrize(
        ("mapping", "rule"),
        [
            ({"value": 70}, 70.0),
            ({"normal": {"mean": 70, "sd": 10}}, Distribution("normal", 70, 10)),
            ({"normal": {"mean": 70, "cv": "10%", "low": 40}}, Distribution("normal", 70, 7, low=40)),
            ({"lognormal": {"median": 70, "omega": 0.2}}, Distribution("lognormal", 70, 0.2)),
            (
                {"lognormal": {"median": 70, "cv": 0.2}},
                Distribution("lognormal", 70, omega_of_cv(0.2)),
            ),
            ({"uniform": {"low": 40, "high": 90}}, Distribution("uniform", low=40, high=90)),
            (
                {"discrete": {"values": [40, 50]}},
                Distribution("discrete", values=(40, 50), weights=(0.5, 0.5)),
            ),
            ({"expression": "2 * HT"}, Expression.parse("2 * HT")),
            ({"equation": "lean-weight"}, Derivation("lean-weight")),
            ({}, None),
        ],
    )
    def test_each_form(self, mapping, rule):
        covariate = read("WT", unit="KG", **mapping)
        assert (covariate.unit, covariate.rule) == ("kg", rule)
        assert Covariate.from_item("WT", Item(covariate.to_mapping(), "WT")) == covariate
        assert pickle.loads(pickle.dumps(covariate)) == covariate  # noqa: S301

    @pytest.mark.parametrize("spread", [{"sd": 14}, {"cv": 0.2}])
    def test_a_lognormal_by_its_mean_has_that_mean_and_sd(self, spread):
        rule = read("WT", unit="kg", lognormal={"mean": 70, **spread}).rule
        found = rule.quantile(UNIFORM)
        assert found.mean() == pytest.approx(70, rel=1e-4)
        assert found.std() == pytest.approx(14, rel=1e-3)

    def test_a_sex_is_read_by_its_name(self):
        assert read("SEX", unit="female", value="male").rule == 0.0
        assert read("SEX", unit="male", value="Male").rule == 1.0
        drawn = read(
            "SEX", unit="female", discrete={"values": ["female", "male"], "weights": [0.4, 0.6]}
        ).rule
        assert drawn == Distribution("discrete", values=(1, 0), weights=(0.4, 0.6))

    def test_weights_that_do_not_sum_to_one_are_normalised_with_a_warning(self):
        with pytest.warns(TdmxWarning, match=r"covariates\.WT\.discrete\.weights sum to 4, not to 1"):
            rule = read("WT", unit="kg", discrete={"values": [1, 2], "weights": [1, 3]}).rule
        assert rule.weights == (0.25, 0.75)

    def test_derivations_round_trip(self):
        mapping = {
            "unit": "mL/min/1.73m2",
            "equation": "cockcroft-gault",
            "weight": "adjusted",
            "bsa": "dubois",
            "inputs": {"SCR": "CREA"},
        }
        covariate = read("CCr", **mapping)
        assert covariate.to_mapping() == mapping
        assert covariate.sources == ("AGE", "WT", "CREA", "SEX", "HT")

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [
            ({"value": 70}, r"covariates\.WT=\{value\}: every covariate states its unit\. Write unit: kg"),
            (
                {"unit": "kg", "valu": 70},
                r"covariates\.WT\.valu=70: this key is not known here\. Did you mean value\?",
            ),
            (
                {"unit": "kg", "value": 7, "uniform": {}},
                r"value and uniform are two sources of one covariate",
            ),
            ({"unit": "kg", "value": "heavy"}, r"covariates\.WT\.value=heavy: a number is wanted here"),
            ({"unit": "kg", "value": math.inf}, r"the number must be finite"),
            ({"unit": "kg", "value": 7, "weight": "total"}, r"WT\.weight=total: it belongs to an equation"),
            (
                {"unit": "kg", "uniform": {"low": 5, "high": 3}},
                r"covariates\.WT\.uniform\.low=5: it must be below high=3",
            ),
            ({"unit": "kg", "uniform": {"low": 5}}, r"uniform\.high=null: .* needs this key"),
            ({"unit": "kg", "normal": {"mean": 70}}, r"a normal has a mean and its sd or cv"),
            (
                {"unit": "kg", "normal": {"mean": 70, "sd": -1}},
                r"covariates\.WT\.normal\.sd=-1: the spread must be",
            ),
            (
                {"unit": "kg", "normal": {"mean": 70, "cv": 20}},
                r"cv=20: .* If it is a percent, write 0\.2 or 20%",
            ),
            ({"unit": "kg", "lognormal": {"median": 70}}, r"a lognormal has a middle and a spread"),
            (
                {"unit": "kg", "lognormal": {"median": 70, "sd": 3}},
                r"Give median with omega or cv, or mean with sd or cv",
            ),
            (
                {"unit": "kg", "lognormal": {"median": 70, "mean": 71, "cv": 3}},
                r"a lognormal has a middle and a spread",
            ),
            (
                {"unit": "kg", "lognormal": {"median": 0, "cv": 0.3}},
                r"median=0: the middle of a lognormal must be above 0",
            ),
            (
                {"unit": "kg", "discrete": {"values": [1, 2], "weights": [1]}},
                r"2 and 1: it needs as many weights as values",
            ),
            (
                {"unit": "kg", "discrete": {"values": [1, 2], "weights": [0, 0]}},
                r"at least one weight must be above 0",
            ),
            (
                {"unit": "kg", "expression": "os.system"},
                r"covariates\.WT\.expression=os\.system: os\.system is not allowed",
            ),
            (
                {"unit": "kg", "equation": "lean-wieght"},
                r"equation=lean-wieght: there is no equation .* Did you mean lean-weight\?",
            ),
            (
                {"unit": "mL/min", "equation": "cockcroft-gault"},
                r"needs to know which weight it is given\. Write weight: total",
            ),
            (
                {"unit": "mL/min", "equation": "cockcroft-gault", "weight": "fat"},
                r"weight=fat: one of total, ideal, adjusted, lean",
            ),
            (
                {"unit": "kg", "equation": "lean-weight", "weight": "total"},
                r"lean-weight takes no choice of weight\. Remove it",
            ),
            (
                {"unit": "mL/min", "equation": "mdrd", "bsa": "monsteller"},
                r"bsa=monsteller: .* Did you mean mosteller\?",
            ),
            (
                {"unit": "mL/min/1.73m2", "equation": "mdrd", "inputs": {"HT": "H"}},
                r"inputs=HT: mdrd is computed from AGE, SCR, SEX",
            ),
        ],
    )
    def test_bad_ones_are_refused(self, mapping, message):
        with pytest.raises(InputError, match=message):
            read("WT", **mapping)

    @pytest.mark.parametrize("name", ["a b", "exp", "__WT", "ＷＴ"])
    def test_names_that_no_formula_can_use_are_refused(self, name):
        with pytest.raises(InputError, match=r"^covariates=.*Rename it"):
            read(name, unit="kg", value=3)


class TestUnits:
    @pytest.mark.parametrize(
        ("equation", "unit", "own"),
        [
            ({"equation": "cockcroft-gault", "weight": "total"}, "mL/min/1.73m2", "mL/min"),
            ({"equation": "ckd-epi-2021"}, "mL/min", "mL/min/1.73m2"),
            ({"equation": "mdrd"}, "mL/min", "mL/min/1.73m2"),
        ],
    )
    def test_another_clearance_is_refused_with_the_conversion_as_fix(self, equation, unit, own):
        message = rf"unit={unit}: .* gives {own}, another quantity\. Write bsa: mosteller \(or dubois\), or state unit: {own}"
        with pytest.raises(InputError, match=message):
            read("CCr", unit=unit, **equation)
        assert read("CCr", unit=unit, bsa="mosteller", **equation).unit == unit
        with pytest.raises(InputError, match=rf"bsa=dubois: .* gives {own}, so nothing is converted"):
            read("CCr", unit=own, bsa="dubois", **equation)

    @pytest.mark.parametrize("unit", ["L/h", "mg/dL", "1"])
    def test_a_clearance_in_no_clearance_unit_is_refused(self, unit):
        with pytest.raises(InputError, match=r"unit=mL/min/1\.73m2: its unit must be"):
            read("GFR", unit=unit, equation="mdrd")

    def test_a_weight_may_be_in_grams(self):
        covariate = read("LBW", unit="g", equation="ideal-weight")
        found = covariate.derived(
            {"HT": np.array([170.0]), "SEX": np.array([1.0])}, {"HT": "cm", "SEX": "female"}
        )
        assert found[0] == pytest.approx(1000 * ideal_weight(170, 1))


PATIENTS = {
    "AGE": np.array([30.0, 80.0]), "WT": np.array([60.0, 95.0]), "HT": np.array([165.0, 180.0]),
    "SCR": np.array([0.8, 1.7]), "SEX": np.array([1.0, 0.0]),
}  # fmt: skip
UNITS = {"AGE": "years", "WT": "kg", "HT": "cm", "SCR": "mg/dL", "SEX": "female"}


def derived(values=PATIENTS, units=UNITS, **mapping):
    return read("X", **mapping).derived(values, units)


class TestDerivation:
    def test_equations_are_those_of_renal(self):
        p = PATIENTS
        total = cockcroft_gault(p["AGE"], p["WT"], p["SCR"], p["SEX"])
        lean = cockcroft_gault(p["AGE"], lean_weight(p["WT"], p["HT"], p["SEX"]), p["SCR"], p["SEX"])
        ideal = cockcroft_gault(p["AGE"], ideal_weight(p["HT"], p["SEX"]), p["SCR"], p["SEX"])
        cg = {"equation": "cockcroft-gault", "unit": "mL/min"}
        np.testing.assert_array_equal(derived(weight="total", **cg), total)
        np.testing.assert_array_equal(derived(weight="lean", **cg), lean)
        np.testing.assert_array_equal(derived(weight="ideal", **cg), ideal)
        gfr = {"equation": "ckd-epi-2021", "unit": "mL/min/1.73m2"}
        np.testing.assert_array_equal(derived(**gfr), ckd_epi_2021(p["AGE"], p["SCR"], p["SEX"]))

    def test_body_surface_is_of_the_total_weight(self):
        p = PATIENTS
        absolute = derived(equation="mdrd", unit="mL/min", bsa="mosteller")
        expected = mdrd(p["AGE"], p["SCR"], p["SEX"]) * bsa_mosteller(p["WT"], p["HT"]) / 1.73
        np.testing.assert_allclose(absolute, expected, rtol=1e-14)
        indexed = derived(equation="cockcroft-gault", weight="ideal", unit="mL/min/1.73m2", bsa="dubois")
        ideal = cockcroft_gault(p["AGE"], ideal_weight(p["HT"], p["SEX"]), p["SCR"], p["SEX"])
        np.testing.assert_allclose(indexed, ideal * 1.73 / bsa_dubois(p["WT"], p["HT"]), rtol=1e-14)

    def test_inputs_are_converted_from_their_units(self):
        others = {
            "AGE": PATIENTS["AGE"] * 12, "WT": PATIENTS["WT"] * 1000, "HT": PATIENTS["HT"] / 100,
            "SCR": PATIENTS["SCR"] * 88.4, "SEX": 1 - PATIENTS["SEX"],
        }  # fmt: skip
        units = {"AGE": "months", "WT": "g", "HT": "m", "SCR": "umol/L", "SEX": "male"}
        cg = {"equation": "cockcroft-gault", "weight": "adjusted", "unit": "mL/min"}
        np.testing.assert_allclose(derived(others, units, **cg), derived(**cg), rtol=1e-14)

    def test_inputs_may_have_other_names(self):
        values = {"CREA" if name == "SCR" else name: value for name, value in PATIENTS.items()}
        units = {"CREA" if name == "SCR" else name: unit for name, unit in UNITS.items()}
        mdrd_of = {"equation": "mdrd", "unit": "mL/min/1.73m2"}
        np.testing.assert_array_equal(
            derived(values, units, inputs={"SCR": "CREA"}, **mdrd_of), derived(**mdrd_of)
        )

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("SCR", 0.0, r"SCR=0: it must be above 0 mg/dL\. Bound its distribution by low:"),
            ("WT", -3.0, r"WT=-3: it must be above 0 kg"),
            ("AGE", math.nan, r"AGE=nan: it must be above 0 years"),
            ("SEX", 0.5, r"SEX=0\.5: 1 is female and 0 is not; no other"),
            (
                "AGE",
                150.0,
                r"X=-7\.\d+: cockcroft-gault must give a value above 0 mL/min\. .*AGE=150, WT=95, SCR=1\.7, SEX=0",
            ),
        ],
    )
    def test_impossible_patients_are_named(self, name, value, message):
        values = PATIENTS | {name: np.array([PATIENTS[name][0], value])}
        with pytest.raises(InputError, match=message):
            derived(values, equation="cockcroft-gault", weight="total", unit="mL/min")

    def test_a_formula_must_be_finite(self):
        with pytest.raises(InputError, match=r"X=inf: 1 / \(AGE - 30\) must be finite\. .*\(AGE=30\)"):
            derived(expression="1 / (AGE - 30)", unit="1")
        np.testing.assert_array_equal(derived(expression="AGE - 80", unit="1"), [-50, 0])


def covariates(**mappings):
    return {name: read(name, **mapping) for name, mapping in mappings.items()}


AGE, WT = {"unit": "years", "value": 40}, {"unit": "kg", "value": 70}
SEX, SCR = {"unit": "female", "value": 1}, {"unit": "mg/dL", "value": 1}


class TestOrder:
    def test_sources_come_first(self):
        given = covariates(
            C={"unit": "1", "expression": "B + A"}, B={"unit": "1", "expression": "A"}, A={"unit": "1", "value": 1},
            GFR={"unit": "mL/min/1.73m2", "equation": "mdrd"}, SEX=SEX, SCR=SCR, AGE=AGE,
        )  # fmt: skip
        order = in_order(given)
        assert sorted(order) == sorted(given)
        for name in given:
            assert all(order.index(source) < order.index(name) for source in given[name].sources)

    @pytest.mark.parametrize(
        ("given", "circle"),
        [
            ({"A": {"unit": "1", "expression": "A + 1"}}, "A from A"),
            (
                {"A": {"unit": "1", "expression": "B"}, "B": {"unit": "1", "expression": "A"}},
                "A from B from A",
            ),
        ],
    )
    def test_circles_are_refused(self, given, circle):
        with pytest.raises(InputError, match=rf"covariates\.A={circle}: derivations go round in a circle"):
            in_order(covariates(**given))

    def test_a_source_that_is_not_there_is_named(self):
        with pytest.raises(
            InputError, match=r"covariates\.GFR=SCR: GFR is derived from it.* Did you mean CR\?"
        ):
            in_order(covariates(AGE=AGE, SEX=SEX, CR=SCR, GFR={"unit": "mL/min/1.73m2", "equation": "mdrd"}))

    def test_a_source_in_the_unit_of_another_quantity_is_refused(self):
        given = covariates(
            AGE=AGE,
            SEX=SEX,
            SCR={"unit": "g/L", "value": 1},
            GFR={"unit": "mL/min/1.73m2", "equation": "mdrd"},
        )
        with pytest.raises(InputError, match=r"covariates\.SCR\.unit=g/L: its unit must be mg/dL or umol/L"):
            in_order(given)

    def test_a_sex_without_its_coding_is_refused(self):
        given = covariates(
            AGE=AGE, SEX={"unit": "1", "value": 1}, SCR=SCR, GFR={"unit": "mL/min/1.73m2", "equation": "mdrd"}
        )
        with pytest.raises(
            InputError, match=r"covariates\.SEX\.unit=1: the sex that is coded 1 must be named"
        ):
            in_order(given)


def test_streams_of_covariates_are_named_by_the_covariate():
    purposes = {read(f"X{i}", unit="1", value=1).purpose for i in range(1000)}
    assert len(purposes) == 1000
    assert {purpose & 255 for purpose in purposes} == {PURPOSE_COVARIATE}
    assert max(purposes) < 2**64
    assert (
        read("WT", unit="kg", value=1).purpose == read("WT", unit="g", value=2).purpose == 0xB3714EAB53B37A02
    )
