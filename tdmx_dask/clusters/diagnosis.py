"""Why tasks of a cluster do not run: one plain line for each kind of task that waits, with figures and what helps.

`snapshot` asks the scheduler once; `explain` is pure.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed import Client

from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.shape import Shape

__all__ = ["Group", "Report", "Snapshot", "Worker", "examine", "explain", "snapshot", "snapshot_of"]

SILENT = 15.0
"""Seconds without a heartbeat after which a worker counts as silent; the scheduler gives it up after its `worker-ttl`."""
_NEVER = "will never start"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as the scheduler sees it.

    Parameters
    ----------
    name : of the worker
    status : running, paused, closing_gracefully, …
    threads : of the worker
    total, used : resources such as MEM (MB) and CPU
    running : tasks
    silent : s since its last heartbeat
    memory, limit : bytes; a limit of 0: none
    """

    name: str
    status: str
    threads: int
    total: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    running: int = 0
    silent: float = 0.0
    memory: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks of one kind that wait.

    Parameters
    ----------
    prefix : of their keys
    count : tasks
    needs : resources that each asks for
    places : workers or hosts that it must run on; empty: anywhere
    state : no-worker, or queued (a worker may have it that has not begun)
    """

    prefix: str
    count: int
    needs: Mapping[str, float] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    state: str = "queued"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the scheduler knows at one moment.

    Parameters
    ----------
    workers, waiting : as above
    erred : (prefix, tasks, what the first said)
    """

    workers: tuple[Worker, ...]
    waiting: tuple[Group, ...]
    erred: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What stands in the way.

    Parameters
    ----------
    stuck : lines on what can never run as things are
    lines : all lines, those first
    """

    stuck: tuple[str, ...]
    lines: tuple[str, ...]


def examine(client: Client, jobs: Sequence[BatchJob] = (), shape: Shape | None = None) -> Report:
    """Look at a cluster and say what stands in the way of its tasks.

    Parameters
    ----------
    client : of the cluster
    jobs : of its workers, as the batch scheduler sees them
    shape : of a worker to come
    """
    return explain(snapshot(client), jobs, shape)


def snapshot(client: Client) -> Snapshot:
    """Ask the scheduler, once."""
    return _snapshot(client.run_on_scheduler(_look))


def snapshot_of(scheduler: Any) -> Snapshot:
    """The same, on the scheduler itself."""
    return _snapshot(_look(scheduler))


def _snapshot(said: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        tuple(Worker(**worker) for worker in said["workers"]),
        tuple(Group(**group) for group in said["waiting"]),
        tuple(said["erred"]),
    )


def _look(dask_scheduler: Any) -> dict[str, Any]:
    """On the scheduler: plain values alone, so that they can be sent."""
    now = time.time()
    workers = [
        {
            "name": str(each.name),
            "status": each.status.name,
            "threads": each.nthreads,
            "total": dict(each.resources),
            "used": {
                name: sum((task.resource_restrictions or {}).get(name, 0.0) for task in each.executing)
                for name in each.resources
            },
            "running": len(each.executing),
            "silent": now - each.last_seen if each.last_seen else 0.0,
            "memory": int((each.metrics or {}).get("memory", 0)),
            "limit": int(each.memory_limit or 0),
        }
        for each in dask_scheduler.workers.values()
    ]
    groups: dict[Any, int] = {}
    erred: dict[str, list[Any]] = {}
    for task in dask_scheduler.tasks.values():
        prefix = task.prefix.name if task.prefix is not None else str(task.key)
        if task.state == "erred":
            erred.setdefault(prefix, []).append(task)
        waits = task.state in ("no-worker", "queued")
        if waits or (task.state == "processing" and task not in task.processing_on.executing):
            needs = tuple(sorted((task.resource_restrictions or {}).items()))
            places = tuple(sorted({*(task.worker_restrictions or ()), *(task.host_restrictions or ())}))
            group = (prefix, needs, places, "no-worker" if task.state == "no-worker" else "queued")
            groups[group] = groups.get(group, 0) + 1
    waiting = [
        {"prefix": prefix, "count": count, "needs": dict(needs), "places": places, "state": state}
        for (prefix, needs, places, state), count in groups.items()
    ]
    first = {prefix: tasks[0].exception_text for prefix, tasks in erred.items()}
    return {
        "workers": workers,
        "waiting": waiting,
        "erred": [(prefix, len(tasks), str(first[prefix])[:200]) for prefix, tasks in erred.items()],
    }


def explain(seen: Snapshot, jobs: Sequence[BatchJob] | None = (), shape: Shape | None = None) -> Report:
    """Say of each kind of waiting task why it waits, of each worker and job what is wrong with it.

    `jobs` : of its workers; None where nobody here knows whether there are any
    """
    stuck: list[str] = []
    others: list[str] = []
    alike: Counter[tuple[str, str, bool]] = Counter()
    for group in seen.waiting:
        alike[group.prefix, *_why(group, seen.workers, jobs, shape)] += group.count
    for (prefix, why, never), count in alike.items():
        (stuck if never else others).append(f"{_tasks(count, prefix)}{why}")
    for worker in seen.workers:
        others += _of_worker(worker)
    for job in jobs or ():
        if _NEVER in job.reason:
            stuck.append(f"job {job.id} {_NEVER}: {job.reason}. Scale down, and start with another profile")
        elif job.state == "gone" and job.reason:
            others.append(f"job {job.id or 'not submitted'}: {job.reason}")
    for prefix, count, said in seen.erred:
        others.append(f"{_tasks(count, prefix)} failed: {' '.join(said.split())}")
    return Report(tuple(stuck), (*stuck, *others))


def _tasks(count: int, prefix: str) -> str:
    return f"{count} task{'s' if count > 1 else ''} {prefix}"


def _why(
    group: Group, workers: Sequence[Worker], jobs: Sequence[BatchJob] | None, shape: Shape | None
) -> tuple[str, bool]:
    """What a line says of a group of tasks behind their name, and whether they can never run."""
    beyond = _beyond(group, workers, shape)
    if beyond:
        return f" can never run: {beyond}", True
    if group.places:
        names = ", ".join(group.places)
        if group.state == "no-worker":
            return f" can never run: restricted to {names}, which is not here", True
        return f": restricted to {names}, which is busy", False
    if not workers:
        return f": no worker is here; {_coming(jobs)}", False
    if all(worker.status == "paused" for worker in workers):
        return (
            ": all workers are paused, for their memory is full. More memory, or smaller tasks (chunk_size)",
            False,
        )
    if all(worker.status != "running" for worker in workers):
        return f": all workers are leaving; {_coming(jobs)}", False
    can = [worker for worker in workers if _holds(worker.total, group.needs)]
    if not can:
        return f": they need a worker that is still to come; {_coming(jobs)}", False
    taken = [
        f"{name} {sum(worker.used.get(name, 0.0) for worker in can):.0f} of {sum(worker.total.get(name, 0.0) for worker in can):.0f}"
        + (" MB" if name == "MEM" else "")
        for name in group.needs
    ]
    room = "; ".join(taken) + " is taken" if taken else "all threads are taken"
    return f": they wait their turn, {room}", False


def _holds(total: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(total.get(name, 0.0) >= need for name, need in needs.items())


def _beyond(group: Group, workers: Sequence[Worker], shape: Shape | None) -> str:
    """What no worker has, here or to come; empty where one could run them, or where nothing is known of those to come."""
    if any(_holds(worker.total, group.needs) for worker in workers):
        return ""
    if not workers and shape is None:
        return ""
    to_come = {"MEM": shape.memory_mb, "CPU": float(shape.threads)} if shape is not None else {}
    if shape is not None and _holds(to_come, group.needs):
        return ""
    parts = []
    for name, need in group.needs.items():
        most = max([worker.total.get(name, 0.0) for worker in workers] + [to_come.get(name, 0.0)])
        if most < need:
            unit = " MB" if name == "MEM" else ""
            parts.append(f"each asks for {name}={need:g}{unit}, and no worker has more than {most:g}{unit}")
    return "; ".join(parts) + ". Workers with more (memory, cores), or smaller tasks" if parts else ""


def _coming(jobs: Sequence[BatchJob] | None) -> str:
    if jobs is None:
        return "tdmx cluster status says whether any is on the way"
    waiting = [job for job in jobs if job.state == "waiting"]
    if waiting:
        reasons = ", ".join(sorted({job.reason for job in waiting if job.reason}))
        return f"jobs wait in the queue: {len(waiting)}" + (f" ({reasons})" if reasons else "")
    if any(job.state == "running" for job in jobs):
        return "jobs have started, and their workers are on the way"
    return "none is on the way. tdmx cluster scale, or cluster.adapt"


def _of_worker(worker: Worker) -> list[str]:
    lines = []
    if worker.silent > SILENT:
        lines.append(
            f"worker {worker.name} has been silent for {worker.silent:.0f} s; what it runs is given to others when it is given up"
        )
    if worker.status == "paused":
        lines.append(
            f"worker {worker.name} is paused: its memory, {worker.memory / 1e6:.0f} of {worker.limit / 1e6:.0f} MB, is nearly full"
        )
    if worker.status == "closing_gracefully":
        lines.append(f"worker {worker.name} begins nothing more and leaves when what it runs has ended")
    return lines
