"""What a user may give as draws: a store, a Dataset, a DataTree, columns, or nothing but a population."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tdmx_dask.analysis.plan import Block, StoreAddress
from tdmx_dask.domain.parameters import PARAMETERS, canonical_names
from tdmx_dask.errors import InputError, SchemaError, TdmxWarning
from tdmx_dask.store.columns import INDEX_COLUMNS
from tdmx_dask.store.schema import QUANTITIES, check_draws, standardise

__all__ = ["Inputs", "LazySlice", "read_inputs"]


LOOKED_AT = 100_000
"""Draws by which columns of unknown origin are judged."""


@dataclass(frozen=True, slots=True)
class LazySlice:
    """Draws of one block that are still on disk; a task loads them."""

    draws: xr.Dataset

    def load(self) -> dict[str, NDArray[np.float64]]:
        """Read the values; variable -> (draw, …)."""
        return {str(name): np.asarray(array.values) for name, array in self.draws.data_vars.items()}


@dataclass(frozen=True, slots=True)
class Inputs:
    """Draws ready to be cut into blocks.

    Parameters
    ----------
    variables : name -> (chain, draw, …): arrays, or lazy DataArrays
    n_chains, n_draws : sizes
    dependent : whether draws are correlated (MCMC), so that an effective sample size counts
    scenarios : labels of the draws' own scenario dimension; empty where there is none
    etas : names of the rows of ``omega``
    store : where tasks can read the draws themselves
    digest : of the draws, empty where they have none
    """

    variables: Mapping[str, Any]
    n_chains: int
    n_draws: int
    dependent: bool
    scenarios: tuple[str, ...] = ()
    etas: tuple[str, ...] = ()
    store: StoreAddress | None = None
    digest: str = ""

    def only(self, names: tuple[str, ...]) -> Inputs:
        """Keep the variables that are needed."""
        return replace(self, variables={name: self.variables[name] for name in names})

    @property
    def in_memory(self) -> bool:
        """Whether all variables are arrays."""
        return all(isinstance(array, np.ndarray) for array in self.variables.values())

    def values(self, block: Block) -> Any:
        """Draws of a block: views of arrays, a `LazySlice`, a Delayed of arrays, or None where tasks read a store."""
        if self.store is not None or not self.variables:
            return None
        if self.in_memory:
            return {
                name: array[block.chain, block.start : block.stop] for name, array in self.variables.items()
            }
        lazy = {
            name: array.isel(chain=block.chain, draw=slice(block.start, block.stop))
            for name, array in self.variables.items()
        }
        if any(array.chunks is not None for array in lazy.values()):
            from dask.delayed import delayed

            return delayed({name: array.data for name, array in lazy.items()})
        return LazySlice(xr.Dataset(lazy))


def read_inputs(draws: object) -> Inputs:
    """Take what the user gave as draws.

    Parameters
    ----------
    draws : path of a store, Dataset, DataTree (its posterior), or a mapping or DataFrame of columns

    Raises
    ------
    InputError, SchemaError
        It is none of these, it is empty, or a variable has other dimensions or units.
    StoreError
        The store cannot be read.
    """
    if isinstance(draws, str | PathLike):
        from tdmx_dask.store.draws import open_draws

        draws = open_draws(Path(fspath(draws)))
    if isinstance(draws, xr.DataTree):
        if "posterior" not in draws.children:
            raise SchemaError("draws", list(draws.children), "a DataTree of draws has a group posterior", "")
        draws = draws["posterior"].to_dataset()
    if isinstance(draws, xr.Dataset):
        return _of_dataset(draws)
    if isinstance(draws, Mapping) or hasattr(draws, "columns"):
        return _of_columns(draws)
    raise InputError(
        "draws",
        type(draws).__name__,
        "draws are a path of a store, an xarray Dataset or DataTree, or columns by name",
        "Import a file with tdmx.import_draws.",
    )


def _of_dataset(draws: xr.Dataset) -> Inputs:
    address = None
    if "store" in draws.attrs:
        from tdmx_dask.store.slices import stored_at  # Zarr is imported where a store is read

        path = stored_at(draws)  # None where a variable was changed since the store was opened
        address = None if path is None else StoreAddress(str(path), str(draws.attrs["digest"]))
    draws = standardise(draws)
    check_draws(draws, values=False)
    loaded = all(isinstance(array.variable._data, np.ndarray) for array in draws.data_vars.values())
    variables: dict[str, Any] = {
        str(name): np.asarray(array.values) if loaded else array for name, array in draws.data_vars.items()
    }
    return Inputs(
        variables,
        draws.sizes["chain"],
        draws.sizes["draw"],
        draws.attrs.get("sampling", "mcmc") == "mcmc",
        tuple(map(str, draws["scenario"].values)) if "scenario" in draws.dims else (),
        tuple(map(str, draws["eta"].values)) if "eta" in draws.coords else (),
        address,
        "" if address is None else address.digest,
    )


def _of_columns(columns: Any) -> Inputs:
    """Columns of equal length, or (chain, draw) arrays: independent draws, unless there are several chains.

    Plain columns are taken as they are, in microseconds; columns that number chains or elements of vectors are sorted out
    as those of a file are.
    """
    names = [str(name) for name in columns if _is_numeric(str(name), columns[name])]
    if not names:
        raise InputError("draws", "{}", "draws have at least one variable", "Give columns such as CL and Vc.")
    shapes = {np.shape(columns[name]) for name in names}
    plain = all(name.isidentifier() and name.casefold() not in INDEX_COLUMNS for name in names)
    if not plain or len(shapes) > 1 or len(next(iter(shapes))) not in (1, 2):
        from tdmx_dask.store.importing import draws_from_columns

        return _of_dataset(draws_from_columns({name: columns[name] for name in names}))
    aliases = canonical_names(names)
    variables = {}
    for name in names:
        array = np.ascontiguousarray(columns[name], dtype=np.float64)
        variables[aliases.get(name, name)] = array if array.ndim == 2 else array[None]
    (shape,) = shapes
    n_chains, n_draws = shape if len(shape) == 2 else (1, *shape)
    if n_chains * n_draws == 0:
        raise SchemaError("draws", "empty", "there must be at least one draw", "Check the source.")
    return Inputs(variables, n_chains, n_draws, n_chains > 1 or _follow_each_other(variables))


def _follow_each_other(variables: Mapping[str, NDArray[np.float64]]) -> bool:
    """Whether draws of unknown origin are autocorrelated, as those of a Markov chain are; says so.

    The lag-one correlation of independent draws has a standard error of 1/sqrt(n) (Bartlett 1946, J R Stat Soc 8:27).
    """
    for name, array in variables.items():
        row = array[0, :LOOKED_AT]
        if name not in PARAMETERS or row.size < 20 or not np.isfinite(row).all():
            continue
        centred = row - row.mean()
        spread = centred @ centred
        lag_one = (centred[1:] @ centred[:-1]) / spread if spread > 0 else 0.0
        if lag_one > max(0.05, 5.0 / np.sqrt(row.size)):
            warnings.warn(
                f"draws: successive values of {name} are correlated ({lag_one:.2f}), so they are taken as those of a "
                "Markov chain. If they are independent, sorted perhaps, say so: import them with sampling='independent'.",
                TdmxWarning,
                stacklevel=6,
            )
            return True
    return False


def _is_numeric(name: str, column: Any) -> bool:
    """Whether a column holds real numbers; others, such as an identifier, are left out unless a model would need them."""
    kind = np.asarray(column).dtype.kind
    if kind in "iuf":
        return True
    if name in QUANTITIES or name == "omega" or canonical_names([name]):
        raise SchemaError(
            name, f"a column of {np.asarray(column).dtype}", f"{name} holds real numbers", "Convert it."
        )
    return False
