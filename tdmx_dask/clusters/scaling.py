"""How many workers the work is worth: one rule for batch jobs and for pods. Pure.

As many as end the work in a target time, but never more than its tasks can occupy at once; at least one for work that can run at all, and
none for work that no worker could ever hold (Dask keeps a useless worker for each). Memory counts: of four fits of 1 GB, a worker with 2 GB
holds two at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ASSUMED", "UNKNOWN", "Demand", "Room", "assumed_seconds", "workers_wanted"]

ASSUMED = (("tdmx-fit", 600.0), ("tdmx-job", 60.0))
"""Seconds that a task is taken to last before one of its kind has ended: prefix of its key, s."""
UNKNOWN = 1.0
"""The same of all others."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Tasks that wait or run, of one kind.

    Parameters
    ----------
    tasks : number
    seconds : that each lasts
    memory_mb : `MEM` that each asks for, MB
    cores : `CPU` that each asks for; each takes a thread at least
    """

    tasks: int
    seconds: float
    memory_mb: float = 0.0
    cores: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker holds.

    Parameters
    ----------
    threads : tasks at once
    memory_mb : `MEM`, MB; None where workers declare none
    """

    threads: int
    memory_mb: float | None = None

    def at_once(self, demand: Demand) -> int:
        """Tasks of a kind that a worker can run at once; 0: it can never run one."""
        held = self.threads
        if demand.memory_mb > 0:
            held = min(held, 0 if self.memory_mb is None else int(self.memory_mb // demand.memory_mb))
        if demand.cores > 1:
            held = min(held, int(self.threads // demand.cores))
        return held


def workers_wanted(demands: Iterable[Demand], room: Room, target: float) -> int:
    """Workers that end the work in about `target` seconds.

    Parameters
    ----------
    demands : tasks that wait, run, or are held back by a client
    room : of a worker
    target : s

    Returns
    -------
    0 where nothing can run; else at least 1, and no more than the tasks can occupy at once.
    """
    share, full = 0.0, 0.0
    for demand in demands:
        held = room.at_once(demand)
        if demand.tasks > 0 and held:
            full += demand.tasks / held
            # a task that outlasts the target needs one place all the while, and no more
            share += demand.tasks * min(1.0, demand.seconds / target) / held
    if not full:
        return 0
    return max(1, min(math.ceil(full - 1e-9), math.ceil(share - 1e-9)))


def assumed_seconds(prefix: str) -> float:
    """How long a task of a kind is taken to last before one has ended."""
    return next((seconds for known, seconds in ASSUMED if prefix.startswith(known)), UNKNOWN)
