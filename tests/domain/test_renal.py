"""Renal function and body size against published calculators and values computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdmx_dask.domain import renal
from tdmx_dask.domain.covariate_units import canonical_unit, conversion_factor
from tdmx_dask.domain.renal import (
    EQUATIONS,
    INPUT_UNITS,
    WEIGHTS,
    absolute_clearance,
    adjusted_weight,
    bsa_dubois,
    bsa_mosteller,
    chosen_weight,
    ckd_epi_2021,
    cockcroft_gault,
    ideal_weight,
    indexed_clearance,
    lean_weight,
    mdrd,
)
from tdmx_dask.errors import InputError

MG_DL = 1 / 88.4

# National Kidney Foundation's and MDCalc's calculators, as quoted by pharmaverse/admiral, tests/testthat/
# test-compute_kidney.R; 71: kidney.org for a man of 55 years with 1.2 mg/dL. Whole numbers as the calculators print.
PUBLISHED_GFR = [
    (ckd_epi_2021, {"age": 55, "scr": 1.2, "female": 0}, 71, 0.5),
    (ckd_epi_2021, {"age": 55, "scr": 1.09, "female": 0}, 80, 0.5),
    (ckd_epi_2021, {"age": 65, "scr": 85 * MG_DL, "female": 1}, 66, 0.5),
    (mdrd, {"age": 55, "scr": 1.09, "female": 0}, 70.2, 0.05),
    (mdrd, {"age": 65, "scr": 85 * MG_DL, "female": 1, "race_factor": 1.212}, 70.6, 0.05),
    (cockcroft_gault, {"age": 55, "weight": 90, "scr": 1.09, "female": 0}, 97, 0.5),
    (cockcroft_gault, {"age": 65, "weight": 60, "scr": 85 * MG_DL, "female": 1}, 55, 0.5),
    # the same file, values by its own code with 88.42 umol/L a mg/dL
    (ckd_epi_2021, {"age": 55, "scr": 96.3 / 88.42, "female": 0}, 80.2293, 5e-5),
    (ckd_epi_2021, {"age": 52, "scr": 70 / 88.42, "female": 1}, 89.7175, 5e-5),
    (ckd_epi_2021, {"age": 67, "scr": 77 / 88.42, "female": 0}, 94.5453, 5e-5),
    (ckd_epi_2021, {"age": 76, "scr": 65 / 88.42, "female": 1}, 84.4646, 5e-5),
    # InsightRX/clinPK, tests/testthat/test_calc_egfr.R
    (cockcroft_gault, {"age": 40, "weight": 80, "scr": 1, "female": 0}, 111, 0.5),
    (cockcroft_gault, {"age": 40, "weight": 80, "scr": 0.2, "female": 0}, 556, 0.5),
]


@pytest.mark.parametrize(("function", "inputs", "published", "tolerance"), PUBLISHED_GFR)
def test_published_values(function, inputs, published, tolerance):
    assert function(**inputs) == pytest.approx(published, abs=tolerance)


def test_cockcroft_gault_with_other_weights():
    """InsightRX/clinPK, test_calc_egfr.R: 150 kg, 180 cm, 1 mg/dL."""
    adjusted, ideal = adjusted_weight(150, 180, 0), ideal_weight(180, 0)
    assert cockcroft_gault(50, adjusted, 1, 0) == pytest.approx(131, abs=0.5)
    assert cockcroft_gault(40, ideal, 1, 0) == pytest.approx(104, abs=0.5)
    assert indexed_clearance(cockcroft_gault(40, 80, 1, 0), bsa_mosteller(80, 180)) == pytest.approx(
        96, abs=0.5
    )


def test_cockcroft_gault_by_hand():
    assert cockcroft_gault(age=68, weight=72, scr=1.0, female=0) == 72
    assert cockcroft_gault(age=68, weight=72, scr=2.0, female=1) == pytest.approx(30.6, rel=1e-15)


def test_ckd_epi_by_hand_at_its_knots():
    """At SCR = κ both powers are 1."""
    assert ckd_epi_2021(50, 0.9, 0) == pytest.approx(142 * 0.9938**50, rel=1e-15)
    assert ckd_epi_2021(50, 0.7, 1) == pytest.approx(142 * 0.9938**50 * 1.012, rel=1e-15)
    assert ckd_epi_2021(50, 1.8, 0) == pytest.approx(142 * 2**-1.2 * 0.9938**50, rel=1e-14)
    assert ckd_epi_2021(50, 0.45, 0) == pytest.approx(142 * 2**0.302 * 0.9938**50, rel=1e-14)
    assert ckd_epi_2021(50, 0.35, 1) == pytest.approx(142 * 2**0.241 * 0.9938**50 * 1.012, rel=1e-14)


def test_mdrd_by_hand():
    assert mdrd(1, 1, 0) == 175
    assert mdrd(1, 1, 1) == pytest.approx(129.85, rel=1e-14)
    assert mdrd(1, 1, 0, race_factor=1.212) == pytest.approx(212.1, rel=1e-14)


def test_weights_by_hand():
    assert ideal_weight(60 * 2.54, np.array([0, 1])) == pytest.approx([50, 45.5], rel=1e-14)
    assert ideal_weight(160, np.array([0, 1])) == pytest.approx([56.881890, 52.381890], abs=5e-7)  # clinPK
    assert adjusted_weight(100, 60 * 2.54, 0) == pytest.approx(70, rel=1e-14)
    # BMI 20: 9270 * 80 / (6680 + 216 * 20) and / (8780 + 244 * 20)
    assert lean_weight(80, 200, np.array([0, 1])) == pytest.approx(
        [741600 / 11000, 741600 / 13660], rel=1e-14
    )


def test_body_surface():
    assert bsa_mosteller(80, 180) == 2.0
    # 0.007184 × 70^0.425 × 170^0.725 by logarithms: exp(-4.93590 + 0.425 × 4.24850 + 0.725 × 5.13580)
    assert bsa_dubois(70, 170) == pytest.approx(1.8097, abs=1e-4)


def test_absolute_and_indexed_are_inverse():
    assert absolute_clearance(100, 1.73) == 100
    assert absolute_clearance(80, 2.0) == pytest.approx(160 / 1.73, rel=1e-15)
    bsa = np.array([0.3, 1.73, 2.9])
    assert indexed_clearance(absolute_clearance(80, bsa), bsa) == pytest.approx(80, rel=1e-14)


@settings(max_examples=50, deadline=None)
@given(st.floats(18, 95), st.floats(0.2, 12), st.floats(35, 200), st.sampled_from([0, 1]))
def test_laws(age, scr, weight, female):
    assert ckd_epi_2021(age, scr * 1.01, female) < ckd_epi_2021(age, scr, female)
    assert mdrd(age + 1, scr, female) < mdrd(age, scr, female)
    assert cockcroft_gault(age, 2 * weight, scr, female) == pytest.approx(
        2 * cockcroft_gault(age, weight, scr, female)
    )
    assert cockcroft_gault(age, weight, scr, 1) == pytest.approx(0.85 * cockcroft_gault(age, weight, scr, 0))
    assert 0 < lean_weight(weight, 170, female) < weight


def test_every_equation_takes_known_inputs_and_gives_its_unit():
    values = {
        "AGE": np.array(40.0),
        "WT": np.array(80.0),
        "HT": np.array(180.0),
        "SCR": np.array(1.0),
        "SEX": np.array(0.0),
    }
    expected = {
        "cockcroft-gault": ("mL/min", 111.1111),
        "ckd-epi-2021": ("mL/min/1.73m2", 97.5751),
        "mdrd": ("mL/min/1.73m2", 82.7599),
        "mosteller": ("m2", 2.0),
        "dubois": ("m2", 1.9964),
        "ideal-weight": ("kg", 74.9921),
        "adjusted-weight": ("kg", 76.9953),
        "lean-weight": ("kg", 61.7314),
    }
    assert set(EQUATIONS) == set(expected)
    for name, equation in EQUATIONS.items():
        assert set(equation.inputs) <= set(INPUT_UNITS)
        unit, value = expected[name]
        assert equation.unit == unit
        assert equation.is_clearance == unit.startswith("mL/min")
        assert equation.function({key: values[key] for key in equation.inputs}) == pytest.approx(
            value, abs=5e-4
        )


def test_chosen_weight():
    values = {"WT": np.array(150.0), "HT": np.array(180.0), "SEX": np.array(0.0)}
    found = {each: float(chosen_weight(each, values)) for each in WEIGHTS}
    assert found == {
        "total": 150,
        "ideal": ideal_weight(180, 0),
        "adjusted": adjusted_weight(150, 180, 0),
        "lean": lean_weight(150, 180, 0),
    }


def test_references_are_named():
    for function in (
        cockcroft_gault,
        ckd_epi_2021,
        mdrd,
        bsa_mosteller,
        bsa_dubois,
        lean_weight,
        adjusted_weight,
        ideal_weight,
    ):
        assert "doi:10." in function.__doc__
    assert renal.__doc__


@pytest.mark.parametrize(
    ("given_unit", "canonical"),
    [
        ("ml/min", "mL/min"),
        (" mL / min / 1.73 m^2", "mL/min/1.73m2"),
        ("mL/min/1.73m²", "mL/min/1.73m2"),
        ("mL/min/1.73 m**2", "mL/min/1.73m2"),
        ("µmol/L", "umol/L"),
        ("μmol/l", "umol/L"),
        ("MG/DL", "mg/dL"),
        ("yr", "years"),
        ("", "1"),
        ("g/l", "g/L"),
        ("cells/uL", "cells/uL"),
    ],
)
def test_units_have_one_spelling(given_unit, canonical):
    assert canonical_unit(given_unit) == canonical
    assert canonical_unit(canonical) == canonical


def test_conversion_factors():
    assert conversion_factor("umol/L", "mg/dL", "SCR") == pytest.approx(1 / 88.4, rel=1e-15)
    assert conversion_factor("mg/dL", "umol/L", "SCR") == pytest.approx(88.4, rel=1e-15)
    assert conversion_factor("months", "years", "AGE") == pytest.approx(1 / 12)
    assert conversion_factor("g", "kg", "WT") == 1e-3
    assert conversion_factor("m", "cm", "HT") == 100
    assert conversion_factor("IU/L", "IU/L", "ALT") == 1


@pytest.mark.parametrize(
    ("unit", "wanted", "message"),
    [
        ("mL/min", "mL/min/1.73m2", r"CCr=mL/min: its unit must be mL/min/1\.73m2"),
        ("g/L", "mg/dL", r"CCr=g/L: its unit must be mg/dL or umol/L\. State the unit"),
        ("kg", "cm", r"its unit must be cm or m"),
    ],
)
def test_units_of_other_quantities_are_refused(unit, wanted, message):
    with pytest.raises(InputError, match=message):
        conversion_factor(unit, wanted, "CCr")
