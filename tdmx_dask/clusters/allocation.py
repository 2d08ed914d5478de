"""Scheduler, client and workers inside one SLURM allocation: every task of `srun` runs the same command, and finds its part by its number.

Task 0 schedules, task 1 is the client, all others work. Only the client's task goes on; the others serve until it is done, and end the
process. The scheduler ends last: a task that came after it would wait for it in vain. `dask_jobqueue.SLURMRunner` does the same, but
without a nanny (a worker that dies of memory would be lost for good), without TLS files for other nodes, and ends its processes by
interrupting them; so the parts are put together here from distributed's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Scheduler, SchedulerPlugin, Status

from tdmx_dask.clusters import security
from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.plugins import install
from tdmx_dask.clusters.profile import Batch
from tdmx_dask.clusters.resources import available_cores, available_memory
from tdmx_dask.clusters.shape import Shape, publish
from tdmx_dask.clusters.start import LOOPBACK
from tdmx_dask.clusters.worker import Node, plan
from tdmx_dask.clusters.worker import main as work
from tdmx_dask.errors import ClusterError

__all__ = ["Task", "start_in_allocation", "task_of"]

LOOK = 0.1
"""Seconds between two looks for the scheduler's record."""
ALONE = 10.0
"""Seconds without a client after which it counts as dead."""
BACK = 10.0
"""Seconds in which a worker that has died is back."""
OVER = "tdmx-over"
"""Of the event by which the client says that it is done."""
RECORD = "scheduler.json"


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an allocation.

    Parameters
    ----------
    number : 0 schedules, 1 is the client, others work
    tasks : of the step
    step : job and step, the same for all tasks of one `srun`
    """

    number: int
    tasks: int
    step: str


def task_of(environment: Mapping[str, str]) -> Task:
    """Which task this process is, by SLURM's environment.

    Raises
    ------
    ClusterError
        It is none, or there are too few.
    """
    try:
        number, tasks = int(environment["SLURM_PROCID"]), int(environment["SLURM_NTASKS"])
        again = environment.get("SLURM_RESTART_COUNT", "0")  # a job that is requeued keeps its number
        step = f"{environment['SLURM_JOB_ID']}.{environment.get('SLURM_STEP_ID', '0')}.{again}"
    except (KeyError, ValueError) as error:
        raise ClusterError(
            "cluster",
            "batch",
            "this process is no task of a SLURM step",
            "Start it by srun, as deploy/slurm/batch.sh does.",
        ) from error
    if tasks < 3:
        raise ClusterError(
            "cluster",
            "batch",
            f"a scheduler, a client and a worker need 3 tasks, and srun started {tasks}",
            "srun -n 3, or more.",
        )
    return Task(number, tasks, step)


def start_in_allocation(profile: Batch, *, name: str) -> Cluster:
    """Take this task's part in the cluster of its step; returns in the client's task alone.

    Raises
    ------
    ClusterError
        This is no task of a step of at least three, or the others do not come.
    SystemExit
        In all other tasks, when the client is done.
    """
    task = task_of(os.environ)
    folder = Path(profile.shared_folder).expanduser() / f"batch-{task.step}"
    if task.number != 1:
        _quietly()
    if task.number == 0:
        asyncio.run(_schedule(profile, folder, task.tasks - 2))
        raise SystemExit(0)
    record = _wait(folder, profile.start_timeout)
    if task.number == 1:
        return _client(profile, folder, record, task, name)
    raise SystemExit(_work(profile, folder, record, task))


async def _schedule(profile: Batch, folder: Path, workers: int) -> None:
    """Run the scheduler until all is over.

    `workers` : tasks that work
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a step of the same number, long ago
    tls = security.temporary()
    files = security.write(tls, folder)
    where: dict[str, Any] = {"interface": profile.interface} if profile.interface else {}
    try:
        async with Scheduler(
            protocol="tls://", port=0, security=tls, dashboard_address=f"{LOOPBACK}:0", **where
        ) as scheduler:
            record = {
                "address": scheduler.address,
                "ca_file": files.ca_file,
                "cert": files.cert,
                "key": files.key,
            }
            attendance = _Attendance(scheduler, workers, profile.start_timeout)
            beside = folder / f"{RECORD}.new"
            beside.write_text(json.dumps(record), encoding="utf-8")
            beside.rename(folder / RECORD)
            # so SLURM ends a step of which a task has failed: credentials are not left behind
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, attendance.end)
            await attendance.serve()
            shutil.rmtree(folder, ignore_errors=True)  # now all know that it is over
            await attendance.dismiss()
            await scheduler.close(reason="tdmx-over")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Attendance(SchedulerPlugin):
    """Who is there.

    Parameters
    ----------
    scheduler : of the allocation
    workers : tasks that work
    patience : s that tasks may take to come
    """

    name = "tdmx-attendance"

    def __init__(self, scheduler: Scheduler, workers: int, patience: float) -> None:
        self._scheduler, self._workers, self._patience = scheduler, workers, patience
        self._began = time.monotonic()
        self._came: set[object] = set()
        self._over = self._ended = False
        scheduler.add_plugin(self)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """One has come, perhaps again."""
        self._came.add(scheduler.workers[worker].name)

    def log_event(self, topic: str, msg: object) -> None:  # noqa: ARG002
        """The client may have said that it is done."""
        self._over = self._over or topic == OVER

    def end(self) -> None:
        """Wait for nobody any more."""
        self._ended = True

    @property
    def _stopped(self) -> bool:
        """Whether nobody need be waited for: SLURM ends the step, or the client has closed the scheduler itself."""
        return self._ended or self._scheduler.status != Status.running

    async def serve(self) -> None:
        """Return when the client is done, or has died, and nobody else is on the way."""
        alone, patience = self._began, self._patience
        while not (self._over or self._stopped):
            if set(self._scheduler.clients) - {"fire-and-forget"}:
                alone, patience = time.monotonic(), ALONE
            elif time.monotonic() - alone > patience:
                print("tdmx: the client's task is gone; the other tasks end", file=sys.stderr, flush=True)
                break
            await asyncio.sleep(LOOK)
        await self._until(lambda: len(self._came) >= self._workers, self._began + self._patience)
        await self._until(lambda: len(self._scheduler.workers) >= self._workers, time.monotonic() + BACK)

    async def dismiss(self) -> None:
        """Let the workers end by themselves, unless there is somebody else who ends them."""
        if self._over and not self._stopped:
            await self._scheduler.retire_workers(
                workers=list(self._scheduler.workers), close_workers=True, remove=True
            )

    async def _until(self, true: Callable[[], bool], end: float) -> None:
        while not (true() or self._stopped) and time.monotonic() < end:
            await asyncio.sleep(LOOK)


