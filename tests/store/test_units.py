"""Units: spellings, factors and refusals."""

import pytest

from tdmx_dask.errors import InputError, SchemaError
from tdmx_dask.store.units import factor, same_unit


@pytest.mark.parametrize("unit", ["L/h", "l/h", "L/hr", "L h^-1", "L·h⁻¹", "[L/h]", " L / h "])
def test_same_unit__spellings(unit):
    assert same_unit(unit, "L/h")
    assert factor("CL", unit, "L/h") == 1.0


@pytest.mark.parametrize(
    ("name", "unit", "ours", "expected"),
    [
        ("CL", "mL/min", "L/h", 0.06),  # 100 mL/min = 6 L/h
        ("CL", "L/day", "L/h", 1 / 24),
        ("CL", "L/min", "L/h", 60.0),
        ("Vc", "mL", "L", 0.001),
        ("ka", "min⁻¹", "1/h", 60.0),
        ("tlag", "min", "h", 1 / 60),
        ("Km", "µg/mL", "mg/L", 1.0),
        ("WT", "g", "kg", 0.001),
        ("fu", "%", "1", 0.01),
    ],
)
def test_factor(name, unit, ours, expected):
    assert not same_unit(unit, ours) or expected == 1.0
    assert factor(name, unit, ours) == pytest.approx(expected, rel=1e-15)


def test_factor__refuses_a_unit_of_something_else():
    with pytest.raises(
        SchemaError, match=r"units\[CL\]=mg: it is no unit of CL, which is in L/h\. Known: L/h, ml/h"
    ):
        factor("CL", "mg", "L/h")


@pytest.mark.parametrize("unit", ["L/h/kg", "mL/min/1.73m2"])
def test_factor__refuses_a_unit_per_size(unit):
    with pytest.raises(SchemaError, match="Multiply by the patient's weight or body surface"):
        factor("CL", unit, "L/h")


def test_factor__refuses_a_variable_without_a_unit():
    with pytest.raises(InputError, match=r"units\[AGE\]=year: the unit of AGE is not known\. Leave it out\."):
        factor("AGE", "year", "")
