"""Whether a process was killed because memory had run out."""

from __future__ import annotations

from pathlib import Path

import psutil

from tdmx_dask.clusters.resources import available_memory

__all__ = ["memory_is_short", "times_memory_ran_out"]

_COUNTERS = Path("/proc/vmstat")
_LEAST = 0.05
"""Fraction of the memory that this process may use; with less available, it is short."""


def times_memory_ran_out(counters: Path = _COUNTERS) -> int:
    """Processes that the kernel has killed for want of memory since it started, in any control group; 0 where it does not say."""
    try:
        for line in counters.read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0


def memory_is_short(before: int, counters: Path = _COUNTERS) -> bool:
    """Whether the kernel killed a process for want of memory since it was asked before, or little memory is available now.

    Parameters
    ----------
    before : `times_memory_ran_out` of an earlier moment
    """
    if times_memory_ran_out(counters) > before:
        return True
    return psutil.virtual_memory().available < _LEAST * min(psutil.virtual_memory().total, available_memory())
