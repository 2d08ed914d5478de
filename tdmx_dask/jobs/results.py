"""Results as files: those that are too large for the database, each written before the job that has it is settled."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tdmx_dask.errors import StoreError

__all__ = ["INLINE", "Results", "left_behind"]

INLINE = 64 * 1024
"""Bytes of a result up to which it is kept in the database."""

_LEFT_BEHIND = 3600.0
"""s; a file that no job refers to after so long was left behind."""


class Results:
    """A folder of results.

    Parameters
    ----------
    folder : made when there is one
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, value: bytes | None) -> tuple[bytes | None, str | None]:
        """A result as the ledger has it: itself where it is small, else the name of its file, which is on the disk when this returns.

        Raises
        ------
        StoreError
            It cannot be written.
        """
        if value is None or len(value) <= INLINE:
            return value, None
        name = f"{secrets.token_hex(16)}.value"
        path = self.folder / name
        try:
            self.folder.mkdir(exist_ok=True, mode=0o700)
            with path.open("xb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.drop([name])
            rule = f"a result of {len(value)} bytes cannot be written ({error.strerror})"
            raise StoreError("result", path, rule, "Make room; the job is kept.") from error
        return None, name

    def read(self, name: str) -> bytes:
        """A result from its file.

        Raises
        ------
        StoreError
            It is gone.
        """
        path = self.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            rule = f"the result cannot be read ({error.strerror})"
            raise StoreError("result", path, rule, "Submit the job again to compute it anew.") from error

    def drop(self, names: Iterable[str | None]) -> None:
        """Remove files that nobody needs; None stands for a result that has none."""
        for name in names:
            if name is not None:
                with suppress(OSError):
                    (self.folder / name).unlink()


def left_behind(folder: Path) -> list[Path]:
    """What is in a folder and was not touched for an hour; by a clock that jumps, it may be swept later."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                if abs(time.time() - path.stat().st_mtime) > _LEFT_BEHIND:
                    found.append(path)
    return found
