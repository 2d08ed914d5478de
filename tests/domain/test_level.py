from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdmx_dask.domain.level import LARGEST_LEVEL, LATEST, SMALLEST_LEVEL, Level
from tdmx_dask.errors import InputError

levels = st.builds(
    Level,
    st.floats(0, LATEST, allow_nan=False),
    st.floats(SMALLEST_LEVEL, LARGEST_LEVEL, allow_nan=False),
    st.booleans(),
)


@given(levels)
def test_level__round_trip(level):
    assert Level.read(json.loads(json.dumps(level.to_mapping()))) == level


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.3", 12.3),
        ("12.3 mg/L", 12.3),
        ("12.3 µg/mL", 12.3),
        ("12.3ug/ml", 12.3),
        ("820 ng/mL", 0.82),
        ("820 μg/L", 0.82),
    ],
)
def test_level__units(text, value):
    assert Level.read({"time": "41h", "value": text}) == Level(41.0, value)
    assert Level.read({"time": 41, "value": f"<{text}"}) == Level(41.0, value, below=True)
    assert Level.read({"time": 41, "below": text}) == Level(41.0, value, below=True)
    assert Level.read((41, text)) == Level(41.0, value)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((1, -2), "value=-2: a level must be a finite number"),
        ((1, 0), "Write '<0.5' with the limit"),
        ((1, float("nan")), "value=nan"),
        ((1, float("inf")), "value=inf"),
        ((1, 2e4), "a level must be a finite number >= 1e-06 and <= 10000 mg/L"),
        ((1, True), "value=True"),
        ((1, None), "value=None"),
        ((-1, 2), "time=-1: the time of a level"),
        ((float("nan"), 2), "time=nan"),
        ((1e6, 2), "the time of a level must be"),
        (("41", 2), "a time needs its unit"),
        ((1, "12,3"), "with a decimal point"),
        ((1, "12 IU/L"), "the unit of a level is a mass per volume"),
        ((1, "12 mmol/L"), "Write one of mg/L"),
        ((1, ">12"), "this is not a level"),
        ({"time": 1}, "one of value and below"),
        ({"time": 1, "value": 2, "below": 3}, "one of value and below"),
        ({"time": 1, "below": True}, "below gives the limit of quantification"),
        ({"time": 1, "below": 0}, "the limit of quantification must be"),
        ({"time": 1, "valeu": 2}, "Did you mean 'value'"),
        (12.3, "this is not a level"),
        ("12.3 mg/L", "this is not a level"),
        ((1, 2, 3), "this is not a level"),
    ],
)
def test_level__refused(given, match):
    with pytest.raises(InputError, match=re.escape(match)):
        Level.read(given)


def test_level__below_is_a_flag():
    with pytest.raises(InputError, match="below must be True or False"):
        Level(1, 2, 1)  # type: ignore[arg-type]
