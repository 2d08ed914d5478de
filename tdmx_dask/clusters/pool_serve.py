"""The life of a cluster in the process that holds it: answer, look whether anybody needs it, end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdmx_dask.clusters import security
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.pool import Desk
from tdmx_dask.errors import InputError

__all__ = ["credentials", "serve"]

LOOK = 5.0
"""Seconds between two looks at whether the record is there and anybody needs the cluster."""

LOST = 3
"""Looks in a row at which the record must be gone: a network file system may lose sight of it for a moment."""

_log = logging.getLogger(__name__)


def credentials(cluster: Cluster, folder: Path) -> tuple[str, str, str]:
    """Names of the PEM files with which the cluster is joined, below the folder or absolute: ca_file, cert, key.

    Raises
    ------
    InputError
        The cluster speaks no TLS: everybody on this host could run code in it.
    StoreError
        They cannot be written.
    """
    own: Any = cluster.client.security
    said = [
        str(getattr(own, name, None) or "") for name in ("tls_ca_file", "tls_client_cert", "tls_client_key")
    ]
    if not all(said):
        rule = "a cluster that runs on speaks TLS: others on this host could run code as you"
        raise InputError("tls", False, rule, "Leave tls and processes out.")
    if all("\n" in each for each in said):
        files = security.write(own, folder)
        return Path(files.ca_file).name, Path(files.cert).name, Path(files.key).name
    ca_file, cert, key = (str(Path(each).expanduser().absolute()) for each in said)
    return ca_file, cert, key


def serve(
    cluster: Cluster, over: threading.Event, here: Callable[[], bool], *, idle_after: float | None
) -> str:
    """Answer until the cluster is to end; return why.

    Parameters
    ----------
    cluster : that this process started
    over : set by a signal
    here : whether the record is still there
    idle_after : s without tasks and clients, after which it ends; None: never
    """
    asked = threading.Event()

    def stop() -> None:
        asked.set()
        over.set()

    desk = Desk(cluster, stop)
    pause = LOOK if idle_after is None else min(LOOK, idle_after / 4)
    busy, lost = time.monotonic(), 0
    try:
        while not over.wait(pause):
            if cluster.client.status == "closed":  # it tries to connect again for a while before
                return "its scheduler is lost"
            lost = 0 if here() else lost + 1
            if lost >= LOST:
                return "its record was taken away"
            if idle_after is None:
                continue
            if _is_needed(cluster):
                busy = time.monotonic()
            elif time.monotonic() - busy > idle_after:
                return f"nobody used it for {idle_after:g} s"
    finally:
        desk.close()
    return "it was asked to end" if asked.is_set() else "its process was told to end"


def _is_needed(cluster: Cluster) -> bool:
    """Whether there are tasks, or other clients than this process's."""
    try:
        tasks, clients = cluster.client.run_on_scheduler(_use)
    except Exception:  # a scheduler too busy to answer is needed; a lost one shows in the client's status
        _log.info("the scheduler did not say whether it is used", exc_info=True)
        return True
    return tasks > 0 or bool(set(clients) - {cluster.client.id})


def _use(dask_scheduler: Any) -> tuple[int, list[str]]:
    """Tasks and clients; runs on the scheduler. Dask counts ``fire-and-forget`` as a client."""
    return len(dask_scheduler.tasks), [name for name in dask_scheduler.clients if name != "fire-and-forget"]
