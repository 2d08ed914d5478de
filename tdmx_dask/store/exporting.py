"""Draws to the formats that others read: CSV, Parquet, NetCDF (ArviZ), CmdStan CSV, Zarr."""

from __future__ import annotations

import json
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.store.cmdstan import write_chain
from tdmx_dask.store.columns import ARVIZ_NAMES, flatten
from tdmx_dask.store.digest import json_safe
from tdmx_dask.store.draws import prepare, write_draws
from tdmx_dask.store.extras import need_netcdf, need_parquet
from tdmx_dask.store.importing import FORMATS
from tdmx_dask.store.layout import created_by
from tdmx_dask.store.publish import staging
from tdmx_dask.store.schema import POSTERIOR, SAMPLE_STATS
from tdmx_dask.store.tables import NOTE

__all__ = ["export_draws"]

_SUFFIXES = {
    ".csv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".nc": "netcdf",
    ".netcdf": "netcdf",
    ".h5": "netcdf",
    ".zarr": "zarr",
}


def export_draws(
    draws: xr.Dataset | xr.DataTree,
    path: str | PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write draws as CSV, Parquet, NetCDF, CmdStan CSV or Zarr.

    CSV and Parquet have a row a draw, the columns ``chain`` and ``draw`` (counted from 0) if they are chains, and the elements
    of a vector as ``theta[1]``. CSV and CmdStan hold no units (ours are meant) and no names of the rows of ``omega``; all
    formats keep every bit of a value.

    Parameters
    ----------
    draws : variables (chain, draw, …), or a DataTree, of which NetCDF, Zarr and CmdStan keep what the sampler recorded
    path : file to make; for CmdStan ``draws.csv`` gives ``draws_1.csv``, ``draws_2.csv``, one a chain
    format : "csv", "parquet", "netcdf", "cmdstan", "zarr"; None: from the suffix
    overwrite : replace existing files

    Returns
    -------
    the files written

    Raises
    ------
    InputError
        The format is not known, or a file exists.
    StoreError
        The disk is full, or the place cannot be written.
    """
    place = Path(path)
    form = format or _SUFFIXES.get(place.suffix.lower())
    if form not in FORMATS:
        known = f"the format is one of {', '.join(FORMATS)}"
        raise InputError(
            "format", format or place.suffix or place.name, known, "Name it with format= (--format)."
        )
    if form == "zarr":
        write_draws(draws, place, overwrite=overwrite)
        return (place,)
    groups = {name: group.load() for name, group in prepare(draws).items()}
    if form == "cmdstan":
        return _write_cmdstan(groups, place, overwrite=overwrite)
    with staging(place, overwrite=overwrite) as partial:
        {"csv": _write_csv, "parquet": _write_parquet, "netcdf": _write_netcdf}[form](groups, partial)
    return (place,)


def _rows(posterior: xr.Dataset) -> dict[str, NDArray[Any]]:
    """Columns of a table with a row a draw."""
    n_chains, n_draws = posterior.sizes["chain"], posterior.sizes["draw"]
    columns = {}
    if n_chains > 1 or posterior.attrs["sampling"] == "mcmc":
        columns["chain"] = np.repeat(np.arange(n_chains), n_draws)
        columns["draw"] = np.tile(np.arange(n_draws), n_chains)
    values = flatten({str(name): variable for name, variable in posterior.data_vars.items()})
    return columns | {name: each.reshape(-1) for name, each in values.items()}


def _write_csv(groups: dict[str, xr.Dataset], partial: Path) -> None:
    import pandas as pd

    pd.DataFrame(_rows(groups[POSTERIOR])).to_csv(partial, index=False)


def _write_parquet(groups: dict[str, xr.Dataset], partial: Path) -> None:
    pa, pq = need_parquet()
    posterior = groups[POSTERIOR]
    note = {
        "units": {
            str(name): each.attrs["units"]
            for name, each in posterior.data_vars.items()
            if "units" in each.attrs
        },
        "sampling": posterior.attrs["sampling"],
        "etas": posterior["eta"].values.tolist() if "eta" in posterior.coords else None,
    }
    table = pa.table(_rows(posterior)).replace_schema_metadata({NOTE: json.dumps(json_safe(note)).encode()})
    pq.write_table(table, partial)


def _write_netcdf(groups: dict[str, xr.Dataset], partial: Path) -> None:
    need_netcdf()
    named = {}
    for name, group in groups.items():
        positions = {each: np.arange(group.sizes[each]) for each in ("chain", "draw") if each in group.dims}
        named[name] = group.assign_coords(positions).drop_encoding()  # ArviZ wants the labels
        named[name].attrs = json_safe({**group.attrs, "created_by": created_by()})
    # by way of memory: HDF5 ends the process where it cannot flush a file to a full disk
    partial.write_bytes(xr.DataTree.from_dict(named).to_netcdf(engine="h5netcdf"))


def _write_cmdstan(groups: dict[str, xr.Dataset], place: Path, *, overwrite: bool) -> tuple[Path, ...]:
    posterior = groups[POSTERIOR]
    stats = groups.get(SAMPLE_STATS, xr.Dataset())
    names = {ours: theirs for theirs, (ours, _) in ARVIZ_NAMES.items() if ours in stats}
    names |= {str(name): f"{name}__" for name in stats.data_vars if name not in names}
    columns: dict[str, NDArray[Any]] = {}
    for ours, theirs in names.items():
        if stats[ours].ndim == 2:
            values = np.asarray(stats[ours].values)
            columns[theirs] = values.astype(np.int64) if values.dtype.kind == "b" else values
    for name, values in flatten(
        {str(name): variable for name, variable in posterior.data_vars.items()}
    ).items():
        columns[name.replace("[", ".").replace(",", ".").removesuffix("]")] = values
    settings = {
        "stan_version_major": 2,
        "written_by": created_by(),
        "method": "sample" if posterior.attrs["sampling"] == "mcmc" else "pathfinder",
        "num_samples": posterior.sizes["draw"],
        "save_warmup": 0,
        "thin": 1,
    }
    n_chains = posterior.sizes["chain"]
    paths = tuple(
        place.with_name(f"{place.stem}_{chain + 1}{place.suffix or '.csv'}") for chain in range(n_chains)
    )
    with ExitStack() as stack:
        for chain, path in enumerate(paths):
            partial = stack.enter_context(staging(path, overwrite=overwrite))
            write_chain(partial, {name: values[chain] for name, values in columns.items()}, settings, chain)
    return paths
