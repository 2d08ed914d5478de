"""Start workers on this machine, or join a cluster that runs."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import distributed
from dask.utils import parse_timedelta
from distributed import LocalCluster, SpecCluster, Status
from distributed.security import Security

from tdmx_dask.clusters import security
from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob, Engine
from tdmx_dask.clusters.plugins import install
from tdmx_dask.clusters.profile import Address, Local
from tdmx_dask.clusters.resources import available_cores, split_share
from tdmx_dask.clusters.shape import Shape, publish
from tdmx_dask.clusters.versions import refuse_other_versions
from tdmx_dask.errors import ClusterError, InputError
from tdmx_dask.store.scratch import scratch_folder, sweep

__all__ = ["Cluster", "free_port", "join", "join_address", "processes_and_threads", "start_local"]

LOOPBACK = "127.0.0.1"

SETTINGS = {"distributed.worker.profile.interval": "100ms"}
"""Dask samples each worker's stack for its profile page, by default a hundred times a second: a share of every core."""

ANSWER = "5s"
"""In which a scheduler has to answer who joins."""

_ours: dict[str, Security] = {}
"""Credentials of the clusters that this process started, by address, so that it can join them by address alone."""


_GONE = (Status.closing_gracefully, Status.closing, Status.closed, Status.failed)


class _LocalCluster(LocalCluster):
    """Keeps every nanny until it closes by itself.

    Dask closes the nanny of a lost worker if that worker's name is away again at one moment 15 s later, though it may be on its way
    back from a second death; and nothing takes its place.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            self._look_later(self.scheduler_info["workers"][msg]["name"])
        super(SpecCluster, self)._update_worker_status(op, msg)

    def _look_later(self, name: object) -> None:
        later = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        asyncio.get_running_loop().call_later(later, self._look, name)

    def _look(self, name: object) -> None:
        """Let `scale` start another in the place of one that is gone."""
        if name not in self.workers or self.status != Status.running:
            return
        if self.workers[name].status in _GONE:
            self._futures.add(asyncio.ensure_future(self.workers.pop(name).close()))
        elif all(worker["name"] != name for worker in self.scheduler_info["workers"].values()):
            self._look_later(name)


class _LocalEngine:
    """Worker processes of this machine."""

    kind = "local"

    def __init__(self, started: Any, held: contextlib.ExitStack) -> None:
        self._started = started
        self._held = held

    def scale(self, n: int) -> None:
        self._stop_adapting()
        self._started.scale(n)

    def adapt(self, minimum: int, maximum: int) -> None:
        self._started.adapt(minimum=minimum, maximum=maximum)

    def job_script(self) -> str:
        raise ClusterError(
            "job_script",
            "local",
            "workers of a local cluster are no jobs",
            "Ask a cluster of kind slurm, say.",
        )

    def jobs(self) -> tuple[BatchJob, ...]:
        return ()

    def close(self) -> None:
        self._stop_adapting()
        _ours.pop(self._started.scheduler_address, None)
        self._held.close()

    def _stop_adapting(self) -> None:
        adaptive = getattr(self._started, "_adaptive", None)
        if adaptive is not None:
            adaptive.stop()


def start_local(profile: Local, *, name: str = "local") -> Cluster:
    """Start workers on this machine that listen on loopback alone.

    Each declares the resources `MEM` (MB of the processes that run its fits) and `CPU` (its threads).

    Raises
    ------
    ClusterError
        The workers do not come up, or the script that asks for them would start them again and again.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "cluster",
            name,
            "a worker process imports the script that started it, and this script starts a cluster when imported",
            'Put what it does under `if __name__ == "__main__":`.',
        )
    _leave_out_standard_input()
    workers, threads = processes_and_threads(profile, available_cores())
    share = split_share(profile.memory_limit, threads, profile.fits_share)
    tls = security.temporary() if profile.tls and profile.processes else None
    with contextlib.ExitStack() as held:
        folder = profile.local_directory or str(_own_folder(held))
        try:
            with dask.config.set(SETTINGS):
                started = _LocalCluster(
                    n_workers=workers,
                    threads_per_worker=threads,
                    memory_limit=share.arrays,
                    resources={"MEM": share.fits_mb, "CPU": threads},
                    processes=profile.processes,
                    host=LOOPBACK,
                    protocol="tls://" if tls else "tcp://",
                    security=tls,
                    dashboard_address=f"{LOOPBACK}:{free_port(profile.dashboard_port)}",
                    local_directory=folder,
                    silence_logs=50,
                    **({"preload": "tdmx_dask.clusters.interrupts"} if profile.processes else {}),
                )
            held.callback(started.close)
            client = Client(started)
            held.callback(client.close)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(
                "cluster",
                name,
                f"the workers did not start ({error})",
                "Try fewer workers, or processes=False.",
            ) from error
        publish(client, Shape("local", threads, share.fits_mb))
        install(client)
        if tls:
            _ours[started.scheduler_address] = tls
        return Cluster(client, _LocalEngine(started, held.pop_all()), name=name)


