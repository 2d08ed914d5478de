"""Stores of draws: open lazily, write once, verify."""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from tdmx_dask.errors import SchemaError, StoreError
from tdmx_dask.store import layout
from tdmx_dask.store.digest import ContentDigest, content_digest, json_safe
from tdmx_dask.store.publish import staging
from tdmx_dask.store.schema import (
    BY_DRAW,
    CONSTANT_DATA,
    DRAWS_SCHEMA,
    POSTERIOR,
    check_draws,
    check_values,
    standardise,
)
from tdmx_dask.store.slices import read_slice, stored_at

__all__ = [
    "draws_digest",
    "open_draws",
    "open_tree",
    "read_slice",
    "stored_at",
    "verify_draws",
    "write_draws",
]

GROUPS = (POSTERIOR, *BY_DRAW, CONSTANT_DATA)
_OF_A_STORE = (
    "tdmx_schema",
    "created_by",
    "digest",
    "store",
)  # attributes that a store gives, not its content
POSITIONS = ("chain", "draw")  # known by position: never coordinates


def open_draws(path: str | PathLike[str]) -> xr.Dataset:
    """Open the posterior of a store of draws, lazily: no value is read.

    Parameters
    ----------
    path : folder of the store

    Returns
    -------
    float64 variables (chain, draw, …) with attrs["units"], not dask-backed; attrs: ``tdmx_schema``, ``sampling`` ("mcmc"
    or "independent"), ``source``, ``created_by``, ``digest``, ``store`` (the absolute path)

    Raises
    ------
    SchemaError
        It is not a store of draws, or one of another schema or with other units.
    StoreError
        The store is missing, half written or damaged.
    """
    folder = Path(os.path.realpath(path))
    mark = layout.read_mark(folder, DRAWS_SCHEMA)
    return _open_posterior(folder, mark)


def open_tree(path: str | PathLike[str]) -> xr.DataTree:
    """Open all groups of a store of draws, lazily: posterior, and those of sample_stats, log_likelihood, … that it has.

    Parameters
    ----------
    path : folder of the store

    Raises
    ------
    SchemaError, StoreError
        As `open_draws`.
    """
    folder = Path(os.path.realpath(path))
    mark = layout.read_mark(folder, DRAWS_SCHEMA)
    groups = {POSTERIOR: _open_posterior(folder, mark)}
    for name in GROUPS[1:]:
        if name in mark["contents"]:
            groups[name] = layout.open_group(folder, name, mark["contents"][name])
    return xr.DataTree.from_dict(groups)


def _open_posterior(folder: Path, mark: dict[str, Any]) -> xr.Dataset:
    draws = layout.open_group(folder, POSTERIOR, mark["contents"][POSTERIOR])
    draws = draws[list[Hashable](mark["variables"])]  # Zarr lists them in any order
    draws.attrs.update({key: mark[key] for key in ("tdmx_schema", "created_by", "digest")}, store=str(folder))
    check_draws(draws, values=False)
    return draws


def write_draws(
    draws: xr.Dataset | xr.DataTree, path: str | PathLike[str], *, overwrite: bool = False
) -> str:
    """Write draws as one immutable store; every value is checked on its way.

    Parameters
    ----------
    draws : variables (chain, draw, …), in memory or lazy; a DataTree with the groups posterior, sample_stats,
        log_likelihood, posterior_predictive and constant_data is kept whole
    path : folder to make
    overwrite : replace an existing store once the new one is whole

    Returns
    -------
    the digest of the posterior: sha256 of names, dimensions, units, values and sampling, whatever the chunks

    Raises
    ------
    InputError, SchemaError
        As `schema.check_draws`; or `path` exists.
    StoreError
        The disk is full, or the place cannot be written.
    """
    groups = prepare(draws)
    with staging(path, overwrite=overwrite) as partial:
        root = zarr.open_group(partial, mode="w-", zarr_format=3, attributes={"tdmx_schema": DRAWS_SCHEMA})
        digests = {name: _write_group(root.create_group(name), group) for name, group in groups.items()}
        root.attrs.update(mark(groups, digests))
    return digests[POSTERIOR]


def mark(groups: Mapping[str, xr.Dataset], digests: Mapping[str, str]) -> dict[str, Any]:
    """Attributes of the root of a store that is whole."""
    return {
        "tdmx_schema": DRAWS_SCHEMA,
        "created_by": layout.created_by(),
        "variables": list(map(str, groups[POSTERIOR].data_vars)),
        "contents": {name: layout.contents(group) for name, group in groups.items()},
        "digests": dict(digests),
        "digest": digests[POSTERIOR],
    }


