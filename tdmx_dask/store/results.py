"""Results on disk: PTA, CFR and critical-MIC datasets."""

from __future__ import annotations

import math
import os
from itertools import product
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from tdmx_dask.errors import StoreError
from tdmx_dask.store import layout
from tdmx_dask.store.digest import content_digest, json_safe, slabs
from tdmx_dask.store.publish import staging
from tdmx_dask.store.schema import RESULT_SCHEMA, check_result

__all__ = ["open_result", "verify_result", "write_result"]

AT_ONCE = 1 << 28  # bytes: what is smaller is computed in one go
BATCH = 1 << 26  # bytes
_OF_A_STORE = ("tdmx_schema", "created_by", "digest", "contents", "coordinates", "store")


def write_result(
    result: xr.Dataset | xr.DataArray, path: str | PathLike[str], *, overwrite: bool = False
) -> str:
    """Write a result as one Zarr store and return its digest (sha256 of names, dimensions, units and values).

    Parameters
    ----------
    result : in memory, or dask-backed: then it is computed, what is large some chunks at a time; attributes become what
        JSON can hold
    path : folder to make
    overwrite : replace an existing store once the new one is whole

    Raises
    ------
    SchemaError
        It is no result.
    InputError
        `path` exists.
    StoreError
        The disk is full, or the place cannot be written.
    """
    if isinstance(result, xr.DataArray):
        attributes = result.attrs
        result = result.to_dataset(name=result.name or "critical_mic").assign_attrs(attributes)
    check_result(result)
    attributes = {key: value for key, value in json_safe(result.attrs).items() if key not in _OF_A_STORE}
    with staging(path, overwrite=overwrite) as partial:
        root = zarr.open_group(partial, mode="w-", zarr_format=3, attributes={"tdmx_schema": RESULT_SCHEMA})
        layout.write_coordinates(root, result)
        _write_variables(root, result)
        contents = {"": layout.contents(result)}
        digest = content_digest(layout.open_group(partial, "", contents[""]))
        mark = {
            "tdmx_schema": RESULT_SCHEMA,
            "created_by": layout.created_by(),
            "contents": contents,
            "digest": digest,
        }
        root.attrs.update(attributes | mark)
    return digest


def open_result(path: str | PathLike[str]) -> xr.Dataset:
    """Open a result, lazily.

    Parameters
    ----------
    path : folder of the store

    Returns
    -------
    as it was written, not dask-backed; attrs besides its own: ``tdmx_schema``, ``created_by``, ``digest``, ``store``

    Raises
    ------
    SchemaError
        It is not a result, or one of another schema.
    StoreError
        The store is missing, half written or damaged.
    """
    folder = Path(os.path.realpath(path))
    mark = layout.read_mark(folder, RESULT_SCHEMA)
    expected = mark["contents"][""]
    result = layout.open_group(folder, "", expected)
    check_result(result)
    result = result[[name for name in expected if name in result.data_vars]]
    result.attrs = {key: value for key, value in mark.items() if key not in ("contents", "coordinates")}
    result.attrs["store"] = str(folder)
    return result


def verify_result(path: str | PathLike[str]) -> str:
    """Read a whole result and compare it with the digest that it was given; return the digest.

    Raises
    ------
    SchemaError, StoreError
        As `open_result`; or the content is not what was written.
    """
    result = open_result(path)
    try:
        found = content_digest(result)
    except (ValueError, RuntimeError, OSError) as error:
        raise StoreError("store", path, f"a chunk is damaged ({error})", layout.DAMAGED) from error
    if found != result.attrs["digest"]:
        raise StoreError("store", path, "its content is not what was written", layout.DAMAGED)
    return found


def _write_variables(root: zarr.Group, result: xr.Dataset) -> None:
    """Write all variables. Lazy ones are computed for here, not written by tasks: those of a failed computation would go on
    writing, and the machines of a cluster need not share this disk.
    """
    lazy = [key for key, variable in result.data_vars.items() if variable.chunks is not None]
    if sum(result[key].nbytes for key in lazy) <= AT_ONCE:
        result = result.assign(result[lazy].compute())  # together: they share their simulation
    for key, variable in result.data_vars.items():
        if variable.dtype.kind not in "biuf":
            layout.write_text(root, str(key), variable)
        elif variable.chunks is not None:
            _write_lazy(root, str(key), variable)
        else:
            array = layout.create_array(root, str(key), variable, _chunks(variable.shape))
            for index in slabs(variable.shape):
                array[index or ...] = np.asarray(variable[index].values)


def _write_lazy(root: zarr.Group, name: str, variable: xr.DataArray) -> None:
    """Compute and write a large variable, some chunks at a time."""
    from dask.base import compute

    sizes = tuple(max(*lengths, 1) for lengths in variable.chunks or ())
    array = layout.create_array(root, name, variable, sizes)
    grid = [range(0, length, size) for length, size in zip(variable.shape, sizes, strict=True)]
    regions = [tuple(map(slice, at, np.add(at, sizes).tolist())) for at in product(*grid)]
    together = max(BATCH // (math.prod(sizes) * variable.dtype.itemsize), 1)
    for first in range(0, len(regions), together):
        some = regions[first : first + together]
        for region, values in zip(some, compute(*(variable.data[region] for region in some)), strict=True):
            array[region] = values


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """One chunk for each slab that is written at once."""
    first = next(slabs(shape))
    cut = [1 if isinstance(each, int) else each.stop for each in first]
    return tuple(
        max(min(size, most), 1) for size, most in zip(shape, [*cut, *shape[len(cut) :]], strict=True)
    )
