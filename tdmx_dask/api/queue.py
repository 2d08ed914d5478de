"""The queue with this package's kinds of jobs, on this machine or on a cluster, as configured."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from tdmx_dask.api.kinds import BUILT_IN, opened
from tdmx_dask.domain.units import whole
from tdmx_dask.errors import InputError
from tdmx_dask.jobs.executor import Executor
from tdmx_dask.jobs.queue import Queue
from tdmx_dask.jobs.state import State
from tdmx_dask.store.cache import Cache

__all__ = ["JobQueue", "cache_of", "get_job_queue"]


class JobQueue(Queue):
    """A durable queue of jobs: fits, PTA, CFR, optimisation, whole patients, functions over items.

    Jobs live in a folder and are run by whoever has it open: this process, another, or ``tdmx worker``. What is completed stays completed;
    what ran when its process, worker or machine died runs again. Each job is run in processes of its own, here or on a cluster.

    Parameters
    ----------
    max_workers : calls at once; None: as many as there are cores, or threads of the cluster. 0: only submit and watch, as
        ``tdmx worker`` runs the jobs
    cache : folder of answers, so that no equal question is computed twice; None: as configured (``cache/job_results``); False: none
    on : a cluster: of ours, a distributed Client, ``"current"``, an address or a profile's name; None: processes of this machine
    folder : of the queue, on a disk of this machine; None: as configured (``queue``)
    retries : attempts after the first, after a lost worker, a time-out or want of memory
    retry_delay : seconds before the second attempt, doubled for each more
    lease : seconds of silence after which a client has lost its jobs

    Raises
    ------
    InputError
        An option is out of range.
    StoreError
        The folder is on a network file system or cannot be written, or the file is damaged.
    ClusterError
        The cluster does not answer.

    Examples
    --------
    >>> import tempfile, tdmx_dask as tdmx
    >>> folder = tempfile.TemporaryDirectory()
    >>> queue = tdmx.JobQueue(max_workers=1, folder=folder.name, cache=False)
    >>> job = queue.submit("batch_processing", {"function": "math:sqrt", "items": [1, 4, 9]}, priority=10)
    >>> queue.result(job, timeout=60)
    [1.0, 2.0, 3.0]
    >>> queue.close(); folder.cleanup()
    """

    def __init__(
        self,
        max_workers: int | None = None,
        cache: str | PathLike[str] | bool | None = None,
        on: object = None,
        *,
        folder: str | PathLike[str] | None = None,
        retries: int = 2,
        retry_delay: float = 1.0,
        lease: float = 30.0,
    ) -> None:
        from tdmx_dask.config import settings

        if max_workers is not None:
            max_workers = whole("max_workers", max_workers, "the number of calls at once", ge=0)
        self.max_workers = max_workers
        place = Path(settings().queue_folder if folder is None else folder)
        executor, self._cluster = _executor(max_workers, on)
        try:
            super().__init__(
                place, executor=executor, cache=cache_of(cache), kinds=BUILT_IN, retries=retries, retry_delay=retry_delay,
                lease=lease, opened=opened,
            )  # fmt: skip
        except BaseException:
            if self._cluster is not None:
                self._cluster.close()
            raise

    @property
    def busy(self) -> int:
        """Jobs that run here now."""
        return self._dispatcher.busy

    def wait_all(
        self, jobs: Iterable[int] | None = None, timeout: float | None = None, *, progress: bool = False
    ) -> dict[int, State]:
        """Wait until jobs have ended, whichever way; return their states. Arguments and errors are those of `as_completed`.

        Parameters
        ----------
        jobs, timeout : as of `as_completed`
        progress : True for a bar in the terminal or notebook
        """
        if not progress:
            return super().wait_all(jobs, timeout)
        from tdmx_dask.api.board import Board, Item

        asked = self._chosen(jobs)
        states: dict[int, State] = {}
        with Board() as board:
            board.update(Item("ended", 0, len(asked), unit="jobs"))
            for job, state in self._watch.as_ended(asked, timeout):
                states[job] = state
                failed = sum(each == "failed" for each in states.values())
                note = f"{failed} failed" if failed else ""
                board.update(Item("ended", len(states), len(asked), note, "jobs"))
        return states

    def drain(self) -> None:
        """Begin no more jobs here; what runs goes on to its end."""
        self._dispatcher.drain()

    def close(self) -> None:
        """Stop: end the processes of what runs here and give it back; all jobs are kept, for the next who opens the queue."""
        super().close()
        if self._cluster is not None:
            self._cluster.close()


def cache_of(given: str | PathLike[str] | bool | None) -> Cache | None:
    """The cache of a folder; None: as configured; False: none."""
    from tdmx_dask.config import settings

    if given is False:
        return None
    now = settings()
    if given is not None and not isinstance(given, str | PathLike) and given is not True:
        raise InputError("cache", given, "a cache is a folder, or False for none", "Leave it out.")
    folder = now.cache_folder if given is None or given is True else given
    return Cache(folder, max_bytes=now.cache_max_bytes, max_age=now.cache_max_age)


def _executor(max_workers: int | None, on: object) -> tuple[Executor | None, Any]:
    """Where calls run, and the cluster that is to be closed with the queue."""
    if max_workers == 0:
        if on is not None:
            raise InputError("max_workers", 0, "a cluster was given with on=", "Leave one of the two out.")
        return None, None
    if on is None:
        from tdmx_dask.jobs.processes import ProcessExecutor

        return ProcessExecutor(max_workers), None
    from tdmx_dask.api.clusters import join
    from tdmx_dask.jobs.futures import DaskExecutor

    cluster = join(on)
    return DaskExecutor(cluster.client, max_workers=max_workers), None if cluster is on else cluster


_queues: dict[Path, JobQueue] = {}
_lock = threading.Lock()


def get_job_queue(
    max_workers: int | None = None, *, folder: str | PathLike[str] | None = None, **options: Any
) -> JobQueue:
    """The queue of a folder in this process: opened by the first call, the same for all that follow.

    Parameters
    ----------
    max_workers, options : as of `JobQueue`, for the first call
    folder : of the queue; None: as configured

    Raises
    ------
    InputError
        It is open already, and other options are asked for.
    """
    from tdmx_dask.config import settings

    place = Path(settings().queue_folder if folder is None else folder).resolve()
    with _lock:
        queue = _queues.get(place)
        if queue is not None and queue.alive:
            if max_workers not in (None, queue.max_workers) or options:
                rule = f"the queue {place} is open already, with max_workers={queue.max_workers}"
                raise InputError("max_workers", max_workers, rule, "Close it first, or ask without options.")
            return queue
        queue = _queues[place] = JobQueue(max_workers, folder=place, **options)
        return queue