def _wait(folder: Path, seconds: float) -> dict[str, str]:
    """What the scheduler's task says of itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            record: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        except OSError:
            time.sleep(LOOK)
        else:
            return record
    raise ClusterError(
        "cluster", "batch", f"task 0 did not start the scheduler within {seconds:g} s (looked in {folder})",
        "See its output; shared_folder must be seen by all nodes.",
    )  # fmt: skip


def _client(profile: Batch, folder: Path, record: Mapping[str, str], task: Task, name: str) -> Cluster:
    tls = security.from_files(security.Credentials(record["ca_file"], record["cert"], record["key"]))
    connect = partial(Client, record["address"], security=tls, timeout=f"{profile.start_timeout:g}s")
    try:
        try:
            client = connect()
        except ValueError:  # tornado's "IOStream is not idle": a first connection, seen once in some hundred
            client = connect()
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            "cluster", "batch", f"the scheduler of task 0 does not answer ({error})", "See its output."
        ) from error
    mine = plan(
        Node(available_cores(), available_memory()), cores=None, memory=None, fits_share=profile.fits_share
    )
    engine = _Allocation(client, folder)
    try:
        publish(client, Shape("batch", mine.threads, mine.fits_mb, task.tasks - 2))
        install(client)
    except BaseException:
        engine.close()
        raise
    return Cluster(client, engine, name=name, owns_client=False)


def _work(profile: Batch, folder: Path, record: Mapping[str, str], task: Task) -> int:
    line = [
        record["address"],
        "--name", str(task.number),
        "--fits-share", f"{profile.fits_share:g}",
        "--longest-task", f"{profile.longest_task:g}",
        "--death-timeout", f"{profile.start_timeout:g}",
        "--tls-ca-file", record["ca_file"],
        "--tls-cert", record["cert"],
        "--tls-key", record["key"],
        *(["--interface", profile.interface] if profile.interface else []),
        *(["--scratch", profile.local_directory] if profile.local_directory else []),
    ]  # fmt: skip
    try:
        return work(line)
    except RuntimeError as error:  # of a nanny without its worker
        if not (folder / RECORD).exists():
            return 0  # it came when all was over
        raise ClusterError(
            "cluster", "batch", f"the worker of task {task.number} did not start ({error})", "See its output."
        ) from error


def _quietly() -> None:
    """All tasks of a step write to one file: what scheduler and workers say would stand in the midst of the result.

    What fails in a task is raised at the client; distributed's own errors are those of connections that end in no particular order when the
    client is done.
    """
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"  # read by processes that are still to come
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


class _Allocation:
    """The other tasks of this step; their number is fixed."""

    kind = "batch"

    def __init__(self, client: Client, folder: Path) -> None:
        self._client, self._folder = client, folder

    def scale(self, n: int) -> None:
        raise _fixed("scale", n)

    def adapt(self, minimum: int, maximum: int) -> None:
        raise _fixed("adapt", f"{minimum}..{maximum}")

    def job_script(self) -> str:
        raise ClusterError(
            "job_script", "batch", "you wrote the job script yourself", "See deploy/slurm/batch.sh."
        )

    def jobs(self) -> tuple[BatchJob, ...]:
        return ()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a scheduler that is gone need not be told
            self._client.log_event(OVER, {})
            # where a task fails, SLURM kills those that are left
            end = time.monotonic() + BACK
            while (self._folder / RECORD).exists() and time.monotonic() < end:
                time.sleep(LOOK)
        self._client.close()


def _fixed(name: str, value: object) -> ClusterError:
    return ClusterError(
        name, value, "an allocation has as many workers as it was given tasks", "Ask srun for more."
    )
