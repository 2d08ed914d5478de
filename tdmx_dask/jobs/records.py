"""Reading the ledger: jobs, their logs, and figures over all of them."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tdmx_dask.errors import InputError
from tdmx_dask.jobs.failure import error_from
from tdmx_dask.jobs.state import ENDED, STATES, State

__all__ = [
    "Job",
    "LogLine",
    "QueueStats",
    "checked_id",
    "count",
    "ended_among",
    "jobs",
    "log_of",
    "read_job",
    "stats",
]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the ledger has it at one moment.

    Parameters
    ----------
    id, kind, title, group, priority, state : what it is, and where it stands
    submitted, started, ended : UTC; None where that has not been
    wait_s, run_s : seconds before its first attempt, and of all its attempts on workers; None where not known yet
    attempts : that were begun
    retries : more attempts after failures that may pass
    timeout : seconds an attempt may run; None: any
    cost : seconds that it was estimated to take
    after : ids of jobs that must succeed first
    worker : where it runs now
    progress : (done, total) of what runs; None where it does not say
    error : what went wrong, one line
    failure : the same as `failure.error_message` writes an exception; None where none was raised
    """

    id: int
    kind: str
    title: str
    group: str
    priority: int
    state: State
    submitted: datetime
    started: datetime | None
    ended: datetime | None
    wait_s: float | None
    run_s: float | None
    attempts: int
    retries: int
    timeout: float | None
    cost: float
    after: tuple[int, ...]
    worker: str | None
    progress: tuple[int, int] | None
    error: str | None
    failure: Mapping[str, Any] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, whichever way."""
        return self.state in ENDED

    def __str__(self) -> str:
        return f"job {self.id} {self.kind} ({self.title}): {self.state}"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log.

    Parameters
    ----------
    at : UTC
    attempt : 0 before the first
    text : what happened
    """

    at: datetime
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, as the history keeps it.

    Parameters
    ----------
    id, kind, group, priority, state : what it was, and how it ended
    ended : UTC
    wait_s, run_s : seconds before its first attempt, and of all attempts; None where it never ran
    attempts : that were begun
    """

    id: int
    kind: str
    group: str
    priority: int
    state: State
    ended: datetime
    wait_s: float | None
    run_s: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Figures over all jobs that the queue has had, those cleared since included.

    Parameters
    ----------
    waiting, queued, running, completed, cached, failed, cancelled : jobs in each state
    attempts : that were begun
    mean_wait_s, mean_run_s : seconds, of those that ran; NaN where none did
    clients : that work on it now
    """

    waiting: int
    queued: int
    running: int
    completed: int
    cached: int
    failed: int
    cancelled: int
    attempts: int
    mean_wait_s: float
    mean_run_s: float
    clients: int

    @property
    def total(self) -> int:
        """Jobs of all states."""
        return self.waiting + self.queued + self.running + self.ended

    @property
    def ended(self) -> int:
        """Jobs that have ended, whichever way."""
        return self.completed + self.cached + self.failed + self.cancelled

    @property
    def pending(self) -> int:
        """Jobs that have not ended."""
        return self.waiting + self.queued + self.running

    @property
    def cache_hits(self) -> int:
        """Jobs that were answered without running."""
        return self.cached

    @property
    def hit_rate(self) -> float:
        """Share of the answers that came from the cache; NaN where there is none."""
        answered = self.completed + self.cached
        return self.cached / answered if answered else math.nan


_COLUMNS = (
    "id, kind, title, grp, priority, state, submitted, started, ended, wait_s, run_s, claims, retries, timeout, cost, worker, done, "
    "total, error, (SELECT group_concat(other) FROM needs WHERE needs.job = jobs.id AND follows = 0)"
)


def checked_id(job: int, name: str = "job") -> int:
    """Refuse what cannot be the id of a job.

    Raises
    ------
    InputError
        It is not a whole number from 1 on that the file can hold.
    """
    if type(job) is not int or not 0 < job < 2**63:
        rule = "the id of a job is a whole number from 1 on"
        raise InputError(name, repr(job), rule, "`tdmx queue list` shows those there are.")
    return job


