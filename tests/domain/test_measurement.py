from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.covariate import Covariate
from tdmx_dask.domain.measurement import Measurement
from tdmx_dask.errors import InputError


@given(st.floats(-1e6, 1e6), st.sampled_from(["", "kg", "mL/min/1.73m2", "umol/L", "IU/L"]))
def test_measurement__round_trip(value, unit):
    one = Measurement(value + 0.0, unit)
    assert Measurement.read("X", one.plain()) == one


@pytest.mark.parametrize(
    ("given", "unit", "value"),
    [
        (70, "kg", 70),
        ("3200 g", "kg", 3.2),
        ("88.4 µmol/L", "mg/dL", 1.0),
        ("1.7 m", "cm", 170),
        ("female", "female", 1),
        ("female", "male", 0),
        ("Male", "male", 1),
        (0, "female", 0),
        ("12 months", "years", 1.0),
        ("75 ml/min/1.73 m²", "mL/min/1.73m2", 75),
    ],
)
def test_measurement__in_the_units_of_a_covariate(given, unit, value):
    assert Measurement.read("X", given).as_covariate(Covariate("X", unit)) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("given", "unit", "match"),
    [
        ("75 mL/min", "mL/min/1.73m2", "the population takes mL/min/1.73m2, another quantity"),
        ("75 mL/min/1.73m2", "mL/min", "Convert it by the patient's body surface"),
        ("70 kg", "years", "its unit must be years or months or weeks or days"),
        (0.5, "female", "1 is female and 0 is not; no other"),
        ("female", "kg", "its unit must be kg or g"),
        ("tall", "cm", "this is no value of a covariate"),
        (True, "cm", "a covariate must be a finite number"),
        (None, "cm", "a covariate must be a finite number"),
        (float("nan"), "cm", "a covariate must be a finite number"),
        ([1], "cm", "a covariate must be a finite number"),
    ],
)
def test_measurement__refused(given, unit, match):
    with pytest.raises(InputError, match=re.escape(match)):
        Measurement.read("X", given).as_covariate(Covariate("X", unit))
