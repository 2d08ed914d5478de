"""What the processes of a worker's fits and jobs really use: measured on the worker, told with its heartbeat.

Dask measures the worker's own process alone (distributed#1949).
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from distributed import Client, WorkerPlugin

__all__ = ["METRIC", "Measured", "children_bytes", "install_measured"]

METRIC = "tdmx-children"
"""Name of the measure: bytes, resident, of all processes that the worker started; pages that they share are counted in each."""

PERIOD = 1.0
"""s between two measurements."""

_MOST = 1000
_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_log = logging.getLogger(__name__)


class Measured(WorkerPlugin):
    """Adds the measure to a worker's metrics."""

    name = "tdmx-measured"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Begin."""
        self._when, self._known = -PERIOD, 0
        worker.metrics[METRIC] = self._measure

    def _measure(self, worker: Any) -> int:  # noqa: ARG002
        now = time.monotonic()
        if now - self._when >= PERIOD:
            self._when, self._known = now, children_bytes(os.getpid())
        return self._known


def children_bytes(pid: int) -> int:
    """Resident memory of all processes below one, bytes; 0 where the system does not say.

    Parameters
    ----------
    pid : of the process, which itself is not counted
    """
    found, total = [*_children(pid)], 0
    for seen, child in enumerate(found):
        if seen > _MOST:
            break
        try:
            total += int((_PROC / str(child) / "statm").read_text().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        found += _children(child)
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in (_PROC / str(pid) / "task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except (OSError, ValueError):
        pass
    return found


def install_measured(client: Client) -> None:
    """Measure on all workers, now and later; again does nothing. Where that fails, nothing is known of these processes."""
    try:
        client.register_plugin(Measured())
    except Exception:  # workers without this package
        _log.warning("The memory of fits is not measured on these workers", exc_info=True)
