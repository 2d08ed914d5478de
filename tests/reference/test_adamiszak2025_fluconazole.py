"""Fluconazole in children (Adamiszak 2025): unbound AUC over MIC of the seventh day, by weight and dose."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import tdmx_dask as tdmx
from tests.reference.published import Cell, Facts, N, attained, deviations, farthest, rmse

FACTS = Facts.read("adamiszak2025_fluconazole")
TABLES = {
    "fAUC24/MIC >= 100 in 144..168h": FACTS["pta_fauc_mic_100"],
    "fAUC24/MIC >= 50 in 144..168h": FACTS["pta_fauc_mic_50"],
}
SCENARIOS = {f"{weight} kg": {"WT": weight} for weight in FACTS["weight_kg"]}


def regimen(dose: float) -> str:
    return f"{dose} mg/kg q24h x7 inf 30min"


def auc_of_day_7(cl: NDArray[np.float64], v: NDArray[np.float64], dose: float) -> NDArray[np.float64]:
    """AUC from 144 to 168 h of seven daily infusions of 30 min: the sum of the geometric series, by hand."""
    k = cl / v
    r = np.exp(-24 * k)
    phi = np.expm1(0.5 * k) / (0.5 * k)
    return dose / cl * (1 - phi * r**7)


@pytest.fixture(scope="module")
def pta() -> xr.Dataset:
    return tdmx.pta(
        FACTS.population,
        [regimen(dose) for dose in FACTS["dose_mg_per_kg"]],
        list(TABLES),
        mic=FACTS["settings"]["mic"],
        scenarios=SCENARIOS,
        n=N,
        seed=2025,
    )


def test_pta__is_the_published_one(pta: xr.Dataset) -> None:
    cells = [
        Cell(
            f"{weight} kg {dose} mg/kg {target}",
            attained(pta, f"{weight} kg", regimen(dose), target, FACTS["settings"]["mic"]),
            value / 100,
        )
        for target, table in TABLES.items()
        for weight, row in zip(FACTS["weight_kg"], table, strict=True)
        for dose, value in zip(FACTS["dose_mg_per_kg"], row, strict=True)
    ]
    assert len(cells) == 120
    found = deviations(cells)
    assert np.abs(found).max() <= FACTS["tolerance"] + FACTS["rounding"], farthest(cells)
    assert rmse(found) < 1, farthest(cells)


def test_critical_mic__is_the_closed_form_of_the_auc() -> None:
    doses = FACTS["dose_mg_per_kg"]
    found = tdmx.critical_mic(
        FACTS.population,
        [regimen(dose) for dose in doses],
        list(TABLES),
        scenarios=SCENARIOS,
        n=2000,
        seed=1,
    )
    patients = tdmx.sample(FACTS.population, 2000, seed=1, scenarios=SCENARIOS)
    for weight in FACTS["weight_kg"]:
        patient = patients.sel(scenario=f"{weight} kg")
        for dose in doses:
            auc = auc_of_day_7(patient["CL"].values[0], patient["Vc"].values[0], dose * weight)
            here = found.sel(scenario=f"{weight} kg", regimen=tdmx.Regimen.parse(regimen(dose)).label)
            expected = 0.89 * auc / np.array([[100], [50]])
            np.testing.assert_allclose(here.values[:, 0, :, 0], expected, rtol=1e-11)


def test_pta__agrees_with_the_closed_form_on_other_random_numbers(pta: xr.Dataset) -> None:
    """The same population drawn and integrated without this package: it differs by chance alone."""
    rng = np.random.default_rng(7)
    eta = rng.standard_normal((2, N)) * np.sqrt(np.log1p(np.array([[0.8854], [0.5585]]) ** 2))
    worst = 0.0
    for weight in FACTS["weight_kg"]:
        cl = 1.24 * (weight / 70) ** 0.75 * np.exp(eta[0])
        v = 104.07 * weight / 70 * np.exp(eta[1])
        for dose in FACTS["dose_mg_per_kg"]:
            auc = 0.89 * auc_of_day_7(cl, v, dose * weight)
            for target, limit in zip(TABLES, (200, 100), strict=True):
                p = np.mean(auc >= limit)
                ours = attained(pta, f"{weight} kg", regimen(dose), target, 2)
                worst = max(worst, abs(ours - p) / np.sqrt(2 * p * (1 - p) / N))
    assert worst < 4  # 120 strongly dependent cells
