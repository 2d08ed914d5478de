"""Packages that only some formats need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tdmx_dask.errors import InputError

__all__ = ["need_netcdf", "need_parquet"]


def need_netcdf() -> None:
    """See that NetCDF files can be read and written.

    Raises
    ------
    InputError
        h5netcdf or h5py is not installed.
    """
    _need("netcdf", "h5py")
    _need("netcdf", "h5netcdf")


def need_parquet() -> tuple[ModuleType, ModuleType]:
    """Return the modules pyarrow and pyarrow.parquet.

    Raises
    ------
    InputError
        pyarrow is not installed.
    """
    return _need("parquet", "pyarrow"), _need("parquet", "pyarrow.parquet")


def _need(form: str, module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        fix = 'Install it: pip install "tdmx-dask[io]".'
        raise InputError("format", form, f"this needs {package}", fix) from error
