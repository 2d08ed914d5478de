"""Start a cluster, or join one that runs."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
from types import TracebackType
from typing import Any, Self

import dask.config
from distributed import Client, LocalCluster

from tdmx_dask.clusters.rebalance import install_rebalance
from tdmx_dask.clusters.resources import available_cores, split_share
from tdmx_dask.errors import ClusterError, InputError

__all__ = ["Cluster", "available_cores", "join", "start_local"]

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787

SETTINGS = {"distributed.worker.profile.interval": "100ms"}
"""Dask samples each worker's stack for its profile page, by default a hundred times a second: a share of every core."""


class Cluster:
    """A Dask cluster and a client of it; a context manager that closes what it started.

    Attributes
    ----------
    client : distributed.Client
    n_workers : workers at the moment
    """

    def __init__(self, client: Client, started: Any = None) -> None:
        self.client = client
        self._started = started

    @property
    def n_workers(self) -> int:
        """Workers at the moment."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    @property
    def n_threads(self) -> int:
        """Threads of all workers."""
        return sum(self.client.nthreads().values())

    @property
    def dashboard_link(self) -> str:
        """Address of the Dask dashboard."""
        return str(self.client.dashboard_link)

    def close(self) -> None:
        """Close the client, and the cluster if it was started here."""
        if self._started is not None:
            self.client.close()
            self._started.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<tdmx cluster: {self.n_workers} workers, {self.n_threads} threads, dashboard {self.dashboard_link}>"


def start_local(
    *,
    n_workers: int | None = None,
    threads_per_worker: int = 1,
    memory_limit: str | float = "auto",
    processes: bool = True,
    dashboard_port: int = DASHBOARD_PORT,
) -> Cluster:
    """Start workers on this machine that listen on loopback alone.

    Each declares the resources `MEM` (MB of the processes that run its fits) and `CPU` (its threads).

    Parameters
    ----------
    n_workers : processes; default one a core
    threads_per_worker : threads of each
    memory_limit : bytes a worker, a text such as ``2 GiB``, or ``auto``: its share of the memory that this process may use. Half of it is
        for the arrays of the worker itself, half for the processes that run its fits
    processes : False keeps the workers in this process
    dashboard_port : of the Dask dashboard, on loopback; another where it is taken

    Raises
    ------
    InputError
        A number out of range.
    ClusterError
        The workers do not come up.
    """
    workers = available_cores() if n_workers is None else n_workers
    for name, value in (("n_workers", workers), ("threads_per_worker", threads_per_worker)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(name, value, "a whole number >= 1 is needed", "Leave it out for one a core.")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "cluster",
            "local",
            "a worker process imports the script that started it, and this script starts a cluster when imported",
            'Put what it does under `if __name__ == "__main__":`.',
        )
    share = split_share(memory_limit, threads_per_worker)
    try:
        with dask.config.set(SETTINGS):
            started = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads_per_worker,
                memory_limit=share.arrays,
                resources={"MEM": share.fits_mb, "CPU": threads_per_worker},
                processes=processes,
                host=LOOPBACK,
                protocol="tcp://",
                dashboard_address=f"{LOOPBACK}:{_free_port(dashboard_port)}",
                silence_logs=50,
                **({"preload": "tdmx_dask.clusters.interrupts"} if processes else {}),
            )
        client = Client(started)
        install_rebalance(client)
        return Cluster(client, started)
    except (OSError, RuntimeError, TimeoutError) as error:
        raise ClusterError(
            "cluster",
            "local",
            f"the workers did not start ({error})",
            "Try fewer workers, or processes=False.",
        ) from error


def join(given: object) -> Cluster:
    """A `Cluster` from one of ours, a distributed Client or Cluster, an address, or ``"current"``.

    Raises
    ------
    ClusterError
        There is no current client, or the address does not answer.
    InputError
        None of these.
    """
    if isinstance(given, Cluster):
        return given
    if isinstance(given, Client):
        return Cluster(given)
    if given == "current":
        with contextlib.suppress(ValueError):
            return Cluster(Client.current())
        raise ClusterError("on", given, "there is no current client", "Make a distributed.Client first.")
    if isinstance(given, str) and "://" in given:
        try:
            client = Client(given, timeout="5s")
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                "on", given, f"the scheduler does not answer ({error})", "Check the address."
            ) from error
        return Cluster(client, _Nothing())
    if hasattr(given, "scheduler_address"):
        return Cluster(Client(given), _Nothing())
    raise InputError(
        "on",
        given,
        "a cluster is one of tdmx.cluster(), a distributed.Client, an address such as tcp://host:8786, "
        "'current', or a profile's name",
        "Leave it out to run here.",
    )


class _Nothing:
    """Stands for a cluster that somebody else closes, while the client is ours."""

    def close(self) -> None:
        """Do nothing."""


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            return 0
    return wanted
