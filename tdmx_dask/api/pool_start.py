"""Begin a cluster that runs on in a process of its own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.pools import Pool, folder_of_pools, named, note
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    from tdmx_dask.clusters.profile import Profile

__all__ = ["script", "start"]

_LOOK = 0.05
_LONG = 5.0
"""Seconds after which it is worth saying that it still starts."""

_ENDS = 60.0
"""Seconds that a process has to end what it has begun, where it was interrupted."""


def start(
    profile: str | Path,
    options: Mapping[str, Any],
    *,
    name: str | None = None,
    jobs: int | None = None,
    adapt: tuple[int, int] | None = None,
    idle_after: float | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Pool:
    """Start a cluster in a process of its own that outlives this one; wait for its scheduler, not for workers.

    Parameters
    ----------
    profile : as of `tdmx.cluster`
    options : replace those of the profile
    name : by which it is joined; None: the profile's
    jobs : workers (jobs, pods) to begin with; None: as the profile says
    adapt : the least and the largest number of workers, where the number follows the work
    idle_after : s without tasks and clients, after which it ends by itself; None: never
    tell : called with what is worth saying meanwhile

    Raises
    ------
    InputError
        There is no such profile or option, the name is taken or none, or a cluster of this kind cannot run on.
    ClusterError
        It does not start.
    """
    from tdmx_dask.api.clusters import resolve
    from tdmx_dask.clusters.pool_record import check_name
    from tdmx_dask.clusters.profile import Local
    from tdmx_dask.config import settings

    if jobs is not None and adapt is not None:
        raise InputError("jobs", jobs, "a range was given with adapt, too", "Leave one of the two out.")
    given, kind, _ = resolve(profile, options)
    if kind in ("address", "batch"):
        rule = "a cluster of this kind is not started here, or lives inside one allocation"
        raise InputError("profile", given, rule, "Name a profile of another kind.")
    asked, adapt = _amount(kind, jobs, adapt)
    _, _, checked = resolve(profile, {**options, **asked})
    name = check_name(given if name is None else name)
    if name != given and name in settings().clusters:
        raise InputError("name", name, "it is a profile's name", "Choose another.")
    if isinstance(checked, Local) and not (checked.tls and checked.processes):
        rule = "a cluster that runs on is made of processes that speak TLS: others on this host could run code as you"
        raise InputError("profile", given, rule, "Leave tls and processes out.")
    return _await(*_begin(name, given, kind, checked, {"adapt": adapt, "idle_after": idle_after}), tell)


def _amount(
    kind: str, jobs: int | None, adapt: tuple[int, int] | None
) -> tuple[dict[str, int], tuple[int, int] | None]:
    """How many workers, as options of the profile; and the range where there are no such options."""
    if jobs is not None:
        return {"n_workers" if kind in ("local", "kubernetes") else "jobs": jobs}, None
    if adapt is None or kind == "local":
        return {}, adapt
    least, most = ("minimum", "maximum") if kind == "kubernetes" else ("minimum_jobs", "maximum_jobs")
    return {least: adapt[0], most: adapt[1]}, None


def _begin(
    name: str, profile: str, kind: str, checked: Profile, request: Mapping[str, Any]
) -> tuple[Pool, subprocess.Popen[bytes]]:
    """Claim the name, and begin the process.

    Raises
    ------
    InputError
        The name is taken.
    """
    from tdmx_dask.api.pool_process import REQUEST, profile_file
    from tdmx_dask.clusters.pool_record import LOG, Record, claim, remove, turn
    from tdmx_dask.jobs.clock import identity

    record = Record(
        name=name, token=secrets.token_hex(8), state="starting", profile=profile, kind=kind, started=time.time(),
        **asdict(identity()),
    )  # fmt: skip
    folder = folder_of_pools()
    more = {REQUEST: request, profile_file(name): {"kind": kind, **asdict(checked)}}
    while True:
        with turn(folder, name):
            there = named(name)
            if there is None:
                place = claim(folder, record, more)
                break
        if there.state not in ("gone", "silent"):
            raise _taken(there)
        remove(folder, there.record)
        note(f"cluster {name} of {there.record.host} is gone; what was left of it was cleared")
    log = os.open(place / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        command = [sys.executable, "-P", "-m", "tdmx_dask.api.pool_process", str(place)]
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    except BaseException:
        remove(folder, record)
        raise
    finally:
        os.close(log)
    return Pool(record, "starting"), process


def _taken(pool: Pool) -> InputError:
    record = pool.record
    rule = {
        "starting": f"a cluster of this name is being started on {record.host}",
        "ending": f"a cluster of this name is ending on {record.host}",
    }.get(pool.state, f"a cluster of this name runs on {record.host}, pid {record.pid}")
    fix = f"Use it with --on {record.name}, end it with tdmx cluster stop {record.name}, or choose another with --name."
    return InputError("name", record.name, rule, fix)


def _await(pool: Pool, process: subprocess.Popen[bytes], tell: Callable[[str], None]) -> Pool:
    """Wait until the process that was just begun has its scheduler; end it where this one is interrupted."""
    from tdmx_dask.clusters.pool_record import FAILED, error_of, last_log, read, read_json, remove

    record = pool.record
    folder, began, told = pool.folder, time.monotonic(), False
    try:
        while process.poll() is None:
            now = read(folder)
            if now is not None and now.token == record.token and now.state == "running":
                process.returncode = (
                    0  # it is on its own: this process waits for it no more, and need not warn of it
                )
                return Pool(now, "running")
            if not told and time.monotonic() - began > _LONG:
                told = True
                tell(f"still starting; its log: {folder / 'log'}")
            time.sleep(_LOOK)
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS)
        process.kill()
        remove(folder.parent, record)
        raise
    said = read_json(folder / FAILED) or {"rule": f"its process ended with {process.returncode}"}
    remove(folder.parent, record)
    raise error_of(said, value=record.name, fix=f"The log is {last_log(folder.parent, record.name)}.")


def script(profile: str | Path, options: Mapping[str, Any]) -> str:
    """What would be submitted for a worker, without starting or submitting anything: a job script, or manifests.

    Raises
    ------
    InputError
        There is no such profile or option, or its workers are no jobs.
    """
    from tdmx_dask.api.clusters import resolve
    from tdmx_dask.clusters.profile import Jobs, Kubernetes

    name, kind, checked = resolve(profile, options)
    if isinstance(checked, Jobs):
        from tdmx_dask.clusters import jobqueue

        return jobqueue.script(kind, checked)
    if isinstance(checked, Kubernetes):
        import yaml

        from tdmx_dask.clusters import manifest

        return yaml.safe_dump_all(manifest.objects(checked), sort_keys=False)
    rule = f"workers of kind {kind} are no jobs, and have no script"
    raise InputError("profile", name, rule, "Name a profile of a batch scheduler, or kubernetes.")