def verify_draws(path: str | PathLike[str]) -> str:
    """Read a whole store and compare it with the digests that it was given; return the posterior's.

    Parameters
    ----------
    path : folder of the store

    Raises
    ------
    SchemaError, StoreError
        As `open_draws`; or the content is not what was written.
    """
    folder = Path(os.path.realpath(path))
    mark = layout.read_mark(folder, DRAWS_SCHEMA)
    for name, group in open_tree(folder).children.items():
        try:
            found = _digest(name, group.to_dataset())
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(
                "store", folder / name, f"a chunk is damaged ({error})", layout.DAMAGED
            ) from error
        if found != mark["digests"][name]:
            raise StoreError("store", folder / name, "its content is not what was written", layout.DAMAGED)
    return str(mark["digest"])


def draws_digest(draws: xr.Dataset) -> str:
    """Digest of draws in memory or lazy, as `write_draws` returns it; each value is read, about 0.6 ns a byte.

    Parameters
    ----------
    draws : variables (chain, draw, …)
    """
    return _digest(POSTERIOR, standardise(draws))


def _digest(name: str, group: xr.Dataset) -> str:
    return content_digest(group, ignore=POSITIONS, also=also(name, group))


def also(name: str, group: xr.Dataset) -> str:
    """What of a group counts for its digest besides its variables."""
    return str(group.attrs["sampling"]) if name == POSTERIOR else ""


def prepare(draws: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """The groups to write, checked but for the values of the posterior."""
    if isinstance(draws, xr.Dataset):
        groups = {POSTERIOR: draws}
    else:
        if isinstance(draws, xr.DataTree):
            groups = {name: group.to_dataset() for name, group in draws.children.items()}
        else:
            groups = dict(draws)
        strange = [name for name in groups if name not in GROUPS]
        if strange or POSTERIOR not in groups:
            given = ", ".join(groups) or "none"
            raise SchemaError(
                "groups",
                given,
                f"a store of draws has the groups {', '.join(GROUPS)}",
                "Leave out the others.",
            )
    groups[POSTERIOR] = standardise(groups[POSTERIOR])
    for attribute in _OF_A_STORE:
        groups[POSTERIOR].attrs.pop(attribute, None)
    check_draws(groups[POSTERIOR], values=False)
    lengths = tuple(groups[POSTERIOR].sizes[each] for each in POSITIONS)
    for name, group in groups.items():
        groups[name] = group.drop_vars([each for each in POSITIONS if each in group.coords])
        for key, variable in group.data_vars.items():
            if variable.dtype.kind not in "biuf":
                raise SchemaError(
                    f"{name}/{key}", variable.dtype, "a store of draws holds numbers", "Leave it out."
                )
            if name in BY_DRAW and (variable.dims[:2], variable.shape[:2]) != (POSITIONS, lengths):
                rule = f"it has the posterior's {lengths[0]} chains of {lengths[1]} draws"
                raise SchemaError(f"{name}/{key}", variable.shape, rule, "Select the same draws of both.")
    return groups


def _write_group(target: zarr.Group, group: xr.Dataset) -> str:
    """Write one group and return its digest."""
    name = target.basename
    target.attrs.update(json_safe(group.attrs))
    layout.write_coordinates(target, group)
    digest = ContentDigest(group, ignore=POSITIONS, also=also(name, group))
    by_draw = [key for key, variable in group.data_vars.items() if variable.dims[:2] == POSITIONS]
    for other in set(group.data_vars) - set(by_draw):
        variable = group[other]
        values = np.asarray(variable.values)
        layout.create_array(target, str(other), variable, tuple(max(size, 1) for size in variable.shape))[
            ...
        ] = values
        digest.add(str(other), values)
    if by_draw:
        _write_by_draw(target, group[by_draw], digest, checked=name == POSTERIOR)
    return digest.hexdigest()


def _write_by_draw(target: zarr.Group, group: xr.Dataset, digest: ContentDigest, *, checked: bool) -> None:
    """Write variables (chain, draw, …) some whole chunks at a time."""
    n_chains, n_draws = group.sizes["chain"], group.sizes["draw"]
    arrays = {}
    for key, variable in group.data_vars.items():
        rest = variable.shape[2:]
        chunks = (1, layout.chunk_draws(n_draws, math.prod(rest)), *(max(size, 1) for size in rest))
        arrays[str(key)] = layout.create_array(target, str(key), variable, chunks)
    step = layout.MOST_DRAWS  # a multiple of every chunk
    for chain in range(n_chains):
        for start in range(0, n_draws, step):
            block = group.isel(chain=chain, draw=slice(start, start + step)).compute()
            values = {name: np.asarray(block[name].values) for name in arrays}
            if checked:
                check_values(values, chain=chain, start=start)
            for name, array in arrays.items():
                digest.add(name, values[name])
                size = array.chunks[1]
                for at in range(
                    0, len(values[name]), size
                ):  # one by one: a failed write leaves no other under way
                    array[chain, start + at : start + at + size] = values[name][at : at + size]
