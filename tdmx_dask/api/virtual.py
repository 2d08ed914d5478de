"""Virtual patients of a population, as draws that can be stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.api.nouns import read_scenarios, seed_number
from tdmx_dask.api.question import N_PATIENTS
from tdmx_dask.domain.parameters import PARAMETERS
from tdmx_dask.domain.population import Population
from tdmx_dask.domain.units import whole
from tdmx_dask.kernels.random import BLOCK
from tdmx_dask.version import __version__

__all__ = ["sample"]

TOGETHER = 64 * BLOCK


def sample(
    population: Population,
    n: int = N_PATIENTS,
    *,
    seed: int = 0,
    scenarios: object = None,
    covariates: Collection[str] = (),
) -> xr.Dataset:
    """Draw virtual patients: the same that `pta` of the population sees with this seed.

    Parameters
    ----------
    population : whose patients
    n : how many; fewer are the first of more
    seed : whole number in [0, 2^64)
    scenarios : ``{name: {covariate: value}}``; the variables then have a third dimension ``scenario``
    covariates : names to keep although no formula uses them, such as the weight of mg/kg doses

    Returns
    -------
    Dataset with dims (chain=1, draw=n[, scenario]), parameters in L/h and L, covariates and fu where there are any

    Raises
    ------
    InputError
        A number out of range, a covariate without a value, a parameter that is not positive.

    Examples
    --------
    >>> population = Population.from_mapping({"parameters": {"CL": 5, "V": 20}, "bsv": {"CL": {"cv": 0.3}}})
    >>> sample(population, 3, seed=1).sizes["draw"]
    3
    """
    n = whole("n", n, "the number of virtual patients")
    settings = read_scenarios(scenarios)
    columns = [
        _patients(population, n, seed_number(seed), setting.covariates, covariates) for setting in settings
    ] or [_patients(population, n, seed_number(seed), {}, covariates)]
    dims = ("chain", "draw", "scenario") if settings else ("chain", "draw")
    variables = {}
    for name in columns[0]:
        if any(name not in column for column in columns):
            continue  # a covariate that only some scenarios set, and no formula uses
        values = np.stack([column[name] for column in columns], axis=-1)[None]
        unit = PARAMETERS[name].unit if name in PARAMETERS else _unit(population, name)
        variables[name] = (dims, values if settings else values[..., 0], {"units": unit})
    attrs = {
        "sampling": "independent",
        "source": f"{population.name}, seed {seed}",
        "created_by": f"tdmx_dask {__version__}",
    }
    coords = {"scenario": [setting.name for setting in settings]} if settings else {}
    return xr.Dataset(variables, coords, attrs)


def _patients(
    population: Population, n: int, seed: int, scenario: Mapping[str, float], covariates: Collection[str]
) -> dict[str, NDArray[np.float64]]:
    parts = [
        population.simulate(
            seed=seed,
            chain=0,
            draw_start=start,
            n_draws=min(TOGETHER, n - start),
            scenario=scenario,
            covariates=covariates,
        )
        for start in range(0, n, TOGETHER)
    ]
    return {name: np.concatenate([part[name][0] for part in parts]) for name in parts[0]}


def _unit(population: Population, name: str) -> str:
    return population.covariates[name].unit if name in population.covariates else "1"
