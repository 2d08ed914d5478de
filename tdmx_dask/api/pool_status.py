"""How a cluster that runs is: its workers, its tasks, its jobs, and what can never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdmx_dask.api.pools import Pool, find, named, pools
from tdmx_dask.errors import ClusterError, InputError

if TYPE_CHECKING:
    from tdmx_dask.clusters.cluster import Cluster
    from tdmx_dask.clusters.engine import BatchJob
    from tdmx_dask.clusters.pool_look import WorkerLook
    from tdmx_dask.clusters.progress import Work

__all__ = ["Status", "enter", "look"]


@dataclass(frozen=True, slots=True)
class Status:
    """A cluster at one moment.

    Parameters
    ----------
    name : of the cluster, or the address by which it was joined
    pool : what is known of it; None where it was joined by its address
    address, dashboard : of its scheduler
    workers : by name
    tasks : state -> number
    work : what runs, and how far it is
    jobs : of the workers
    stuck : lines on what can never run as things are, and why
    trouble : lines on whatever else waits, or is not well
    """

    name: str
    pool: Pool | None
    address: str
    dashboard: str
    workers: tuple[WorkerLook, ...]
    tasks: dict[str, int]
    work: tuple[Work, ...]
    jobs: tuple[BatchJob, ...]
    stuck: tuple[str, ...]
    trouble: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything can run, sooner or later."""
        return not self.stuck


def enter(name: str) -> tuple[Cluster, Pool | None]:
    """Join a cluster by the name with which it was started, or by its address.

    Raises
    ------
    InputError
        No cluster of this name was started.
    ClusterError
        It is gone, or does not answer.
    """
    if "://" in name:
        from tdmx_dask.api.clusters import join

        return join(name), None
    pool = named(name)
    if pool is None:
        known = ", ".join(each.record.name for each in pools())
        fix = f"There are: {known}." if known else "tdmx cluster start PROFILE starts one."
        raise InputError("name", name, "no cluster of this name was started", fix)
    if pool.state == "gone":
        record = pool.record
        rule = f"it is gone: its process (pid {record.pid} on {record.host}) ended, and its workers with it"
        raise ClusterError(
            "cluster", name, rule, f"See {pool.folder / 'log'}; tdmx cluster stop {name} clears it."
        )
    joined = find(name)
    if joined is None:
        raise ClusterError("cluster", name, "it has just ended", "Start it again.")
    return joined, pool


def look(
    joined: Cluster, pool: Pool | None, *, name: str, jobs: tuple[BatchJob, ...] | None = None
) -> Status:
    """Look at a cluster that was joined.

    Parameters
    ----------
    joined, pool : as `enter` returns them
    name : by which it was entered
    jobs : of a while ago; None: ask the batch scheduler

    Raises
    ------
    ClusterError
        It does not answer any more.
    """
    from tdmx_dask.clusters.diagnosis import examine
    from tdmx_dask.clusters.pool_look import task_counts, workers
    from tdmx_dask.clusters.progress import work
    from tdmx_dask.clusters.shape import published

    try:
        jobs = joined.jobs if jobs is None else jobs
        report = examine(joined.client, jobs, published(joined.client))
        return Status(
            name=name, pool=pool, address=joined.scheduler_address, dashboard=joined.dashboard_link,
            workers=workers(joined.client), tasks=task_counts(joined.client), work=work(joined.client), jobs=jobs, stuck=report.stuck,
            trouble=tuple(line for line in report.lines if line not in report.stuck),
        )  # fmt: skip
    except (OSError, TimeoutError) as error:
        now = None if pool is None else named(name)
        if pool is not None and (now is None or now.state == "gone"):
            raise ClusterError(
                "cluster", name, "it has ended meanwhile", "tdmx cluster start starts it again."
            ) from error
        said = str(error).rstrip(".")
        raise ClusterError(
            "cluster", name, f"its scheduler answers no more ({said})", "See its log."
        ) from error
