"""How arrays lie in a store: Zarr v3, whole chunks of plain little-endian numbers, each with its checksum.

Posterior draws are random numbers, which compression makes 5 % smaller and reading several times slower; so chunks are
not compressed, and a CRC-32C shows damage. Draws are cut at multiples of 1024, the block of a random stream, one chain a
chunk. The root carries the mark: its schema when writing begins, its digest when all is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from tdmx_dask.errors import SchemaError, StoreError
from tdmx_dask.store.container import Container, container_at
from tdmx_dask.store.digest import json_safe

__all__ = [
    "chunk_draws",
    "create_array",
    "created_by",
    "open_group",
    "read_mark",
    "sound",
    "write_coordinates",
]

BLOCK = 1024
CHUNK_DRAWS = 1 << 16
MOST_DRAWS = 1 << 20
MOST_BYTES = 1 << 23
KEYS: Any = {"name": "default", "separator": "."}  # one flat folder an array: c.<chain>.<chunk of draws>
DAMAGED = "Restore it from a copy, or make it again."


@cache
def created_by() -> str:
    """Name and version of this package."""
    try:
        return f"tdmx_dask {version('tdmx-dask')}"
    except PackageNotFoundError:
        return "tdmx_dask"


def chunk_draws(n_draws: int, row: int = 1) -> int:
    """Return the number of draws in a chunk: a power of two, at least 1024.

    Parameters
    ----------
    n_draws : of a chain
    row : values a draw

    Examples
    --------
    >>> chunk_draws(1000), chunk_draws(5_000), chunk_draws(1_000_000), chunk_draws(10**9), chunk_draws(10**9, row=16)
    (1024, 8192, 65536, 1048576, 65536)
    """
    wanted = min(max(n_draws, BLOCK), max(CHUNK_DRAWS, min(n_draws // 256, MOST_DRAWS)))
    most = max(MOST_BYTES // (8 * row), BLOCK)
    return max(min(1 << (wanted - 1).bit_length(), 1 << (most.bit_length() - 1)), BLOCK)


def create_array(
    group: zarr.Group, name: str, variable: xr.DataArray, chunks: tuple[int, ...]
) -> zarr.Array[Any]:
    """Make the array of a numeric variable, without values.

    Parameters
    ----------
    group : to which it belongs
    name : of the array
    variable : gives shape, dimensions, dtype and attributes
    chunks : shape of a chunk
    """
    return group.create_array(
        name,
        shape=variable.shape,
        chunks=chunks,
        dtype=variable.dtype.newbyteorder("<"),
        fill_value=np.nan if variable.dtype.kind == "f" else 0,
        compressors=Crc32cCodec(),
        chunk_key_encoding=KEYS,
        dimension_names=[str(dimension) for dimension in variable.dims],
        attributes=json_safe(variable.attrs),
        config={"write_empty_chunks": True},
    )


def write_coordinates(group: zarr.Group, dataset: xr.Dataset) -> None:
    """Write the coordinates of a Dataset; those that are no dimension are listed as the CF conventions have it."""
    others = [str(key) for key in dataset.coords if key not in dataset.dims]
    if others:
        group.attrs["coordinates"] = " ".join(others)
    for key, variable in dataset.coords.items():
        name, values = str(key), np.asarray(variable.values)
        if values.dtype.kind in "biuf":
            create_array(group, name, variable, tuple(max(size, 1) for size in values.shape))[...] = values
        else:
            write_text(group, name, variable)


def write_text(group: zarr.Group, name: str, variable: xr.DataArray) -> None:
    """Write an array of text: names of regimens, targets, parameters."""
    group.create_array(
        name,
        data=np.asarray(variable.values).astype(str).astype(np.dtypes.StringDType()),
        compressors=Crc32cCodec(),
        chunk_key_encoding=KEYS,
        dimension_names=[str(dimension) for dimension in variable.dims],
        attributes=json_safe(variable.attrs),
    )


def read_mark(path: Path, schema: str) -> dict[str, Any]:
    """Read the attributes of a store's root, which say whether it is whole and of this schema.

    Parameters
    ----------
    path : folder of the store
    schema : the one expected, such as ``draws/1``

    Raises
    ------
    SchemaError
        It is no store of this kind, or of another version.
    StoreError
        It is missing, unreadable or half written.
    """
    kind = schema.partition("/")[0]
    if not path.exists():
        raise StoreError("store", path, "there is no such store", "Check the path.")
    fix = 'Import it with "tdmx draws import".' if kind == "draws" else "Check the path."
    try:
        text = container_at(path).read("zarr.json")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SchemaError("store", path, f"this is not a Zarr v3 store of {kind}", fix) from error
    except OSError as error:
        raise StoreError(
            "store", path / "zarr.json", f"this file cannot be read ({error})", DAMAGED
        ) from error
    try:
        attributes = json.loads(text).get("attributes", {})
    except (ValueError, AttributeError) as error:
        raise StoreError(
            "store", path / "zarr.json", f"this file cannot be read ({error})", DAMAGED
        ) from error
    found = attributes.get("tdmx_schema")
    if found is None or str(found).partition("/")[0] != kind:
        raise SchemaError(
            "store", path, f"this is not a store of {kind}, but of {found or 'something else'}", fix
        )
    if found != schema:
        raise SchemaError(
            "store", path, f"its schema is {found}; this version reads {schema}", "Make it again, or upgrade."
        )
    if "digest" not in attributes or "contents" not in attributes:
        raise StoreError(
            "store", path, "it is half written: the completion mark is missing", "Make it again."
        )
    return dict(attributes)


def open_group(path: Path, name: str, expected: Mapping[str, Any]) -> xr.Dataset:
    """Open one group of a store lazily and see that its arrays and their chunks are there.

    Parameters
    ----------
    path : folder of the store
    name : of the group; empty for the root
    expected : names of its arrays -> shapes, as the mark has them
    """
    folder = path / name
    try:
        container = container_at(path)
        store = container.zarr_store()
        dataset: xr.Dataset = xr.open_zarr(store, group=name or None, consolidated=False, chunks=None)
        for each in expected:
            sound(container, f"{name}/{each}" if name else each)
        texts = {
            key: variable.copy(data=np.array(variable.values.tolist(), dtype=np.str_).reshape(variable.shape))
            for key, variable in dataset.variables.items()
            if variable.dtype.kind not in "biuf"
        }
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise StoreError(
            "store", folder, f"it is damaged ({' '.join(str(error).split())[:200]})", DAMAGED
        ) from error
    found = {str(key): list(variable.shape) for key, variable in dataset.variables.items()}
    for each, shape in expected.items():
        if found.get(each) != list(shape):
            raise StoreError("store", folder / each, "this array is missing or has another shape", DAMAGED)
    return dataset.assign(texts) if texts else dataset


def sound(container: Container, array: str) -> dict[str, Any]:
    """Return the metadata of an array, all of whose chunks are there; they are counted, not read."""
    place = container.path / array
    try:
        metadata: dict[str, Any] = json.loads(container.read(f"{array}/zarr.json"))
        shape, chunks = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("store", place / "zarr.json", "this file is missing or damaged", DAMAGED) from error
    wanted = math.prod(math.ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True))
    present = container.names(array)
    if len(present) <= wanted:
        absent = next((key for key in _keys(shape, chunks) if key not in present), "a chunk")
        raise StoreError("store", place / absent, "this chunk is missing", DAMAGED)
    return metadata


def _keys(shape: list[int], chunks: list[int]) -> Iterator[str]:
    grid = [math.ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True)]
    return (".".join(["c", *map(str, index)]) for index in np.ndindex(*grid))


def contents(dataset: xr.Dataset) -> dict[str, list[int]]:
    """Names and shapes of a Dataset's arrays, as a mark lists them."""
    return {str(name): list(variable.shape) for name, variable in dataset.variables.items()}
