"""The standard workloads: the same draws, regimens and MICs that the peers were measured on."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import tdmx_dask as tdmx

__all__ = ["MICS", "REGIMENS", "TARGET", "W1", "W2", "columns", "posterior"]

Floats = NDArray[np.float64]

# median, SD of the log, unit
_PARAMETERS = {
    "CL": (5.0, 0.3, "L/h"),
    "Vc": (30.0, 0.3, "L"),
    "Q1": (2.0, 0.2, "L/h"),
    "Vp1": (20.0, 0.2, "L"),
}
_THIRD = {"Q2": (1.0, 0.2, "L/h"), "Vp2": (50.0, 0.2, "L")}

TARGET = "T>MIC >= 50%"
W1 = "1000 mg q8h inf 1h"
W2 = "0.25:0.05, 0.5:0.10, 1:0.30, 2:0.35, 4:0.15, 8:0.05"
REGIMENS = [
    tdmx.Regimen(dose, tau, tinf)
    for dose, tau, tinf in ((1000, 8, 1), (2000, 12, 2), (3000, 24, 24), (1500, 8, 0.5), (1000, 8, 4))
]
MICS = [2.0**k for k in range(-4, 8)]


def columns(n: int, n_compartments: int = 2) -> dict[str, Floats]:
    """Independent log-normal draws; for two compartments those of the peers' comparison, number by number."""
    rng = np.random.default_rng(1)
    wanted = list(_PARAMETERS.items())[: 2 * min(n_compartments, 2)]
    if n_compartments == 3:
        wanted += list(_THIRD.items())
    return {name: np.exp(rng.normal(np.log(value), omega, n)) for name, (value, omega, _) in wanted}


def posterior(n_draws: int) -> xr.Dataset:
    """A made-up posterior in four chains: typical values, and the covariance of four etas."""
    rng = np.random.default_rng(2)
    shape = (4, n_draws // 4)
    draws = xr.Dataset(
        {
            name: (("chain", "draw"), np.exp(rng.normal(np.log(value), 0.1, shape)), {"units": unit})
            for name, (value, _, unit) in _PARAMETERS.items()
        },
        attrs={"sampling": "independent", "source": "made up for benchmarks"},
    )
    omega = np.diag([each[1] ** 2 for each in _PARAMETERS.values()])
    omega[0, 1] = omega[1, 0] = 0.4 * 0.3 * 0.3
    names = list(_PARAMETERS)
    draws["omega"] = (("chain", "draw", "eta", "eta2"), np.broadcast_to(omega, (*shape, 4, 4)).copy())
    return draws.assign_coords(eta=names, eta2=names)
