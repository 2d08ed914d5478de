"""A batch on its way through a cluster: what it asks for, how often it was tried, and what is said when it cannot go on."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tdmx_dask.clusters.capacity import Capacity
from tdmx_dask.errors import ClusterError, FitCancelled, FitError
from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.runner import Done
from tdmx_dask.fitting.task import Batch

__all__ = [
    "Ticket",
    "cancelled",
    "place_in_queue",
    "refuse_too_large",
    "resources",
    "scheduler_lost",
    "slug",
    "workers_died",
]


@dataclass(slots=True, eq=False)
class Ticket:
    """A batch, where it stands, and whom to tell.

    Parameters
    ----------
    name, batch, memory_mb, priority, retries, emit, done : of `Runner.submit`; the memory grows where a child was killed
    digests : path -> sha256 of its executables
    future : of the present try
    tries : of which each has a key of its own
    running : whether the present try has begun and not ended
    lost : workers and children that died under it
    unlucky : times that Dask gave it up though it was not seen to run
    free : tries that were no fault of its own
    placed : whether workers were there when it was sent
    cancelled, over : whether it was cancelled; whether `done` was called
    """

    name: str
    batch: Batch
    digests: Mapping[str, str]
    memory_mb: float
    priority: int
    retries: int
    emit: Emit
    done: Done
    future: Any = None
    tries: int = 0
    running: bool = False
    lost: int = 0
    unlucky: int = 0
    free: int = 0
    placed: bool = False
    cancelled: bool = False
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def resources(ticket: Ticket, capacity: Capacity) -> dict[str, float]:
    """Ask for memory where workers declare it, or where none is there yet; and for cores where they are declared."""
    asked = {}
    if capacity.declared or not capacity.n_workers:
        asked["MEM"] = ticket.memory_mb
    if capacity.most_cores:
        wanted = ticket.batch.parallel * max(task.threads for task in ticket.batch.tasks)
        asked["CPU"] = min(float(wanted), capacity.most_cores)
    return asked


def place_in_queue(ticket: Ticket, number: int) -> float:
    """Dask's priority: that of the fit, then the larger first (by doublings of memory: what is hard to place goes early), then in turn."""
    size = math.floor(math.log2(max(1.0, ticket.memory_mb)))
    return ticket.priority + size / 64 - number * 1e-9


def refuse_too_large(ticket: Ticket, capacity: Capacity) -> None:
    """Raise a ClusterError that names both figures, where no worker can ever hold the batch."""
    if capacity.declared and ticket.memory_mb > capacity.ceiling_mb:
        raise ClusterError(
            "memory_mb",
            f"{ticket.memory_mb:.0f}",
            f"fit {ticket.name} asks for {ticket.memory_mb:.0f} MB, and the largest worker declares "
            f"{capacity.ceiling_mb:.0f} MB for fits",
            "Start fewer workers with more memory each, or ask for fewer draws or parallel chains.",
        )


def cancelled(ticket: Ticket) -> FitCancelled:
    """What `done` is told of a batch that was cancelled."""
    return FitCancelled("fit", ticket.name, "it was cancelled")


def scheduler_lost(ticket: Ticket) -> ClusterError:
    """What `done` is told where the scheduler is gone, or somebody else cancelled the task."""
    return ClusterError(
        "fit",
        ticket.name,
        "the scheduler was lost, or dropped its tasks",
        "Start the cluster again, and ask again.",
    )


def workers_died(ticket: Ticket) -> FitError:
    """What `done` is told of a batch that took its workers down."""
    task = ticket.batch.tasks[0]
    return FitError(
        "fit",
        ticket.name,
        f"its worker died each time it ran (program {task.program.name}, seed {task.seed}, {ticket.memory_mb:.0f} MB asked), "
        "most often for want of memory",
        "Ask for more with memory_mb, or give the workers more.",
    )


def slug(name: str) -> str:
    """Return a name as it can stand in a key."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)[:40] or "fit"
