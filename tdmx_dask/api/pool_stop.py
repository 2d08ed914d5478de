"""End a cluster that runs on, wherever its process is, and whether it answers or not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from tdmx_dask.api.pools import Pool, named
from tdmx_dask.clusters.pool_record import FAILED, Record, check_name, last_log, read, read_json, remove
from tdmx_dask.errors import ClusterError
from tdmx_dask.jobs.clock import Identity, identity

__all__ = ["stop"]

_LOOK = 0.05
_ENDS = 90.0
"""Seconds in which a cluster that was asked to end has to be gone: its jobs are cancelled meanwhile."""

_FORCED = 10.0
"""Seconds that a process has to end by itself before it is killed."""

_ORPHANS = "jobs of a batch scheduler end by themselves when they miss it"


def stop(name: str, *, force: bool = False) -> str:
    """End a cluster with its workers, jobs, process and record; return what was done, as a line. One that is gone is no error.

    Parameters
    ----------
    name : of the cluster
    force : kill its process where it does not end, and forget it where it cannot be reached

    Raises
    ------
    InputError
        It is no name.
    ClusterError
        It does not end, or cannot be reached.
    """
    pool = named(check_name(name))
    if pool is None:
        return f"no cluster {name} runs"
    record, pools = pool.record, pool.folder.parent
    if pool.state == "gone":
        remove(pools, record)
        return f"cluster {name} was gone already: its process had ended; what was left of it was cleared"
    if record.space == identity().space:
        return _stop_here(pool, force=force)
    if force:
        remove(pools, record)
        return (
            f"cluster {name} was forgotten; if it lives on {record.host}, it ends when it misses its record"
        )
    return _stop_there(pool)


def _stop_here(pool: Pool, *, force: bool) -> str:
    """End the process on this machine."""
    record, name = pool.record, pool.record.name
    process = Identity(record.host, record.pid, record.born, record.space)
    children = _children(process)
    _send(process, signal.SIGTERM)
    killed = False
    if not _until(process.gone, _FORCED if force else _ENDS):
        if not force:
            raise _remains(pool)
        _send(process, signal.SIGKILL)
        killed = True
        if not _until(process.gone, _FORCED):
            raise _remains(pool)
    if not _until(lambda: not any(_lives(child) for child in children), _FORCED):
        for child in filter(_lives, children):
            with suppress(psutil.Error):
                child.kill()
    failed = read_json(pool.folder / FAILED)
    left = remove(pool.folder.parent, record)
    if killed:
        return f"cluster {name} did not end by itself, and its process was killed; {_ORPHANS}"
    if left and failed is not None:
        log = last_log(pool.folder.parent, name)
        return f"cluster {name} has ended, though not cleanly: {failed.get('rule')}; {_ORPHANS}; its log is {log}"
    return f"cluster {name} has ended"


def _stop_there(pool: Pool) -> str:
    """Ask the process on another host to end."""
    from tdmx_dask.api.pools import find
    from tdmx_dask.clusters.pool import PoolEngine

    name = pool.record.name
    joined = find(name)
    if joined is not None:
        with joined:
            assert isinstance(joined.engine, PoolEngine)  # noqa: S101
            joined.engine.stop()
        if not _until(lambda: _is_gone(pool), _ENDS):
            raise _remains(pool)
    return f"cluster {name} has ended"


def _is_gone(pool: Pool) -> bool:
    now: Record | None = read(pool.folder)
    return now is None or now.token != pool.record.token


def _remains(pool: Pool) -> ClusterError:
    name = pool.record.name
    rule = f"it was asked to end, and has not within {_ENDS:g} s"
    return ClusterError(
        "cluster", name, rule, f"See {pool.folder / 'log'}, or try tdmx cluster stop {name} --force."
    )


def _children(process: Identity) -> list[psutil.Process]:
    """Its processes on this machine: they end with it, or are ended after it."""
    try:
        found = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []
    return [] if process.gone() else found


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _send(process: Identity, number: int) -> None:
    if not process.gone():
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether it came about in time."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK)
    return True
