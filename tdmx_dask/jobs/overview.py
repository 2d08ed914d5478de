"""A queue at one moment, for those who watch it: cheap enough to be asked several times a second."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from tdmx_dask.jobs.claims import READY
from tdmx_dask.jobs.clock import Clock, Identity
from tdmx_dask.jobs.records import Job, count, jobs, read_job
from tdmx_dask.jobs.state import ENDED, State

__all__ = ["Overview", "Worker", "ended_since", "overview", "upcoming", "workers"]


@dataclass(frozen=True, slots=True)
class Worker:
    """A client that works on the queue.

    Parameters
    ----------
    host, pid : of its process
    slots : calls that it runs at once
    running : jobs that it has claimed
    """

    host: str
    pid: int
    slots: int
    running: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A queue at one moment.

    Parameters
    ----------
    at : UTC, s since 1970
    counts : jobs in each state, those that were cleared not counted
    workers : clients that work on it and live
    running : jobs, the oldest first
    upcoming : some that run next, in that order as far as it can be foreseen
    failed : the latest that failed
    """

    at: float
    counts: Mapping[State, int]
    workers: tuple[Worker, ...]
    running: tuple[Job, ...]
    upcoming: tuple[Job, ...]
    failed: tuple[Job, ...]

    @property
    def total(self) -> int:
        """Jobs of all states."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Jobs that have ended, whichever way."""
        return sum(n for state, n in self.counts.items() if state in ENDED)

    @property
    def pending(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.ended

    @property
    def slots(self) -> int:
        """Calls that run at once, of all workers."""
        return sum(each.slots for each in self.workers)


def overview(db: sqlite3.Connection, clock: Clock, *, lease: float, shown: int) -> Overview:
    """What is going on.

    Parameters
    ----------
    db, clock : of the ledger
    lease : seconds of silence after which a client does not count
    shown : at most so many upcoming and so many failed jobs
    """
    return Overview(
        clock.wall(),
        count(db),
        workers(db, clock, lease),
        tuple(jobs(db, states=("running",)))[::-1],
        tuple(read_job(db, job) for job in upcoming(db, shown)),
        tuple(jobs(db, states=("failed",), limit=shown)),
    )


def workers(db: sqlite3.Connection, clock: Clock, lease: float) -> tuple[Worker, ...]:
    """Clients that work on the queue; one that is silent or whose process is gone is left out, though nobody has struck it off yet."""
    rows = db.execute(
        "SELECT host, pid, born, space, boot, beat, slots, (SELECT count(*) FROM jobs INDEXED BY jobs_running "
        "WHERE state = 'running' AND owner = clients.id) FROM clients WHERE slots > 0 ORDER BY host, pid"
    ).fetchall()
    return tuple(
        Worker(host, pid, slots, running)
        for host, pid, born, space, boot, beat, slots, running in rows
        if boot == clock.boot()
        and clock.ticks() - beat <= lease
        and not Identity(host, pid, born, space).gone()
    )


def upcoming(db: sqlite3.Connection, n: int) -> list[int]:
    """Ids of at most `n` jobs that run next, in the order of `claims.next_job`, were they to cost what is estimated."""
    share: dict[str, float] = {}
    served: dict[str, float] = {}
    for name, used, part in db.execute("SELECT name, used_s, share FROM groups WHERE waiting > 0"):
        share[name], served[name] = part, used / part
    found = []
    for job, name, cost in db.execute(
        f"SELECT id, grp, cost FROM jobs INDEXED BY jobs_due WHERE {READY} AND due <= (SELECT seconds FROM served) "
        "ORDER BY due, id LIMIT ?",
        (n,),
    ):
        found.append(int(job))
        served[name] += cost / share[name]
    above: int | None = None
    while len(found) < n:
        limit = "" if above is None else f" AND priority < {above:d}"
        above = db.execute(
            f"SELECT max(priority) FROM jobs INDEXED BY jobs_order WHERE {READY}{limit}"
        ).fetchone()[0]
        if above is None:
            break
        found += _of_priority(db, above, served, share, n=n - len(found), left_out=set(found))
    return found


def _of_priority(
    db: sqlite3.Connection,
    priority: int,
    served: dict[str, float],
    share: Mapping[str, float],
    *,
    n: int,
    left_out: set[int],
) -> list[int]:
    """The next of one priority: each time the longest of the group that was served least, which `served` then counts."""
    waiting = {
        name: db.execute(
            f"SELECT id, cost FROM jobs INDEXED BY jobs_order WHERE {READY} AND priority = ? AND grp = ? ORDER BY cost DESC, id LIMIT ?",
            (priority, name, n + len(left_out)),
        ).fetchall()
        for name in served
    }
    order = [(served[name], name) for name in waiting if waiting[name]]
    heapq.heapify(order)
    found: list[int] = []
    while order and len(found) < n:
        _, name = heapq.heappop(order)
        job, cost = waiting[name].pop(0)
        if job not in left_out:
            found.append(job)
            served[name] += cost / share[name]
        if waiting[name]:
            heapq.heappush(order, (served[name], name))
    return found


def ended_since(db: sqlite3.Connection, at: float) -> tuple[int, float]:
    """Jobs that ended after a time, and when the first of them began (both s since 1970; `at` at the earliest): looks at every job."""
    states = ", ".join(f"'{state}'" for state in sorted(ENDED))
    n, began = db.execute(
        f"SELECT count(*), min(started) FROM jobs WHERE state IN ({states}) AND ended > ?", (at,)
    ).fetchone()
    return int(n), at if began is None else max(at, float(began))
