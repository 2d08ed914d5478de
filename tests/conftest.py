"""Draws, populations and clusters that several tests use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.config
import hypothesis
import numpy as np
import pytest
import xarray as xr

import tdmx_dask as tdmx

# The same examples in every run of CI; new ones at each run elsewhere.
hypothesis.settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

MIC = tuple(2.0**k for k in range(-4, 8))


def posterior(n_chains: int = 2, n_draws: int = 3000, *, omega: bool = True, seed: int = 1) -> xr.Dataset:
    """A made-up posterior of a two-compartment model, with between-subject variability of CL and Vc."""
    rng = np.random.default_rng(seed)
    typical = (("CL", 5, "L/h"), ("Vc", 30, "L"), ("Q1", 2, "L/h"), ("Vp1", 20, "L"))
    draws = xr.Dataset(
        {
            name: (
                ("chain", "draw"),
                np.exp(rng.normal(np.log(value), 0.1, (n_chains, n_draws))),
                {"units": unit},
            )
            for name, value, unit in typical
        },
        attrs={"sampling": "independent"},
    )
    if omega:
        size = rng.uniform(0.2, 0.4, (n_chains, n_draws))
        matrix = np.array([[1.0, 0.4], [0.4, 1.0]]) * size[..., None, None] ** 2
        draws["omega"] = (("chain", "draw", "eta", "eta2"), matrix)
        draws = draws.assign_coords(eta=["CL", "Vc"], eta2=["CL", "Vc"])
    return draws


@pytest.fixture(autouse=True)
def computed_here() -> Iterator[None]:
    """No test leaves Dask set to compute on clients that are closed: the next to compute something lazy would fail."""
    yield
    if dask.config.get("scheduler", None) == "dask.distributed":
        assert sys.modules["distributed"].Client.current().status != "closed"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two chains of 3,000 draws."""
    path = tmp_path_factory.mktemp("draws") / "posterior.zarr"
    tdmx.write_draws(posterior(), path)
    return path
