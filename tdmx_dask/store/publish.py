"""Publish a file or folder whole: write beside it, then rename.

A reader sees the old store or the new one, never a half: the new one gets its name only once it is complete and on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

__all__ = ["staging"]


@contextmanager
def staging(path: str | PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a name beside `path` to write to; at the end it takes the place of `path`.

    Parameters
    ----------
    path : the file or folder to publish
    overwrite : replace what exists; the old is kept until the new is whole

    Yields
    ------
    a path in the same folder that does not exist: make it a file or a folder

    Raises
    ------
    InputError
        `path` exists and `overwrite` is false, or it is a folder that tdmx did not write.
    StoreError
        The disk is full, or the place cannot be written.
    """
    raise NotImplementedError
    yield Path(path)
