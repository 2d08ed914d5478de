"""Dask's settings of clusters whose workers are jobs: held while any such cluster runs, for Dask reads them all the while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import dask.config

__all__ = ["dask_settings"]

SETTINGS = {
    "distributed.scheduler.default-task-durations": {"tdmx-fit": "10m", "tdmx-job": "1m"},
}
"""Tasks of unknown length count as what they are, so that enough jobs are asked for."""

_running = 0
_set: Any = None
_lock = threading.Lock()


@contextlib.contextmanager
def dask_settings() -> Iterator[None]:
    """Hold `SETTINGS`; they are undone when the last cluster has ended, in whatever order clusters begin and end."""
    global _running, _set
    with _lock:
        if not _running:
            _set = dask.config.set(SETTINGS)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running:
                _set.__exit__(None, None, None)
