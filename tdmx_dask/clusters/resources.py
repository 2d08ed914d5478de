"""Memory and cores that this process may really use, and how many workers they carry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tdmx_dask.errors import ClusterError, InputError

__all__ = [
    "Share",
    "available_cores",
    "available_memory",
    "get_memory_aware_workers",
    "get_optimal_workers",
    "split_share",
]

FOR_FITS = 0.5
"""Fraction of a worker's share that its fits may use; the rest is for arrays."""

_CGROUPS = Path("/sys/fs/cgroup")
_MEBI = 2**20
_MEGA = 10**6


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker may use.

    Parameters
    ----------
    arrays : bytes of the worker process itself, Dask's `memory_limit`; 0: no limit
    fits_mb : MB (10^6 bytes) of its children together, the resource `MEM`
    """

    arrays: int
    fits_mb: int


def available_cores() -> int:
    """Cores that this process may use, at least 1: the fewest of its affinity, its control groups' quota and its SLURM job's."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(_own_cgroups()), *_slurm_cores(os.environ)]))


def available_memory() -> int:
    """Bytes that this process and its children may use: the least of the machine's memory, its control groups' limits and its SLURM job's.

    What other programs use at the moment is not taken off.
    """
    limits = [*_limits(_own_cgroups()), *_slurm_memory(os.environ)]
    return min([psutil.virtual_memory().total, *limits])


def split_share(memory_limit: str | float | None, threads: int, fits: float = FOR_FITS) -> Share:
    """Split what one worker may use between its arrays and the children that run its fits.

    Parameters
    ----------
    memory_limit : bytes a worker with its fits, a text such as ``2 GiB``, or ``auto``: `available_memory` in proportion to its threads;
        0 or None: no limit for arrays, and half of its proportion for fits
    threads : of the worker, >= 1
    fits : fraction that the processes of its fits may use

    Raises
    ------
    InputError
        It is no amount of memory.
    """
    from dask.utils import parse_bytes

    proportion = int(available_memory() * min(1.0, threads / available_cores()))
    if memory_limit is None or memory_limit == 0:
        return Share(0, int(proportion * fits) // _MEGA)
    try:
        if memory_limit == "auto":
            share = proportion
        elif isinstance(memory_limit, float) and 0 < memory_limit <= 1:
            share = int(memory_limit * available_memory())
        else:
            share = int(parse_bytes(memory_limit))
    except (TypeError, ValueError):
        share = -1
    if share <= 0:
        raise InputError(
            "memory_limit", memory_limit, "bytes a worker, or a text with a unit, > 0", "For example '2 GiB'."
        )
    for_fits = int(share * fits)
    return Share(share - for_fits, for_fits // _MEGA)


def get_optimal_workers(n_tasks: int | None = None, reserve_cores: int = 1) -> int:
    """Workers of one thread for this machine: one a core, some left free, no more than there are tasks; at least 1.

    Parameters
    ----------
    n_tasks : that are to run, >= 1; None: many
    reserve_cores : left to others, >= 0

    Raises
    ------
    InputError
        A number out of range.

    Examples
    --------
    >>> get_optimal_workers(n_tasks=1)
    1
    """
    for name, value, least in (("n_tasks", n_tasks, 1), ("reserve_cores", reserve_cores, 0)):
        if value is None and name == "n_tasks":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(name, value, f"a whole number >= {least} is needed", f"For example {least}.")
    workers = max(1, available_cores() - reserve_cores)
    return workers if n_tasks is None else min(workers, n_tasks)


def get_memory_aware_workers(
    memory_per_task: float, *, n_tasks: int | None = None, reserve_cores: int = 1
) -> int:
    """Workers that can each hold a task of this size at the same time, no more than `get_optimal_workers`.

    What is free on the machine at the moment counts, up to `available_memory`.

    Parameters
    ----------
    memory_per_task : MB (10^6 bytes), > 0
    n_tasks, reserve_cores : of `get_optimal_workers`

    Raises
    ------
    InputError
        A number out of range.
    ClusterError
        Not one task fits: names what it needs and what there is.
    """
    if isinstance(memory_per_task, bool) or not memory_per_task > 0:
        raise InputError("memory_per_task", memory_per_task, "MB of memory, > 0", "For example 500.")
    free = min(psutil.virtual_memory().available, available_memory()) / _MEGA
    fitting = int(free // memory_per_task)
    if not fitting:
        raise ClusterError(
            "memory_per_task",
            memory_per_task,
            f"a task needs {memory_per_task:.0f} MB, and {free:.0f} MB are free",
            "Take smaller tasks, or a machine with more memory.",
        )
    return min(get_optimal_workers(n_tasks, reserve_cores), fitting)


def _own_cgroups(root: Path = _CGROUPS, listed: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Folders of the control groups of this process and of all above them, of either version; none where there are no such groups."""
    try:
        lines = listed.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        for base in (root / name for name in (controllers.split(",") if controllers else ["", "unified"])):
            here = base / inside.lstrip("/")
            while (
                True
            ):  # in a container the group's path may be the host's: what lies above is looked at all the same
                folders.append(here)
                if here == base or base not in here.parents:
                    break
                here = here.parent
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _limits(folders: list[Path]) -> Iterator[int]:
    """Memory limits in bytes: version 2 `memory.max` and `memory.high`, version 1 `memory.limit_in_bytes`."""
    for folder in folders:
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit > 0:
                yield int(limit)


def _quotas(folders: list[Path]) -> Iterator[int]:
    """Whole cores of processor quotas: version 2 `cpu.max`, version 1 `cpu.cfs_quota_us` over `cpu.cfs_period_us`."""
    for folder in folders:
        quota, period = _number(folder / "cpu.max"), _number(folder / "cpu.max", 1)
        if quota is None:
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            yield max(1, int(quota / period))


def _slurm_memory(environment: Mapping[str, str]) -> Iterator[int]:
    """Memory of a SLURM job's step on this node, bytes; SLURM counts in MiB, and 0 means the whole node."""
    per_node = _digits(environment.get("SLURM_MEM_PER_NODE"))
    per_core = _digits(environment.get("SLURM_MEM_PER_CPU"))
    cores = _digits(environment.get("SLURM_CPUS_ON_NODE"))
    if per_node:
        yield per_node * _MEBI
    elif per_core and cores:
        yield per_core * cores * _MEBI


def _slurm_cores(environment: Mapping[str, str]) -> Iterator[int]:
    cores = _digits(environment.get("SLURM_CPUS_PER_TASK")) or _digits(environment.get("SLURM_CPUS_ON_NODE"))
    if cores:
        yield cores


def _digits(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _number(path: Path, place: int = 0) -> float | None:
    """A number of a control group's file; None where there is none, or it says `max`."""
    try:
        return float(path.read_text().split()[place])
    except (OSError, ValueError, IndexError):
        return None
