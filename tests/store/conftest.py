"""Draws to store."""

import ctypes
import os

import numpy as np
import pytest
import xarray as xr

UNITS = {"CL": "L/h", "Vc": "L", "Q1": "L/h", "Vp1": "L"}


def make_draws(n_chains=2, n_draws=50, **extra):
    """Draws of a two-compartment model."""
    rng = np.random.default_rng(7)
    draws = xr.Dataset(
        {
            name: (("chain", "draw"), rng.lognormal(size=(n_chains, n_draws)), {"units": unit})
            for name, unit in UNITS.items()
        },
        attrs={"sampling": "mcmc" if n_chains > 1 else "independent", "source": "made up"},
    )
    return draws.assign(extra)


def make_omega(n_chains, n_draws, names=("CL", "Vc")):
    """A covariance a draw."""
    rng = np.random.default_rng(8)
    root = rng.normal(size=(n_chains, n_draws, len(names), len(names)))
    matrix = root @ np.swapaxes(root, -1, -2)
    matrix = (matrix + np.swapaxes(matrix, -1, -2)) / 2
    coords = {"eta": list(names), "eta2": list(names)}
    return xr.DataArray(matrix, dims=("chain", "draw", "eta", "eta2"), coords=coords)


@pytest.fixture
def draws():
    return make_draws()


@pytest.fixture
def tree():
    """Draws with omega, a covariate, sampler statistics and data."""
    posterior = make_draws(
        omega=make_omega(2, 50), theta=(("chain", "draw"), np.linspace(-1, 1, 100).reshape(2, 50))
    )
    stats = xr.Dataset(
        {
            "diverging": (("chain", "draw"), np.arange(100).reshape(2, 50) % 7 == 0),
            "tree_depth": (("chain", "draw"), np.arange(100).reshape(2, 50) % 5),
            "lp": (("chain", "draw"), np.linspace(-9, -8, 100).reshape(2, 50)),
        }
    )
    data = xr.Dataset(
        {"time": ("obs", [0.5, 1.0, 8.0]), "n": ((), 3)},
        coords={"obs": [1, 2, 3], "clock": ("obs", [8.5, 9.0, 16.0])},
    )
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats, "constant_data": data})


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB: needs root and mount."""
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip("mounting a small disk needs root")
    yield place
    assert libc.umount2(os.fsencode(place), 2) == 0
