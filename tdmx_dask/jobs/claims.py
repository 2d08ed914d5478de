"""Which job is next: overdue ones, then by priority, then the group that was served least, then the longest, then the oldest."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tdmx_dask.jobs.clock import Clock
from tdmx_dask.jobs.moves import move, note

__all__ = ["READY", "Claim", "claim", "next_job", "release_held"]

# INDEXED BY: without it SQLite prefers the index of states, and looks at every job that is queued.
READY = "state = 'queued' AND hold IS NULL"
_FIRST_DUE = f"SELECT id FROM jobs INDEXED BY jobs_due WHERE {READY} AND due <= (SELECT seconds FROM served) ORDER BY due, id LIMIT 1"
_TOP = f"SELECT max(priority) FROM jobs INDEXED BY jobs_order WHERE {READY}"
# A walk over the groups that have a job of this priority, one look into the index each.
_GROUP = f"""
WITH RECURSIVE found (name) AS (
    SELECT min(grp) FROM jobs INDEXED BY jobs_order WHERE {READY} AND priority = :priority
    UNION ALL
    SELECT (SELECT min(grp) FROM jobs INDEXED BY jobs_order WHERE {READY} AND priority = :priority AND grp > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT found.name FROM found JOIN groups USING (name) ORDER BY used_s / share, found.name LIMIT 1
"""
_LONGEST = f"SELECT id FROM jobs WHERE {READY} AND priority = ? AND grp = ? ORDER BY cost DESC, id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a client has taken to run it.

    Parameters
    ----------
    job : its id
    number : of the claim; what is settled under another number does not count
    kind, spec : what to run; the spec is JSON
    digest : address of its answer; None: not cached
    priority, timeout, memory_mb, retries, cost : as asked, or as estimated
    failures : attempts that failed with what may pass
    needs : ids of jobs whose results it takes
    """

    job: int
    number: int
    kind: str
    spec: str
    digest: str | None
    priority: int
    timeout: float | None
    memory_mb: float | None
    retries: int
    cost: float
    failures: int
    needs: tuple[int, ...]


def next_job(db: sqlite3.Connection, above: int | None = None) -> int | None:
    """Id of the job that runs next; None where none may run now.

    Parameters
    ----------
    above : only jobs of a higher priority than this
    """
    priority = db.execute(_TOP).fetchone()[0]
    if priority is None or (above is not None and priority <= above):
        return None
    if above is None:
        overdue = db.execute(_FIRST_DUE).fetchone()
        if overdue is not None:
            return int(overdue[0])
    (group,) = db.execute(_GROUP, {"priority": priority}).fetchone()
    return int(db.execute(_LONGEST, (priority, group)).fetchone()[0])


def claim(db: sqlite3.Connection, client: str, clock: Clock, above: int | None = None) -> Claim | None:
    """Take the next job for a client; jobs that equal one which runs already are made to wait for its answer."""
    while (job := next_job(db, above)) is not None:
        row = _row(db, job)
        if row["digest"] is not None:
            same = db.execute(
                "SELECT id FROM jobs INDEXED BY jobs_same WHERE digest = ? AND state = 'running'",
                (row["digest"],),
            ).fetchone()
            if same is not None:
                db.execute("INSERT OR REPLACE INTO needs VALUES (?, ?, 1)", (job, same[0]))
                note(db, job, clock, f"job {same[0]}, which is equal to it, runs already")
                move(db, job, "follow", clock)
                continue
        return _take(db, client, job, row, clock)
    return None


def _row(db: sqlite3.Connection, job: int) -> Mapping[str, Any]:
    found = db.execute(
        "SELECT kind, spec, digest, priority, timeout, memory_mb, retries, cost, failures, claims, boot, asked, submitted, wait_s "
        "FROM jobs JOIN bodies ON bodies.job = jobs.id WHERE id = ?",
        (job,),
    )
    names = [column[0] for column in found.description]
    return dict(zip(names, found.fetchone(), strict=True))


def _take(db: sqlite3.Connection, client: str, job: int, row: Mapping[str, Any], clock: Clock) -> Claim:
    number = row["claims"] + 1
    wait = row["wait_s"]
    if wait is None:  # by the clock that cannot be set, unless the machine was booted since
        same_boot = row["boot"] == clock.boot()
        wait = clock.ticks() - row["asked"] if same_boot else max(0.0, clock.wall() - row["submitted"])
    began = {"started": clock.wall(), "taken": clock.ticks(), "boot": clock.boot()}
    move(db, job, "claim", clock, owner=client, claims=number, wait_s=wait, **began)
    needs = db.execute(
        "SELECT other FROM needs WHERE job = ? AND follows = 0 ORDER BY other", (job,)
    ).fetchall()
    return Claim(
        job, number, row["kind"], row["spec"], row["digest"], row["priority"], row["timeout"], row["memory_mb"],
        row["retries"], row["cost"], row["failures"], tuple(other for (other,) in needs),
    )  # fmt: skip


def release_held(db: sqlite3.Connection, clock: Clock) -> float | None:
    """Let jobs run whose delay is over; return the seconds until the next one's is, None where none is held.

    A delay that was begun before the machine was booted is over.
    """
    now, boot = clock.ticks(), clock.boot()
    db.execute("UPDATE jobs SET hold = NULL WHERE hold IS NOT NULL AND (hold <= ? OR boot != ?)", (now, boot))
    first = db.execute("SELECT min(hold) FROM jobs WHERE hold IS NOT NULL").fetchone()[0]
    return None if first is None else max(0.0, float(first) - now)
