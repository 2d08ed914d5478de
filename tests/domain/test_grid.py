"""MIC grids: lists and ranges of doubling dilutions."""

from __future__ import annotations

import pytest

from tdmx_dask.domain.grid import parse_mic_grid
from tdmx_dask.errors import InputError


@pytest.mark.parametrize(
    ("given", "grid"),
    [
        ("0.25..2", (0.25, 0.5, 1.0, 2.0)),
        ("0.03..0.12", (2**-5, 2**-4, 2**-3)),
        ("2..2", (2.0,)),
        (" 4, 1,0.5 ", (0.5, 1.0, 4.0)),
        ("3", (3.0,)),
        (2, (2.0,)),
        ([8, 2], (2.0, 8.0)),
    ],
)
def test_grid(given, grid):
    assert parse_mic_grid(given) == grid


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("0.25..3", r"mic=0\.25\.\.3: a range runs over doubling dilutions .* 3 mg/L is none"),
        ("4..1", "from the lower to the higher"),
        ("1..", "MICs are numbers in mg/L"),
        ("a", "MICs are numbers in mg/L"),
        ("", "MICs are numbers in mg/L"),
        ("1, 1", "given twice"),
        ("0", "above 0 mg/L"),
        ([-1.0], "above 0 mg/L"),
        ([float("nan")], "above 0 mg/L"),
        ("inf", "finite number"),
        ([], "1 to 60 MICs"),
        ("1e-300..1e300", "at most 60 MICs|is none"),
        (range(1, 100), "1 to 60 MICs"),
    ],
)
def test_grid__refused(given, match):
    with pytest.raises(InputError, match=match):
        parse_mic_grid(given)
