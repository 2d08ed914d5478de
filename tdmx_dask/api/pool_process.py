"""The process that holds a cluster which runs on: ``python -m tdmx_dask.api.pool_process FOLDER``, begun by `api.pools.start`.

The folder has the record, the profile to start by and what else was asked; see `clusters.pool_record`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from tdmx_dask.clusters.pool_record import (
    FAILED,
    Record,
    error_plain,
    read,
    read_json,
    remove,
    write,
    write_json,
)
from tdmx_dask.errors import ClusterError, StoreError, TdmxError
from tdmx_dask.jobs.clock import identity

__all__ = ["REQUEST", "main", "profile_file"]

REQUEST = "request.json"

_log = logging.getLogger("tdmx_dask.pool")


def profile_file(name: str) -> str:
    """File with the profile: what `tdmx.cluster` is told to start."""
    return f"{name}.yaml"


def main(folder: Path) -> int:
    """Start the cluster, serve it, end it; return the exit status."""
    over = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        _log.info("got %s", signal.Signals(number).name)
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a session that ends
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("tdmx_dask").setLevel(logging.INFO)
    here = str(Path.cwd())
    if (
        here not in sys.path
    ):  # after all other places, as for a script that lies there: its functions may be sent as tasks
        sys.path.append(here)
    record = read(folder)
    if record is None:
        return 1
    try:
        record = replace(record, **asdict(identity()))
        write(folder, record)
        _hold(folder, record, over)
    except Exception as error:
        _log.error("%s failed: %s", record.name, error, exc_info=not isinstance(error, TdmxError))
        with suppress(OSError):
            write_json(folder / FAILED, error_plain(error))
        return 1
    return 0


def _hold(folder: Path, record: Record, over: threading.Event) -> None:
    from tdmx_dask.api.clusters import cluster
    from tdmx_dask.clusters.pool_serve import credentials, serve

    request = read_json(folder / REQUEST) or {}
    with cluster(folder / profile_file(record.name)) as started:
        if request.get("adapt"):
            started.adapt(*request["adapt"])
        if not _is(folder, record):
            raise ClusterError(
                "cluster", record.name, "its record was taken away while it started", "Start it again."
            )
        ca_file, cert, key = credentials(started, folder)
        record = replace(
            record, state="running", address=started.scheduler_address, dashboard=started.dashboard_link,
            ca_file=ca_file, cert=cert, key=key,
        )  # fmt: skip
        write(folder, record)
        _log.info("%s runs: scheduler %s, dashboard %s", record.name, record.address, record.dashboard)
        why = serve(started, over, lambda: _is(folder, record), idle_after=request.get("idle_after"))
        _log.info("%s ends: %s", record.name, why)
        if _is(folder, record):
            write(folder, replace(record, state="ending"))
    _log.info("%s has ended", record.name)
    _let_go_of_log()
    remove(folder.parent, record)


def _is(folder: Path, record: Record) -> bool:
    """Whether the record is still there; a disk that does not answer says nothing."""
    try:
        now = read(folder)
    except StoreError:
        return True
    return now is not None and now.token == record.token


def _let_go_of_log() -> None:
    """A file that is open could not be removed from a network file system."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
