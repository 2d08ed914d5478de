"""Latamoxef in children (Wang 2022): PTA depends on dose/MIC alone, exactly."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tests.reference.published import Cell, Facts, attained, deviations, farthest, rmse

FACTS = Facts.read("wang2022_latamoxef")
TARGET = FACTS["settings"]["target"]
BANDS = list(dict.fromkeys(row["band"] for row in FACTS.rows))
N = 20_000


def regimen(row: dict[str, float]) -> str:
    infusion = f" inf {row['infusion_h']}h" if row["infusion_h"] else ""
    return f"{row['dose_mg']} mg q{row['tau_h']}h{infusion}"


def population(band: str) -> tdmx.Population:
    low, high = map(float, band.split("-"))
    model = dict(FACTS["population"])
    model["covariates"] = {"BSA": {"unit": "m2", "uniform": {"low": low, "high": high}}}
    return tdmx.Population.from_mapping(model)


@pytest.fixture(scope="module")
def tables() -> dict[str, xr.Dataset]:
    found = {}
    for band in BANDS:
        regimens = [regimen(row) for row in FACTS.rows if row["band"] == band]
        found[band] = tdmx.pta(population(band), regimens, TARGET, mic=FACTS["mic"], n=N, seed=2022)
    return found


def by_ratio() -> dict[tuple[str, float, float, float], list[tuple[dict[str, float], float, float]]]:
    """Cells (row, MIC, published %) that have band, interval, infusion and dose/MIC in common."""
    groups = defaultdict(list)
    for row in FACTS.rows:
        for mic, value in zip(FACTS["mic"], row["pta"], strict=True):
            ratio = round(row["dose_mg"] / mic, 9)
            groups[row["band"], row["tau_h"], row["infusion_h"], ratio].append((row, mic, value))
    return {key: group for key, group in groups.items() if len(group) > 1}


def test_published_pta__depends_on_dose_by_mic_alone() -> None:
    """The property itself, in the printed table: there it holds to the last digit."""
    groups = by_ratio()
    assert len(groups) > 100
    assert all(len({value for *_, value in group}) == 1 for group in groups.values())


def test_pta__depends_on_dose_by_mic_alone(tables: dict[str, xr.Dataset]) -> None:
    for group in by_ratio().values():
        found = {attained(tables[row["band"]], "all", regimen(row), TARGET, mic) for row, mic, _ in group}
        assert len(found) == 1, [(regimen(row), mic) for row, mic, _ in group]


@pytest.mark.parametrize("infusion", ["", " inf 2h"])
def test_critical_mic__scales_with_the_dose_to_the_bit(infusion: str) -> None:
    doses = (25, 50, 100, 200, 400)
    found = tdmx.critical_mic(
        population(BANDS[0]), [f"{dose} mg q12h{infusion}" for dose in doses], TARGET, n=N, seed=1
    ).values.reshape(len(doses), -1)
    for dose, values in zip(doses, found, strict=True):
        assert math.log2(dose / 25).is_integer()
        np.testing.assert_array_equal(values, found[0] * (dose / 25))
    other = tdmx.critical_mic(population(BANDS[0]), f"150 mg q12h{infusion}", TARGET, n=N, seed=1)
    np.testing.assert_allclose(other.values.ravel(), 6 * found[0], rtol=1e-15, atol=0)


def test_pta__is_as_far_from_the_table_as_that_of_another_program(tables: dict[str, xr.Dataset]) -> None:
    """Single cells cannot be met (see the file); the spread of the deviations can be, to the digits given."""
    cells = [
        Cell(
            f"{row['band']} {regimen(row)} MIC {mic}",
            attained(tables[row["band"]], "all", regimen(row), TARGET, mic),
            value / 100,
        )
        for row in FACTS.rows
        for mic, value in zip(FACTS["mic"], row["pta"], strict=True)
    ]
    independent = FACTS["independent"]
    assert len(cells) == independent["cells"]
    found = np.abs(deviations(cells))
    assert np.median(found) == pytest.approx(independent["median"], abs=0.2), farthest(cells)
    assert rmse(found) == pytest.approx(independent["rmse"], abs=0.2), farthest(cells)
    # one cell of two simulations of 20,000: four standard errors
    assert found.max() == pytest.approx(independent["max"], abs=4 * 100 * math.sqrt(2 * 0.25 / N)), farthest(
        cells
    )
