"""The tables that come with the shipped studies are the published ones, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

import tdmx_dask as tdmx
from tests.reference.published import Facts

Key = tuple[str, str, str]


def shipped(name: str) -> dict[Key, tuple[float, bool]]:
    """Percent, and whether the cell is judged, by scenario, regimen and target."""
    study = tdmx.read_study(name)
    assert study.published is not None
    return {
        (cell.scenario, cell.regimen, cell.target): (100 * cell.pta, not cell.left_out)
        for cell in study.published.cells
    }


def test_teicoplanin_loading__holds_the_published_table() -> None:
    facts = Facts.read("fu2022_teicoplanin_unbound")
    excluded = {(egfr, alb, column) for egfr, alb, column, _ in facts["irreproducible"]["rows"]}
    expected: dict[Key, tuple[float, bool]] = {}
    for row in facts.rows:
        where = f"eGFR {row['eGFR']} ALB {row['ALB']}"
        for trough, limit in (("t075", 0.75), ("t113", 1.13)):
            doses = f"{row[f'LD_{trough}']}/{row[f'MD_{trough}']}"
            for column, target in (("PTA48", f"C@48h >= {limit}"), ("PTA96", f"C@96h >= {limit}"), ("tox", "C@96h >= 4.5")):  # fmt: skip
                name = f"{column}_{trough}"
                judged = (row["eGFR"], row["ALB"], name) not in excluded
                expected[where, doses, tdmx.parse_target(target).label] = (row[name], judged)
    found = shipped("teicoplanin_loading")
    assert {key: judged for key, (_, judged) in found.items()} == {
        key: judged for key, (_, judged) in expected.items()
    }
    assert [value for value, _ in found.values()] == pytest.approx([expected[key][0] for key in found])


def test_fluconazole_auc__holds_the_published_table() -> None:
    facts = Facts.read("adamiszak2025_fluconazole")
    expected = {
        (f"{weight} kg", f"{dose} mg/kg", tdmx.parse_target(f"fAUC24/MIC >= {ratio} in 144..168h").label): value
        for ratio in (100, 50)
        for weight, row in zip(facts["weight_kg"], facts[f"pta_fauc_mic_{ratio}"], strict=True)
        for dose, value in zip(facts["dose_mg_per_kg"], row, strict=True)
    }  # fmt: skip
    found = shipped("fluconazole_auc")
    assert {key: value for key, (value, _) in found.items()} == pytest.approx(expected)
    assert all(judged for _, judged in found.values())


@pytest.mark.parametrize(
    ("study", "facts"),
    [
        ("teicoplanin_loading", "fu2022_teicoplanin_unbound"),
        ("fluconazole_auc", "adamiszak2025_fluconazole"),
        ("meropenem_sepsis", "fukumoto2023_meropenem"),
    ],
)
def test_shipped_population__is_the_published_one(study: str, facts: str) -> None:
    found, printed = tdmx.read_study(study).population, Facts.read(facts).population
    assert found is not None
    assert found.parameters == printed.parameters
    assert found.etas == printed.etas
    np.testing.assert_allclose(found.omega, printed.omega, rtol=1e-14)