def read_job(db: sqlite3.Connection, job: int) -> Job:
    """One job.

    Raises
    ------
    InputError
        There is no such job.
    """
    row = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (checked_id(job),)).fetchone()
    if row is None:
        raise InputError(
            "job", job, "there is no such job in this queue", "`tdmx queue list` shows those there are."
        )
    return _job(row)


def jobs(
    db: sqlite3.Connection,
    *,
    states: Sequence[State] | None = None,
    kind: str | None = None,
    group: str | None = None,
    limit: int | None = None,
) -> list[Job]:
    """Jobs, the latest first, of the states, kind and group that are asked for."""
    wanted = STATES if states is None else tuple(states)
    marks = ", ".join("?" * len(wanted))
    where, values = [f"state IN ({marks})"], list[object](wanted)
    for column, value in (("kind", kind), ("grp", group)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    values.append(-1 if limit is None else limit)
    sql = f"SELECT {_COLUMNS} FROM jobs WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
    return [_job(row) for row in db.execute(sql, values)]


def log_of(db: sqlite3.Connection, job: int) -> list[LogLine]:
    """The log of a job, in order."""
    rows = db.execute("SELECT at, attempt, text FROM log WHERE job = ? ORDER BY rowid", (job,))
    return [LogLine(datetime.fromtimestamp(at, UTC), attempt, text) for at, attempt, text in rows]


def count(db: sqlite3.Connection) -> dict[State, int]:
    """Jobs in each state, those that were cleared not counted."""
    found: dict[State, int] = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
    return {state: found.get(state, 0) for state in STATES}


def ended_among(db: sqlite3.Connection, wanted: Iterable[int]) -> dict[int, State]:
    """Those of some jobs that have ended, and how; one that was cleared counts as cancelled."""
    ids = [checked_id(job) for job in wanted]
    rows = db.execute(
        "SELECT id, state FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
    ).fetchall()
    states: dict[int, State] = dict(rows)
    return {job: state for job in ids if (state := states.get(job, "cancelled")) in ENDED}


def stats(db: sqlite3.Connection) -> QueueStats:
    """Figures over all jobs, those of the history included."""
    everything = "SELECT state, claims, wait_s, run_s FROM jobs UNION ALL SELECT state, attempts, wait_s, run_s FROM history"
    counts = dict.fromkeys(STATES, 0) | dict(
        db.execute(f"SELECT state, count(*) FROM ({everything}) GROUP BY state").fetchall()
    )
    (attempts,) = db.execute(f"SELECT total(claims) FROM ({everything})").fetchone()
    wait, run = db.execute(
        f"SELECT avg(wait_s), avg(run_s) FROM ({everything}) WHERE claims > 0 AND run_s IS NOT NULL AND state != 'running'"
    ).fetchone()
    (clients,) = db.execute("SELECT count(*) FROM clients WHERE slots > 0").fetchone()
    return QueueStats(
        **counts,
        attempts=int(attempts),
        mean_wait_s=math.nan if wait is None else wait,
        mean_run_s=math.nan if run is None else run,
        clients=clients,
    )


def history(db: sqlite3.Connection) -> list[Ended]:
    """All jobs that have ended, those cleared since included, in the order in which they did."""
    rows = db.execute(
        "SELECT id, kind, grp, priority, state, ended, wait_s, run_s, claims FROM jobs "
        "WHERE state IN ('completed', 'cached', 'failed', 'cancelled') UNION ALL SELECT * FROM history ORDER BY ended, id"
    )
    return [
        Ended(job, kind, group, priority, state, datetime.fromtimestamp(ended, UTC), wait_s, run_s, attempts)
        for job, kind, group, priority, state, ended, wait_s, run_s, attempts in rows
    ]


def _job(row: Sequence[Any]) -> Job:
    (
        job, kind, title, group, priority, state, submitted, started, ended, wait_s, run_s, claims, retries, timeout, cost, worker, done,
        total, error, after,
    ) = row  # fmt: skip
    failure = json.loads(error) if error is not None and error.startswith("{") else None
    return Job(
        job, kind, title, group, priority, state, _utc(submitted), _utc(started), _utc(ended), wait_s, run_s, claims, retries,  # type: ignore[arg-type]
        timeout, cost, tuple(sorted(map(int, after.split(",")))) if after else (), worker, None if total is None else (done, total),
        error if failure is None else str(error_from(failure)), failure,
    )  # fmt: skip


def _utc(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
