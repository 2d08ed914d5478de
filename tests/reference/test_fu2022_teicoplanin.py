"""Unbound teicoplanin (Fu 2022): troughs after loading and after maintenance, by eGFR and albumin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tests.reference.published import Cell, Facts, N, attained, deviations, farthest, rmse

FACTS = Facts.read("fu2022_teicoplanin_unbound")
TROUGH = {"t075": 0.75, "t113": 1.13}
EXCLUDED = {(egfr, alb, column) for egfr, alb, column, _ in FACTS["irreproducible"]["rows"]}
DOSES = ((0, 600), (12, 600), (24, 600), (48, 400), (72, 400))


def regimen(load: float, maintenance: float) -> str:
    return f"{load} mg q12h x3 inf 40min, then from 48h {maintenance} mg q24h x2 inf 40min"


def scenario(row: dict[str, float]) -> str:
    return f"eGFR {row['eGFR']} ALB {row['ALB']}"


def regimen_of(row: dict[str, float], trough: str) -> str:
    return regimen(row[f"LD_{trough}"], row[f"MD_{trough}"])


@pytest.fixture(scope="module")
def pta() -> xr.Dataset:
    pairs = {(scenario(row), regimen_of(row, trough)): None for row in FACTS.rows for trough in TROUGH}
    return tdmx.pta(
        FACTS.population,
        None,
        [f"C@{time}h >= {limit}" for time in (48, 96) for limit in (*TROUGH.values(), 4.5)],
        mic=1,
        scenarios={scenario(row): {"eGFR": row["eGFR"], "ALB": row["ALB"]} for row in FACTS.rows},
        design=[(where, tdmx.Regimen.parse(text)) for where, text in pairs],
        n=N,
        seed=2022,
    )


def cells(pta: xr.Dataset, column: str) -> dict[tuple[float, float, str], Cell]:
    """Of a column such as PTA48 or tox, for both troughs."""
    found = {}
    for row in FACTS.rows:
        for trough, limit in TROUGH.items():
            name = f"{column}_{trough}"
            target = "C@96h >= 4.5" if column == "tox" else f"C@{column[3:]}h >= {limit}"
            computed = attained(pta, scenario(row), regimen_of(row, trough), target, 1)
            found[row["eGFR"], row["ALB"], name] = Cell(f"{scenario(row)} {name}", computed, row[name] / 100)
    return found


def kept(pta: xr.Dataset, *columns: str) -> list[Cell]:
    every = {key: cell for column in columns for key, cell in cells(pta, column).items()}
    return [cell for key, cell in every.items() if key not in EXCLUDED]


def test_pta__is_the_published_one(pta: xr.Dataset) -> None:
    found = kept(pta, "PTA48", "PTA96")
    assert len(found) == 134
    errors = np.array([cell.errors(FACTS["n_simulated"]) for cell in found])
    assert errors.max() <= FACTS["tolerance"], farthest(found)
    assert rmse(errors) < 1.25, farthest(found)  # 1 if the paper simulated as we do
    assert rmse(deviations(found)) < 1.5


def test_pta__of_toxicity_is_the_published_one(pta: xr.Dataset) -> None:
    """Few of 1,000 patients are affected: their number is held against the binomial, at the level of three errors."""
    found = kept(pta, "tox")
    assert len(found) == 71
    level = math.erfc(FACTS["tolerance"] / math.sqrt(2))
    for cell in found:
        assert cell.chance(FACTS["n_simulated"]) > level, cell
    assert rmse(deviations(found)) < 0.3, farthest(found)


def test_pta__of_the_cells_left_out_is_the_independent_one(pta: xr.Dataset) -> None:
    """Where the printed PTA cannot be had, another program finds what we find, not what is printed."""
    every = {key: cell for column in ("PTA48", "PTA96", "tox") for key, cell in cells(pta, column).items()}
    assert len(FACTS["irreproducible"]["rows"]) == 11
    for egfr, alb, column, independent in FACTS["irreproducible"]["rows"]:
        cell = every[egfr, alb, column]
        error = 100 * np.sqrt(cell.computed * (1 - cell.computed) * (1 / N + 1 / 300_000))
        assert abs(100 * cell.computed - independent) <= 4 * error + 0.05, cell
        assert cell.chance(FACTS["n_simulated"]) < 0.005, cell


def test_critical_mic__is_the_sum_of_the_infusions() -> None:
    """C@96h/MIC of five infusions into one compartment, superposed by hand."""
    where = {"one": {"eGFR": 60, "ALB": 30}}
    found = tdmx.critical_mic(
        FACTS.population, regimen(600, 400), ["C@48h/MIC >= 1", "C@96h/MIC >= 1"], scenarios=where, n=500
    )
    patients = tdmx.sample(FACTS.population, 500, scenarios=where)
    cl, v = patients["CL"].values.ravel(), patients["Vc"].values.ravel()
    k, tinf = cl / v, 40 / 60
    for time, values in zip((48, 96), found.values.reshape(2, -1), strict=True):
        given = [(start, amount) for start, amount in DOSES if start < time]
        expected = sum(
            amount / tinf / cl * -np.expm1(-k * tinf) * np.exp(-k * (time - start - tinf))
            for start, amount in given
        )
        np.testing.assert_allclose(values, expected, rtol=1e-12)
