"""Draws to files and back: every format keeps what it can."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store.cmdstan import exact
from tdmx_dask.store.draws import draws_digest, open_draws, open_tree, write_draws
from tdmx_dask.store.exporting import export_draws
from tdmx_dask.store.importing import import_draws, import_tree
from tests.store.conftest import make_draws

FILES = {"csv": "x.csv", "parquet": "x.parquet", "netcdf": "x.nc", "cmdstan": "x.csv", "zarr": "x.zarr"}


@pytest.mark.parametrize("form", FILES)
def test_export__round_trip(tmp_path, tree, form):
    paths = export_draws(tree, tmp_path / FILES[form], format=form)
    assert all(path.exists() for path in paths)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    again = import_tree(list(paths), etas=["CL", "Vc"])
    posterior = again["posterior"].to_dataset()
    xr.testing.assert_equal(posterior, tree["posterior"].to_dataset())
    assert draws_digest(posterior) == draws_digest(tree["posterior"].to_dataset())
    if form in ("netcdf", "cmdstan", "zarr"):
        stats = again["sample_stats"].to_dataset().drop_vars(("chain", "draw"), errors="ignore")
        xr.testing.assert_equal(stats, tree["sample_stats"].to_dataset())
        assert {str(stats[name].dtype) for name in stats} == {"bool", "int64", "float64"}
    if form in ("netcdf", "zarr"):
        xr.testing.assert_equal(again["constant_data"].to_dataset(), tree["constant_data"].to_dataset())
        assert posterior.attrs["source"] == "made up"


@pytest.mark.parametrize("form", ["parquet", "netcdf", "zarr"])
def test_export__keeps_the_names_of_omega(tmp_path, tree, form):
    (path,) = export_draws(tree, tmp_path / FILES[form])
    assert import_draws(path).eta.values.tolist() == ["CL", "Vc"]


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("sampling", ["mcmc", "independent"])
def test_export__one_chain_keeps_its_sampling(tmp_path, form, sampling):
    draws = make_draws(1, 5).assign_attrs(sampling=sampling)
    paths = export_draws(draws, tmp_path / FILES[form], format=form)
    assert import_draws(list(paths)).attrs["sampling"] == sampling


def test_export__an_opened_store(tmp_path, tree):
    write_draws(tree, tmp_path / "a.zarr")
    export_draws(open_draws(tmp_path / "a.zarr"), tmp_path / "x.csv")
    frame = pd.read_csv(tmp_path / "x.csv", **exact())
    assert list(frame)[:8] == ["chain", "draw", "CL", "Vc", "Q1", "Vp1", "omega[1,1]", "omega[1,2]"]
    np.testing.assert_array_equal(frame["Vc"].to_numpy().reshape(2, 50), tree["posterior/Vc"])
    export_draws(open_tree(tmp_path / "a.zarr"), tmp_path / "x.nc")
    xr.testing.assert_equal(
        import_tree(tmp_path / "x.nc")["sample_stats/lp"].drop_vars(("chain", "draw")),
        tree["sample_stats/lp"],
    )


def test_export__refused(tmp_path, draws):
    with pytest.raises(InputError, match=r"format=\.xlsx: the format is one of csv, parquet"):
        export_draws(draws, tmp_path / "x.xlsx")
    with pytest.raises(InputError, match=r"format=table: the format is one of"):
        export_draws(draws, tmp_path / "table")
    export_draws(draws, tmp_path / "x.csv")
    with pytest.raises(InputError, match=r"x\.csv: it exists"):
        export_draws(draws, tmp_path / "x.csv")
    export_draws(draws.isel(draw=slice(3)), tmp_path / "x.csv", overwrite=True)
    assert import_draws(tmp_path / "x.csv").sizes["draw"] == 3
    (tmp_path / "x_2.csv").touch()
    with pytest.raises(InputError, match=r"x_2\.csv: it exists"):
        export_draws(draws, tmp_path / "x.csv", format="cmdstan")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x_2.csv"]


@pytest.mark.parametrize("form", FILES)
def test_export__full_disk(small_disk, form):
    draws = make_draws(2, 60_000)
    with pytest.raises(StoreError, match=r"the disk is full\."):
        export_draws(draws, small_disk / FILES[form], format=form)
    assert list(small_disk.iterdir()) == []
