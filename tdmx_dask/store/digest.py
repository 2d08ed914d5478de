"""The digest of a Dataset's content: the same for any chunking, in memory or on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["ContentDigest", "content_digest", "json_safe", "slabs"]

SLAB_VALUES = 1 << 20


class ContentDigest:
    """sha256 of names, dimensions, units and values, fed a piece at a time.

    Parameters
    ----------
    dataset : its variables and coordinates; no value of a variable is looked at
    ignore : coordinates that do not count
    also : what else belongs to the content, such as how draws were sampled
    """

    def __init__(self, dataset: xr.Dataset, *, ignore: tuple[str, ...] = (), also: str = "") -> None:
        self._also = also
        self._parts = {}
        for name, variable in dataset.data_vars.items():
            self._parts[str(name)] = hashlib.sha256(_header(str(name), variable))
        self._coords = {}
        for name, variable in dataset.coords.items():
            if name not in ignore:
                digest = hashlib.sha256(_header(str(name), variable))
                digest.update(_content(np.asarray(variable.values)))
                self._coords[str(name)] = digest.hexdigest()

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Add the next values of a variable, in C order."""
        self._parts[name].update(_content(values))

    def hexdigest(self) -> str:
        """Return the digest, 64 hexadecimal digits."""
        parts = {name: part.hexdigest() for name, part in self._parts.items()}
        text = json.dumps([self._also, parts, self._coords], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def content_digest(dataset: xr.Dataset, *, ignore: tuple[str, ...] = (), also: str = "") -> str:
    """Return the digest of a whole Dataset, reading lazy arrays a slab at a time.

    Parameters
    ----------
    dataset, ignore, also : as in `ContentDigest`
    """
    digest = ContentDigest(dataset, ignore=ignore, also=also)
    for name, variable in dataset.data_vars.items():
        for index in slabs(variable.shape):
            digest.add(str(name), np.asarray(variable[index].values))
    return digest.hexdigest()


def slabs(shape: tuple[int, ...], limit: int = SLAB_VALUES) -> Iterator[tuple[int | slice, ...]]:
    """Yield indices of consecutive pieces of an array in C order, each of at most `limit` values.

    Parameters
    ----------
    shape : of the array
    limit : > 0; a power of two keeps the pieces aligned to chunks
    """
    size = 1
    for length in shape:
        size *= length
    if size <= limit or not shape:
        yield ()
        return
    row = size // shape[0]
    if row > limit:
        for first in range(shape[0]):
            for rest in slabs(shape[1:], limit):
                yield (first, *rest)
        return
    step = 1 << ((limit // row).bit_length() - 1)
    for first in range(0, shape[0], step):
        yield (slice(first, first + step),)


def json_safe(value: Any) -> Any:
    """Return `value` as JSON can hold it: NumPy numbers become Python's, tuples lists, anything else text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _header(name: str, variable: xr.DataArray) -> bytes:
    text = variable.dtype.kind not in "biuf"
    kind = "text" if text else variable.dtype.newbyteorder("<").str
    unit = str(variable.attrs.get("units", ""))
    return json.dumps([name, list(map(str, variable.dims)), list(variable.shape), kind, unit]).encode()


def _content(values: NDArray[Any]) -> bytes | memoryview:
    """The bytes of an array: numbers little-endian in C order; text as JSON."""
    if values.dtype.kind not in "biuf":
        return json.dumps([str(each) for each in values.ravel().tolist()]).encode()
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data