def _leave_out_standard_input() -> None:
    """A script that is read from standard input is no file that worker processes could import: have them look for none."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None and not Path(getattr(main, "__file__", None) or ".").exists():
        del main.__file__


def _own_folder(held: contextlib.ExitStack) -> Path:
    sweep()
    return held.enter_context(scratch_folder())


def processes_and_threads(profile: Local, cores: int) -> tuple[int, int]:
    """How many worker processes, and threads of each: what the profile says, else by its work and the cores.

    Kernels: a process a core, for threads of one interpreter get in each other's way (also in a lazy graph, which Dask runs itself). A fit
    runs in a process of its own: one worker for all, whose memory fits share as they need it.
    """
    cores = max(1, cores - profile.reserve_cores)
    workers, threads = profile.n_workers, profile.threads_per_worker
    if workers is None and threads is None:
        workers, threads = (1, cores) if profile.work == "fits" else (cores, 1)
    elif workers is None:
        workers = max(1, cores // (threads or 1))
    elif threads is None:
        threads = max(1, cores // workers)
    return int(workers or 1), int(threads or 1)


def join(given: object) -> Cluster:
    """A `Cluster` from one of ours, a distributed Client or Cluster, an address, or ``"current"``.

    Raises
    ------
    ClusterError
        There is no current client, the address does not answer, is plain beyond loopback, or has other versions of
        the packages that matter.
    InputError
        None of these.
    """
    if isinstance(given, Cluster):
        return given
    if given == "current":
        with contextlib.suppress(ValueError):
            return _joined(distributed.Client.current(), owns_client=False)
        raise ClusterError("on", given, "there is no current client", "Make a distributed.Client first.")
    if isinstance(given, distributed.Client):
        return _joined(given, owns_client=False)
    if isinstance(given, str) and "://" in given:
        return join_address(Address(address=given))
    if hasattr(given, "scheduler_address"):
        return _joined(Client(given), owns_client=True)
    raise InputError(
        "on",
        given,
        "a cluster is one of tdmx.cluster(), a distributed.Client, an address such as tls://host:8786, "
        "'current', a profile's or a started cluster's name",
        "Leave it out to run here.",
    )


def join_address(
    profile: Address,
    *,
    name: str = "",
    tls: Security | None = None,
    engine: Callable[[distributed.Client], Engine] | None = None,
) -> Cluster:
    """Join a scheduler that runs, with given credentials, those of the profile, of this process, or of Dask's configuration.

    `engine` makes what scales it, where the one who started it can be asked.

    Raises
    ------
    ClusterError
        It does not answer, is plain beyond loopback, or has other versions of the packages that matter.
    InputError
        The credentials cannot be read.
    """
    address = profile.address
    security.refuse_plain(address)
    if tls is None and profile.tls_ca_file and profile.tls_cert and profile.tls_key:
        tls = security.from_files(
            security.Credentials(profile.tls_ca_file, profile.tls_cert, profile.tls_key)
        )
    try:
        client = Client(address, timeout=ANSWER, security=tls or _ours.get(address))
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        fix = "Check the address."
        if address.startswith("tls://"):
            fix = "Check the address, and the credentials (tls_ca_file, tls_cert, tls_key, or Dask's distributed.comm.tls)."
        raise ClusterError("on", address, f"the scheduler does not answer ({error})", fix) from error
    return _joined(client, owns_client=True, name=name, engine=engine)


def _joined(
    client: distributed.Client,
    *,
    owns_client: bool,
    name: str = "",
    engine: Callable[[distributed.Client], Engine] | None = None,
) -> Cluster:
    try:
        refuse_other_versions(client)
    except BaseException:
        if owns_client:
            client.close()
        raise
    install(client)
    return Cluster(client, engine and engine(client), name=name, owns_client=owns_client)


def free_port(wanted: int) -> int:
    """The port if it is free on loopback, else 0: any."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            return 0
    return wanted
