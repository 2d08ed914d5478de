"""Many small stores of draws at once: the files of `draws.write_draws`, without asking Zarr for each of them.

Zarr's library needs about 0.5 ms an array and 0.3 ms a chunk, most of it waiting between two threads: 50 ms for a fit of a thousand
draws, and as many cores as the machine has are busy sampling. Here it describes each kind of array once; the description is kept, chunks
are plain numbers with a CRC-32C (see `layout`), and all stores of a call are brought to the disk together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from tdmx_dask.errors import TdmxError
from tdmx_dask.store import layout
from tdmx_dask.store.container import SUFFIX, Writer, writer_at
from tdmx_dask.store.digest import ContentDigest, json_safe
from tdmx_dask.store.draws import POSITIONS, also, mark, prepare
from tdmx_dask.store.publish import flush_all, staging
from tdmx_dask.store.schema import POSTERIOR, check_values

__all__ = ["write_many"]

_GROUP = {"zarr_format": 3, "node_type": "group"}


def write_many(
    stores: Sequence[tuple[Mapping[str, xr.Dataset], Path]],
) -> list[str | TdmxError]:
    """Write stores of draws, each as `draws.write_draws` writes it; one that fails hinders no other.

    Parameters
    ----------
    stores : (groups by name, in memory; folder to make, or a file where the name ends in .zip)

    Returns
    -------
    for each the digest of its posterior, or why it was not written: an `InputError`, `SchemaError` or `StoreError`
    """
    outcomes: list[str | TdmxError] = []
    written: list[tuple[int, ExitStack, Path]] = []
    for at, (groups, path) in enumerate(stores):
        stack = ExitStack()
        try:
            partial = stack.enter_context(staging(path, alone=at == 0 and len(stores) == 1))
            outcomes.append(_guarded(stack, partial, groups, archive=path.suffix == SUFFIX))
            written.append((at, stack, partial))
        except TdmxError as error:
            outcomes.append(error)
    if len(stores) > 1 and written:
        try:
            flush_all([partial for _, _, partial in written])
        except OSError as error:
            for at, stack, _ in written:
                outcomes[at] = _failed(stack, error)
            return outcomes
    for at, stack, _ in written:
        try:
            stack.close()
        except TdmxError as error:
            outcomes[at] = error
    return outcomes


def _guarded(stack: ExitStack, partial: Path, groups: Mapping[str, xr.Dataset], *, archive: bool) -> str:
    """Write one store; what goes wrong goes through `staging`, which tidies up and names it."""
    try:
        with closing(writer_at(partial, archive=archive)) as writer:
            return _write(writer, prepare(groups))
    except Exception as error:
        failure = _failed(stack, error)
        raise failure from error


def _failed(stack: ExitStack, error: Exception) -> TdmxError:
    try:
        stack.__exit__(type(error), error, error.__traceback__)
    except TdmxError as known:
        return known
    raise error


def _write(writer: Writer, groups: Mapping[str, xr.Dataset]) -> str:
    digests = {name: _write_group(writer, name, group) for name, group in groups.items()}
    _document(writer, "", mark(groups, digests))
    return digests[POSTERIOR]


def _write_group(writer: Writer, name: str, group: xr.Dataset) -> str:
    attributes = json_safe(group.attrs)
    if group.coords:
        attributes |= _write_coordinates(writer, name, group)
    _document(writer, f"{name}/", attributes)
    digest = ContentDigest(group, ignore=POSITIONS, also=also(name, group))
    for key, variable in group.data_vars.items():
        values = np.asarray(variable.values, order="C")
        if name == POSTERIOR:
            check_values({str(key): values})
        digest.add(str(key), values)
        _write_array(writer, f"{name}/{key}", variable.variable, values)
    return digest.hexdigest()


def _write_array(writer: Writer, key: str, variable: xr.Variable, values: NDArray[Any]) -> None:
    """Write the metadata and the chunks of one array."""
    shape, dims = values.shape, tuple(map(str, variable.dims))
    if dims[:2] == POSITIONS:
        rest = shape[2:]
        chunks = (1, layout.chunk_draws(shape[1], math.prod(rest)), *(max(size, 1) for size in rest))
    else:
        chunks = tuple(max(size, 1) for size in shape)
    dtype = values.dtype.newbyteorder("<")
    attributes = json.dumps(json_safe(variable.attrs))
    writer.write(f"{key}/zarr.json", _metadata(shape, chunks, dtype.str, dims, attributes))
    for chunk, block in _blocks(values.astype(dtype, copy=False), chunks):
        data = block.tobytes()
        writer.write(f"{key}/{chunk}", data + google_crc32c.value(data).to_bytes(4, "little"))


def _blocks(values: NDArray[Any], chunks: tuple[int, ...]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Name and values of each chunk; one at the edge is filled up."""
    grid = [math.ceil(size / chunk) for size, chunk in zip(values.shape, chunks, strict=True)]
    for index in np.ndindex(*grid):
        place = tuple(slice(at * chunk, (at + 1) * chunk) for at, chunk in zip(index, chunks, strict=True))
        block = values[place]
        if block.shape != chunks:
            whole = np.full(chunks, np.nan if values.dtype.kind == "f" else 0, dtype=values.dtype)
            whole[tuple(slice(size) for size in block.shape)] = block
            block = whole
        yield ".".join(["c", *map(str, index)]), block


@lru_cache(maxsize=1024)
def _metadata(
    shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str, dims: tuple[str, ...], attributes: str
) -> bytes:
    """The document that describes an array, as Zarr writes it."""
    files: dict[str, Any] = {}
    root = zarr.open_group(MemoryStore(files), mode="w", zarr_format=3)
    template = xr.DataArray(
        np.broadcast_to(np.zeros((), dtype=dtype), shape), dims=dims, attrs=json.loads(attributes)
    )
    layout.create_array(root, "array", template, chunks)
    document: bytes = files["array/zarr.json"].to_bytes()
    return document


def _write_coordinates(writer: Writer, name: str, group: xr.Dataset) -> dict[str, Any]:
    """Write the few labels of a group as Zarr does; return the attributes that name them."""
    files: dict[str, Any] = {}
    root = zarr.open_group(MemoryStore(files), mode="w", zarr_format=3)
    layout.write_coordinates(root, group)
    for key, content in files.items():
        if "/" in key:
            writer.write(f"{name}/{key}", content.to_bytes())
    return dict(root.attrs)


def _document(writer: Writer, where: str, attributes: Mapping[str, Any]) -> None:
    document = {"attributes": json_safe(dict(attributes)), **_GROUP}
    writer.write(f"{where}zarr.json", json.dumps(document).encode())
