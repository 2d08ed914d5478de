"""Frames between a process and its children: a JSON header and raw float64, nothing pickled."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import FitError

__all__ = ["HEADER_LIMIT", "RAW_LIMIT", "FrameBuffer", "pack"]

HEADER_LIMIT = 2**30
"""Largest JSON header, bytes; the data of a fit are in it."""
RAW_LIMIT = 2**36
"""Largest body of arrays, bytes."""

_PREFIX = struct.Struct("!4sQQ")
_MAGIC = b"tdmx"
_ARRAY = "#array"


def pack(message: Mapping[str, Any]) -> bytes:
    """Write one frame; arrays of floats may stand anywhere in the message.

    Raises
    ------
    FitError
        It is larger than a frame may be.
    """
    arrays: list[NDArray[np.float64]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            arrays.append(np.ascontiguousarray(value, dtype=np.float64))
            return {_ARRAY: len(arrays) - 1, "shape": value.shape}
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"a frame cannot hold a {type(value).__name__}")

    header = json.dumps(message, default=plain, separators=(",", ":")).encode()
    raw = sum(array.nbytes for array in arrays)
    _check(len(header), raw)
    return b"".join([_PREFIX.pack(_MAGIC, len(header), raw), header, *(array.tobytes() for array in arrays)])


class FrameBuffer:
    """Makes messages of the bytes of a stream, in whatever pieces they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Add a piece; yield the messages that are whole now.

        Raises
        ------
        FitError
            The stream is damaged.
        """
        self._held += piece
        while len(self._held) >= _PREFIX.size:
            magic, n_header, n_raw = _PREFIX.unpack_from(self._held)
            if magic != _MAGIC:
                raise _damaged(f"it begins with {bytes(magic)!r}")
            _check(n_header, n_raw)
            end = _PREFIX.size + n_header + n_raw
            if len(self._held) < end:
                return
            header = bytes(self._held[_PREFIX.size : _PREFIX.size + n_header])
            raw = self._held[end - n_raw : end]
            del self._held[:end]
            yield _message(header, raw)

    @property
    def empty(self) -> bool:
        """Whether no frame is cut short."""
        return not self._held


def _message(header: bytes, raw: bytearray) -> dict[str, Any]:
    sizes: list[tuple[int, tuple[int, ...], dict[str, Any]]] = []

    def noted(value: dict[str, Any]) -> dict[str, Any]:
        if _ARRAY in value:
            sizes.append((int(value[_ARRAY]), tuple(value["shape"]), value))
        return value

    try:
        found = json.loads(header, object_hook=noted)
        if not isinstance(found, dict):
            raise _damaged("its header is no object")
        arrays, start = {}, 0
        for index, shape, _ in sorted(sizes, key=lambda size: size[0]):
            stop = start + 8 * int(np.prod(shape, dtype=np.int64))
            arrays[index] = (
                np.frombuffer(raw, dtype=np.float64, count=(stop - start) // 8, offset=start).reshape(shape)
                if stop > start
                else np.empty(shape)
            )
            start = stop
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(str(error)) from error
    if start != len(raw):
        raise _damaged(f"its arrays need {start} bytes and it has {len(raw)}")
    placed = _placed(found, arrays)
    assert isinstance(placed, dict)  # noqa: S101  (found is one)
    return placed


def _placed(value: Any, arrays: Mapping[int, NDArray[np.float64]]) -> Any:
    if not arrays:
        return value
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]]
        return {key: _placed(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, arrays) for item in value]
    return value


def _check(n_header: int, n_raw: int) -> None:
    if n_header > HEADER_LIMIT or n_raw > RAW_LIMIT:
        raise FitError(
            "frame",
            f"{n_header} + {n_raw} bytes",
            f"at most {HEADER_LIMIT} bytes of JSON and {RAW_LIMIT} bytes of arrays pass between processes",
            "Keep fewer draws or fewer generated quantities, or run shorter rounds.",
        )


def _damaged(why: str) -> FitError:
    return FitError(
        "frame", "damaged", f"the answer of a child process cannot be read: {why}", "Run it again."
    )
