"""Compiled executables on machines that lack them: found by digest, asked for where they are missing, sent once."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.task import Batch

__all__ = ["MissingExecutable", "content_of", "digest_of", "digests_of", "receive", "with_executables_here"]

_received: dict[str, str] = {}


class MissingExecutable(FitError):  # noqa: N818  (a request, not a failure)
    """A worker has not got an executable; it is to be sent, and the batch run again."""


@functools.lru_cache(maxsize=256)
def _digest(path: str, _mtime: int, _size: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def digest_of(path: str) -> str | None:
    """The sha256 of a file, read again only where it changed; None where there is no such file."""
    try:
        status = Path(path).stat()
        return _digest(path, status.st_mtime_ns, status.st_size)
    except OSError:
        return None


def digests_of(batch: Batch) -> dict[str, str]:
    """Path -> sha256 of the executables of a batch, as they are on this machine.

    Raises
    ------
    FitError
        There is no such file here.
    """
    found = {}
    for path in {task.executable for task in batch.tasks if task.executable is not None}:
        digest = digest_of(path)
        if digest is None:
            raise FitError("executable", path, "there is no such file", "Compile the program again.")
        found[path] = digest
    return found


def with_executables_here(batch: Batch, digests: Mapping[str, str]) -> Batch:
    """Return the batch with paths of this machine: the same path where it holds the same bytes, else what was received.

    Raises
    ------
    MissingExecutable
        Neither is here.
    """
    places = {}
    for path, digest in digests.items():
        if digest_of(path) == digest:
            places[path] = path
        elif digest in _received and Path(_received[digest]).is_file():
            places[path] = _received[digest]
        else:
            raise MissingExecutable(
                "executable", path, "this worker lacks it", "It is sent, and the fit runs again."
            )
    if all(path == place for path, place in places.items()):
        return batch
    tasks = (
        replace(task, executable=places[task.executable]) if task.executable else task for task in batch.tasks
    )
    return replace(batch, tasks=tuple(tasks))


def content_of(path: str) -> bytes:
    """What is sent: the executable, with the libraries that it needs."""
    from tdmx_dask.fitting.toolchain import packed

    return packed(path)


def receive(digest: str, content: bytes) -> None:
    """Keep an executable on this machine, in the cache of compiled programs."""
    from tdmx_dask.fitting.toolchain import materialise

    _received[digest] = str(materialise(digest, content))
