"""Results on disk: PTA, CFR and critical-MIC datasets."""

from __future__ import annotations

from os import PathLike

import xarray as xr

__all__ = ["open_result", "write_result"]


def write_result(
    result: xr.Dataset | xr.DataArray, path: str | PathLike[str], *, overwrite: bool = False
) -> str:
    """Write a result as one Zarr store and return its digest (sha256 of names, dimensions, units and values).

    Parameters
    ----------
    result : in memory or dask-backed; attributes that JSON can hold
    path : folder to make
    overwrite : replace an existing store once the new one is whole
    """
    raise NotImplementedError


def open_result(path: str | PathLike[str]) -> xr.Dataset:
    """Open a result, lazily.

    Raises
    ------
    SchemaError
        It is not a result, or one of another schema.
    StoreError
        The store is missing, half written or damaged.
    """
    raise NotImplementedError
