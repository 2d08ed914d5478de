"""Files that take long to make: made once, by whichever process comes first, and seen whole or not at all.

The lock is a POSIX lock, which NFS passes on and the system drops when its holder dies, so none is ever stale; what is made in a folder
beside its place is renamed into it. Where a file system has no locks, two processes may make the same thing; the first to finish counts.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tdmx_dask.errors import FitError

__all__ = ["made_once"]

_WAIT = 0.1
_PATIENCE = 3600.0
_holders: dict[Path, threading.Lock] = {}
_guard = threading.Lock()


def _nothing() -> None:
    return


def made_once(
    path: Path,
    make: Callable[[Path], Path],
    *,
    waiting: Callable[[], object] = _nothing,
    making: Callable[[], object] = _nothing,
) -> Path:
    """Return a program, made now if it is not there.

    Parameters
    ----------
    path : ``<cache>/<key>/<name>``; the folder of the key is made as a whole
    make : makes the program inside of an empty folder and returns its path; shared libraries (``*.so*``) beside it are kept with it
    waiting : called once where another process makes it
    making : called before it is made here

    Raises
    ------
    FitError
        As `make` raises; or the cache cannot be written, or another process makes it for an hour.
    """
    if path.is_file():
        return path
    place, cache = path.parent, path.parent.parent
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(cache / f".{place.name}.lock", waiting):
            if not path.is_file():
                making()
                _make(path, make)
    except OSError as error:
        fix = "Make room or allow it, or set TDMX_STAN_CACHE to another folder."
        raise FitError("cache", cache, f"it cannot be written ({error.strerror or error})", fix) from error
    return path


def _make(path: Path, make: Callable[[Path], Path]) -> None:
    empty = Path(tempfile.mkdtemp(prefix=".build-", dir=path.parent.parent))
    try:
        made = make(empty)
        made.chmod(0o755)
        final = empty / ".final"
        final.mkdir()
        made.rename(final / path.name)
        for library in sorted(empty.glob("*.so*")):
            library.rename(final / library.name)
        _published(final, path.parent)
    finally:
        shutil.rmtree(empty, ignore_errors=True)


def _published(made: Path, place: Path) -> None:
    try:
        made.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise  # else another was first, without a lock; its result is as good


@contextmanager
def _locked(path: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock between threads, processes and machines."""
    with _guard:
        own = _holders.setdefault(path, threading.Lock())
    end, told = time.monotonic() + _PATIENCE, False
    with own, path.open("w") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    break  # no locks here: the rename alone must do
            if time.monotonic() > end:
                rule = f"another process has held it for {_PATIENCE / 60:.0f} min"
                raise FitError("lock", path, rule, "End that process.")
            if not told:
                waiting()
                told = True
            time.sleep(_WAIT)
        yield
