"""A folder of one process, for nobody else to read; removed when it ends, or by the next one that starts where it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["scratch_folder", "sweep"]

_LOCK = "running"
_YOUNG = 10.0


def _prefix() -> str:
    return f"tdmx-{os.getuid()}-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder (0700) under TMPDIR, held by a lock while it is in use."""
    folder = Path(tempfile.mkdtemp(prefix=_prefix()))
    try:
        with (folder / _LOCK).open("w") as lock:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> int:
    """Remove folders of processes of this user that were killed; return how many.

    A folder whose lock is held, or that is younger than 10 s, is in use.
    """
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        with suppress(OSError):
            status = folder.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if not ours or time.time() - status.st_mtime < _YOUNG:
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed += 1
    return removed
