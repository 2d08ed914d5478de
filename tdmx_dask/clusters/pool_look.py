"""What a cluster's scheduler says of its workers and tasks at one moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from distributed import Client

from tdmx_dask.clusters.identity import workers as known

__all__ = ["WorkerLook", "task_counts", "workers"]


@dataclass(frozen=True, slots=True)
class WorkerLook:
    """A worker.

    Parameters
    ----------
    name, host : as the scheduler knows them
    threads : tasks that it runs at once
    cpu : cores that it uses, without the processes of its fits
    memory, memory_limit : bytes in use and at most, without the processes of its fits; a limit of 0: none
    fits_mb : `MEM` for the processes of its fits, MB; None where it declares none
    running : tasks
    """

    name: str
    host: str
    threads: int
    cpu: float
    memory: int
    memory_limit: int
    fits_mb: float | None
    running: int


def workers(client: Client) -> tuple[WorkerLook, ...]:
    """Workers by name."""
    found = []
    for said in known(client).values():
        metrics = said.get("metrics") or {}
        look = WorkerLook(
            name=str(said.get("name", "")),
            host=str(said.get("host", "")),
            threads=int(said["nthreads"]),
            cpu=float(metrics.get("cpu", 0.0)) / 100,
            memory=int(metrics.get("memory", 0)),
            memory_limit=int(said.get("memory_limit") or 0),
            fits_mb=(said.get("resources") or {}).get("MEM"),
            running=int((metrics.get("task_counts") or {}).get("executing", 0)),
        )
        found.append(look)
    return tuple(sorted(found, key=lambda each: (len(each.name), each.name)))


def task_counts(client: Client) -> dict[str, int]:
    """Tasks that run, that are ready for a worker, that wait for others, that no worker takes, and whose results are held."""
    return dict(client.run_on_scheduler(_count))


def _count(dask_scheduler: Any) -> dict[str, int]:
    states = Counter(task.state for task in dask_scheduler.tasks.values())
    running = sum(len(worker.executing) for worker in dask_scheduler.workers.values())
    return {
        "running": running,
        "ready": max(0, states["processing"] - running) + states["queued"],
        "waiting": states["waiting"],
        "without a worker": states["no-worker"],
        "failed": states["erred"],
        "in memory": states["memory"],
    }
