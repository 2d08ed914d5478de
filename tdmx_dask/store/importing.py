"""Draws from the formats in which they arrive: CSV, Parquet, NetCDF (ArviZ), CmdStan CSV, Zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import xarray as xr

__all__ = ["draws_from_columns", "import_draws", "import_tree"]


def import_draws(
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    format: str | None = None,  # noqa: A002
    columns: Mapping[str, str] | Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    sampling: str | None = None,
    model: str | None = None,
    etas: Sequence[str] | None = None,
) -> xr.Dataset:
    """Read draws into memory: (chain, draw) by canonical names and units, every value checked.

    Parameters
    ----------
    source : a file or a Zarr store; for CmdStan also a list of CSV files, one a chain
    format : "csv", "parquet", "netcdf", "cmdstan", "zarr"; None: from the content and the suffix
    columns : ``{"CL": "theta[1]"}``, ours to the file's; or a list of the columns to keep
    units : ``{"CL": "mL/min"}``: the unit in the file, converted to ours; nothing is converted unless told
    sampling : "mcmc" or "independent"; None: "mcmc" where there are chains, else "independent"
    model : "1C", "2C", "3C": which parameters must be there, and what NONMEM's ``V2`` means
    etas : names of the rows of ``omega[i,j]``

    Returns
    -------
    float64 variables (chain, draw), ``omega`` (chain, draw, eta, eta2); attrs as `open_draws` gives them
    """
    raise NotImplementedError


def import_tree(source: Any, **options: Any) -> xr.DataTree:
    """As `import_draws`, with the sampler's own columns in the group sample_stats."""
    raise NotImplementedError


def draws_from_columns(
    columns: Mapping[str, Any],
    *,
    units: Mapping[str, str] | None = None,
    sampling: str | None = None,
    model: str | None = None,
) -> xr.Dataset:
    """Draws from a mapping of columns or a DataFrame, by the rules of `import_draws`.

    Parameters
    ----------
    columns : name -> (draw,) or (chain, draw) numbers; columns named ``chain`` and ``draw`` are taken as such
    units, sampling, model : as in `import_draws`
    """
    raise NotImplementedError
