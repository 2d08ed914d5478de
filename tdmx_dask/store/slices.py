"""What a task reads: one slice of one chain, straight from the chunk files of a store.

A store is immutable and its chunks are plain numbers with a checksum (see ``layout``), so a slice is read without an event
loop: a read costs tens of microseconds, and what is damaged is named by its file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from tdmx_dask.errors import InputError, StoreError
from tdmx_dask.store import layout
from tdmx_dask.store.container import Container, container_at
from tdmx_dask.store.schema import DRAWS_SCHEMA, POSTERIOR, check_values

__all__ = ["read_slice", "stored_at"]

_MOST_OPEN = 16
_CHECKSUM = 4  # bytes after each chunk
_RESIDUE = 0x48674BC7
"""CRC-32C of anything with its own CRC-32C behind it, low byte first: the residue of the code."""


@dataclass(frozen=True, slots=True)
class _Array:
    container: Container
    key: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Store:
    identity: tuple[int, int]
    digest: str
    arrays: dict[str, _Array]


_opened: dict[str, _Store] = {}  # this process's stores, by path
_lock = threading.Lock()


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
    """Read one slice of a store of draws.

    Parameters
    ----------
    path : folder of the store
    names : variables to read
    chain : position of the chain
    start, stop : positions of the first draw and of the one after the last; a slice that covers whole chunks
        is the quickest
    digest : refuse a store whose digest is another
    check : refuse values that no parameter can have; false where the caller does so (`schema.check_values`)

    Returns
    -------
    name -> (stop - start, …), C-contiguous, read-only, in the order asked for

    Raises
    ------
    StoreError
        A chunk is missing or damaged, or the store is not the one with this digest.
    InputError
        There is no such variable, chain or draw; or a value is not finite or out of range: which draw, which chain,
        which parameter.
    """
    store = _open(os.fspath(path), digest)
    values = {}
    for name in names:
        array = store.arrays.get(name)
        if array is None:
            raise InputError("names", name, f"the store {os.fspath(path)} has {', '.join(store.arrays)}")
        values[name] = _read(array, chain, start, stop)
    if check:
        check_values(values, chain=chain, start=start)
    return values


def stored_at(draws: xr.Dataset) -> str | None:
    """Path of the store that holds exactly these draws, so that tasks may read them there; None for any other.

    It is None where a variable was computed, replaced, renamed, indexed or loaded since `open_draws`: attributes survive
    all of these, and must not be trusted alone.

    Parameters
    ----------
    draws : any Dataset
    """
    path = draws.attrs.get("store")
    if not isinstance(path, str) or not draws.data_vars:
        return None
    try:
        arrays = _open(path, draws.attrs.get("digest")).arrays
    except StoreError:
        return None
    untouched = all(
        str(name) in arrays and _is_whole(str(name), variable, path, arrays[str(name)])
        for name, variable in draws.data_vars.items()
    )
    return path if untouched else None


def _is_whole(name: str, variable: xr.DataArray, path: str, array: _Array) -> bool:
    """Whether a variable is the lazy array of that name as it was opened, all of it."""
    inner: Any = variable.variable._data  # there is no public way to ask: what is not understood is not whole
    while hasattr(inner, "array"):
        key = getattr(getattr(inner, "key", None), "tuple", ())
        if not all(isinstance(each, slice) and each == slice(None) for each in key):
            return False
        inner = inner.array
    source = inner.get_array() if hasattr(inner, "get_array") else None
    if not isinstance(source, zarr.Array) or variable.shape != array.shape:
        return False
    where = getattr(source.store, "root", None) or getattr(source.store, "path", None)
    return source.path == f"{POSTERIOR}/{name}" and where == Path(path)


def _open(path: str, digest: str | None) -> _Store:
    try:
        status = Path(path).stat() if Path(path).is_file() else Path(path, "zarr.json").stat()
        identity = (status.st_ino, status.st_mtime_ns)
    except OSError:
        identity = (-1, -1)
    store = _opened.get(path)
    if store is None or store.identity != identity:
        mark = layout.read_mark(Path(path), DRAWS_SCHEMA)
        container = container_at(Path(path))
        arrays = {name: _array(container, f"{POSTERIOR}/{name}") for name in mark["variables"]}
        store = _Store(identity, str(mark["digest"]), arrays)
        with _lock:
            while len(_opened) >= _MOST_OPEN:
                del _opened[next(iter(_opened))]
            _opened[path] = store
    if digest is not None and digest != store.digest:
        raise StoreError(
            "store",
            path,
            f"its digest is {store.digest[:12]}…, not {digest[:12]}…",
            "It was replaced: start again.",
        )
    return store


def _array(container: Container, key: str) -> _Array:
    metadata = layout.sound(container, key)
    codecs = [codec["name"] for codec in metadata["codecs"]]
    if codecs != ["bytes", "crc32c"] or metadata["data_type"] != "float64":
        raise StoreError(
            "store",
            container.path / key,
            "its chunks are not those that tdmx writes",
            "Import the store again.",
        )
    chunks = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    return _Array(container, key, tuple(metadata["shape"]), chunks)


def _read(array: _Array, chain: int, start: int, stop: int) -> NDArray[np.float64]:
    n_chains, n_draws = array.shape[:2]
    if not 0 <= chain < n_chains:
        raise InputError("chain", chain, f"there are chains 0 to {n_chains - 1}")
    if not 0 <= start < stop <= n_draws:
        raise InputError("draws", f"{start}..{stop}", f"a slice lies within 0..{n_draws}")
    size = array.chunks[1]
    parts = []
    for chunk in range(start // size, (stop - 1) // size + 1):
        whole = _read_chunk(array, chain, chunk)
        parts.append(whole[max(start - chunk * size, 0) : stop - chunk * size])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _read_chunk(array: _Array, chain: int, chunk: int) -> NDArray[np.float64]:
    """One chunk, (draw, …)."""
    row = array.chunks[1:]
    n_bytes = 8 * int(np.prod(row))
    name = ".".join(["c", str(chain), str(chunk), *["0"] * (len(row) - 1)])
    file = array.container.path / array.key / name
    try:
        content = array.container.read(f"{array.key}/{name}")
    except OSError as error:
        raise StoreError(
            "store", file, f"this chunk cannot be read ({error.strerror})", layout.DAMAGED
        ) from error
    if len(content) != n_bytes + _CHECKSUM:
        raise StoreError(
            "store", file, "this chunk has another length than it was written with", layout.DAMAGED
        )
    if google_crc32c.value(content) != _RESIDUE:
        raise StoreError("store", file, "this chunk is damaged: its checksum is wrong", layout.DAMAGED)
    return np.frombuffer(content, dtype="<f8", count=n_bytes // 8).reshape(row)
