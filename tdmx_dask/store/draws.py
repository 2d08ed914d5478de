"""Stores of draws: open lazily, write once, read a slice."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["open_draws", "open_tree", "read_slice", "verify_draws", "write_draws"]


def open_draws(path: str | PathLike[str]) -> xr.Dataset:
    """Open the posterior group of a store of draws, lazily; only metadata are read.

    Parameters
    ----------
    path : folder of the store

    Returns
    -------
    float64 variables (chain, draw, …) with attrs["units"]; attrs: ``tdmx_schema``, ``sampling`` ("mcmc" or
    "independent"), ``source``, ``created_by``, ``digest``, ``store`` (the absolute path)

    Raises
    ------
    SchemaError
        It is not a store of draws, or one of another schema or with other units.
    StoreError
        The store is missing, half written or damaged.
    """
    raise NotImplementedError


def open_tree(path: str | PathLike[str]) -> xr.DataTree:
    """Open all groups of a store of draws, lazily: posterior, sample_stats, constant_data."""
    raise NotImplementedError


def write_draws(
    draws: xr.Dataset | xr.DataTree, path: str | PathLike[str], *, overwrite: bool = False
) -> str:
    """Write draws as one immutable store; every value is checked on its way.

    Parameters
    ----------
    draws : (chain, draw, …); a DataTree with groups posterior, sample_stats and constant_data is kept whole
    path : folder to make
    overwrite : replace an existing store once the new one is whole

    Returns
    -------
    the digest of the posterior: sha256 of names, dimensions, units and values, whatever the chunks
    """
    raise NotImplementedError


def read_slice(
    path: str | PathLike[str],
    names: Sequence[str],
    chain: int,
    start: int,
    stop: int,
    *,
    digest: str | None = None,
    check: bool = True,
) -> dict[str, NDArray[np.float64]]:
    """Read one slice of a store: what a task calls.

    Parameters
    ----------
    path : folder of the store
    names : variables to read
    chain : position of the chain
    start, stop : positions of the first draw and of the one after the last
    digest : refuse a store whose digest is another
    check : refuse values that no parameter can have

    Returns
    -------
    name -> (stop - start, …), in the order asked for

    Raises
    ------
    StoreError
        A chunk is missing or damaged, or the store is not the one with this digest.
    InputError
        A value is not finite or out of range: which draw, which chain, which parameter.
    """
    raise NotImplementedError


def verify_draws(path: str | PathLike[str]) -> str:
    """Read the whole store and compare it with its digest; return the digest.

    Raises
    ------
    StoreError
        The content is not what was written.
    """
    raise NotImplementedError
