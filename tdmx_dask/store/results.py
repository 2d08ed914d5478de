"""Results on disk: PTA, CFR and critical-MIC datasets."""

from __future__ import annotations

import os
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

_OF_A_STORE = ("tdmx_schema", "created_by", "digest", "contents", "coordinates", "store")


def write_result(
    result: xr.Dataset | xr.DataArray, path: str | PathLike[str], *, overwrite: bool = False
) -> str:
    """Write a result as one Zarr store and return its digest (sha256 of names, dimensions, units and values).

    Parameters
    ----------
    result : in memory, or dask-backed: then it is computed, each task writing its own chunks; attributes become what JSON
        can hold
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
        _write_variables(root, result, partial)
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


def _write_variables(root: zarr.Group, result: xr.Dataset, partial: Path) -> None:
    lazy = {}
    for key, variable in result.data_vars.items():
        name = str(key)
        if variable.dtype.kind not in "biuf":
            layout.write_text(root, name, variable)
        elif variable.chunks is not None:
            sizes = tuple(max(*lengths, 1) for lengths in variable.chunks)
            layout.create_array(root, name, variable, sizes)
            lazy[name] = variable.variable.chunk(dict(zip(variable.dims, sizes, strict=True)))
        else:
            array = layout.create_array(root, name, variable, _chunks(variable.shape))
            for index in slabs(variable.shape):
                array[index or ...] = np.asarray(variable[index].values)
    if lazy:
        xr.Dataset(lazy).to_zarr(partial, mode="r+", consolidated=False)


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """One chunk for each slab that is written at once."""
    first = next(slabs(shape))
    cut = [1 if isinstance(each, int) else each.stop for each in first]
    return tuple(
        max(min(size, most), 1) for size, most in zip(shape, [*cut, *shape[len(cut) :]], strict=True)
    )
