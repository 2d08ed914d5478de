"""Draws to the formats that others read: CSV, Parquet, NetCDF (ArviZ), CmdStan CSV, Zarr."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import xarray as xr

__all__ = ["export_draws"]


def export_draws(
    draws: xr.Dataset | xr.DataTree,
    path: str | PathLike[str],
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write draws as CSV, Parquet, NetCDF, CmdStan CSV (one file a chain) or Zarr.

    Parameters
    ----------
    draws : (chain, draw, …)
    path : file to make
    format : "csv", "parquet", "netcdf", "cmdstan", "zarr"; None: from the suffix
    overwrite : replace existing files

    Returns
    -------
    the files written
    """
    raise NotImplementedError
