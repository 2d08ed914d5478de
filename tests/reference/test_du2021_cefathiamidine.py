"""Cefathiamidine in infants (Du 2021): a soft comparison, as the infants themselves are not published."""

from __future__ import annotations

import numpy as np

import tdmx_dask as tdmx
from tests.reference.published import Cell, Facts, N, attained, deviations, farthest, rmse

FACTS = Facts.read("du2021_cefathiamidine")
TARGET = FACTS["settings"]["target"]


def regimen(row: dict[str, float]) -> str:
    return f"{row['mg_per_kg_per_day'] * row['tau_h'] / 24:g} mg/kg q{row['tau_h']}h inf 30min"


def test_pta__is_near_the_published_one() -> None:
    pta = tdmx.pta(
        FACTS.population,
        list(dict.fromkeys(regimen(row) for row in FACTS.rows)),
        TARGET,
        mic=sorted({row["mic"] for row in FACTS.rows}),
        n=N,
        seed=2021,
    )
    cells = [
        Cell(
            f"{regimen(row)} MIC {row['mic']}",
            attained(pta, "all", regimen(row), TARGET, row["mic"]),
            row["pta"] / 100,
        )
        for row in FACTS.rows
    ]
    assert len(cells) == 8
    found = deviations(cells)
    assert np.abs(found).max() <= FACTS["tolerance"], farthest(cells)
    assert rmse(found) < 3, farthest(cells)
