"""Meropenem in sepsis (Fukumoto 2023): PTA by creatinine clearance, length of infusion and MIC."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tests.reference.published import Cell, Facts, N, attained, deviations, farthest, rmse

FACTS = Facts.read("fukumoto2023_meropenem")
MIC = [0.5, 1, 2, 4, 8, 16]
TARGET = FACTS["settings"]["target"]


def regimen(row: dict[str, float]) -> str:
    return f"1000 mg q8h inf {row['infusion_h']}h"


@pytest.fixture(scope="module")
def pta() -> xr.Dataset:
    return tdmx.pta(
        FACTS.population,
        None,
        TARGET,
        mic=MIC,
        scenarios={band: {"CCr": ccr} for band, ccr in FACTS["ccr"].items()},
        design=[(row["band"], tdmx.Regimen.parse(regimen(row))) for row in FACTS.rows],
        n=N,
        seed=2023,
    )


def test_pta__is_the_published_one(pta: xr.Dataset) -> None:
    cells = [
        Cell(
            f"{row['band']} {row['infusion_h']} h MIC {mic}",
            attained(pta, row["band"], regimen(row), TARGET, mic),
            row[mic] / 100,
        )
        for row in FACTS.rows
        for mic in MIC
    ]
    assert len(cells) == 54
    found = deviations(cells)
    assert np.abs(found).max() <= FACTS["tolerance"], farthest(cells)
    assert rmse(found) < 1, farthest(cells)


def test_run_study__of_the_shipped_study_meets_every_published_cell() -> None:
    result = tdmx.run_study("meropenem_sepsis", progress=False)
    assert result.study.n is not None
    assert result.study.n >= 50_000
    table = {
        (f"CCr {row['band']}", tdmx.Regimen.parse(regimen(row)).label, mic): row[mic] / 100
        for row in FACTS.rows
        for mic in MIC
    }
    shipped = {
        (each.cell.scenario, tdmx.Regimen.parse(each.cell.regimen).label, each.cell.mic): each.cell.pta
        for each in result.comparison
    }
    assert shipped == pytest.approx(table)
    for each in result.comparison:
        assert each.judged
        assert each.cell.tolerance == pytest.approx(FACTS["tolerance"] / 100)
        assert 100 * abs(each.difference) <= FACTS["tolerance"], each
