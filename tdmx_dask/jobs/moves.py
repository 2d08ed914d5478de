"""What happens in the ledger when a job moves from one state to another; each function is part of a transaction of its caller."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tdmx_dask.errors import InputError
from tdmx_dask.jobs import accounts
from tdmx_dask.jobs.clock import Clock
from tdmx_dask.jobs.records import checked_id
from tdmx_dask.jobs.request import MAXIMUM_PRIORITY, Request
from tdmx_dask.jobs.state import ENDED, SUCCEEDED, Event, State, following

__all__ = ["Settled", "add", "cancel", "clear", "known", "lose", "move", "note", "refers", "revive", "settle"]

MOST_LOSSES = 5
"""Times that a job may lose its client before it is taken for what kills them."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How a claim ended.

    Parameters
    ----------
    job, claim : which
    event : complete, hit (the cache had it), fail, retry, or lose (given back, unharmed)
    result : encoded result of up to `INLINE` bytes; None where there is none, or it is in a file
    result_file : name of its file in the folder of results
    error : what went wrong, one line
    note : line for the log
    seconds : that it ran; None where it did not
    delay : seconds before it may run again, of a retry
    memory_mb : for the next attempt; None: as before
    """

    job: int
    claim: int
    event: Literal["complete", "hit", "fail", "retry", "lose"]
    result: bytes | None = None
    result_file: str | None = None
    error: str | None = None
    note: str = ""
    seconds: float | None = None
    delay: float = 0.0
    memory_mb: float | None = None


def add(
    db: sqlite3.Connection,
    request: Request,
    spec: str,
    clock: Clock,
    *,
    answer: bytes | None = None,
    answer_file: str | None = None,
    patience: float = accounts.PATIENCE,
) -> int:
    """Add a job: queued, waiting for others, or cached where its answer is given; return its id."""
    _sound(request)
    checked, now = request.checked, clock.wall()
    answered = answer is not None or answer_file is not None
    open_needs = [] if answered else [other for other in request.after if _is_open(db, other)]
    state: State = "cached" if answered else "waiting" if open_needs else "queued"
    row: dict[str, Any] = {
        "kind": request.kind, "title": checked.title, "digest": request.digest, "family": checked.family, "size": checked.size,
        "grp": request.group, "priority": request.priority, "cost": request.cost, "patience": patience, "state": state,
        "boot": clock.boot(),
        "asked": clock.ticks(), "retries": request.retries, "timeout": request.timeout, "memory_mb": checked.memory_mb,
        "submitted": now, "result_file": answer_file,
    }  # fmt: skip
    if answered:
        row |= {"ended": now, "wait_s": 0.0, "run_s": 0.0}
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    job = db.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(row.values())).lastrowid
    assert job is not None  # noqa: S101
    db.execute("INSERT INTO bodies VALUES (?, ?, ?)", (job, spec, answer))
    db.executemany(
        "INSERT INTO needs VALUES (?, ?, 0)", [(job, other) for other in sorted(set(request.after))]
    )
    if state == "queued":
        _enter(db, job, request.group, request.cost, patience)
    return job


def _sound(request: Request) -> None:
    """Refuse numbers that would spoil the accounts of all."""
    if type(request.priority) is not int or abs(request.priority) > MAXIMUM_PRIORITY:
        rule = f"a priority is a whole number, -{MAXIMUM_PRIORITY} .. {MAXIMUM_PRIORITY}"
        raise InputError("priority", request.priority, rule, "5 is ordinary, and more goes first.")
    for name, value in (("cost", request.cost), ("size", request.checked.size)):
        if not (math.isfinite(value) and 0 < value < 1e100):
            raise InputError(name, value, "it must be above 0, and below 1e100", "")
    for other in request.after:
        checked_id(other, "after")


def _is_open(db: sqlite3.Connection, other: int) -> bool:
    """Whether a job must still be waited for; one that cannot succeed any more is refused."""
    row = db.execute("SELECT state FROM jobs WHERE id = ?", (other,)).fetchone()
    if row is None:
        raise InputError("after", other, "there is no such job in this queue", "Submit it first.")
    if row[0] in ("failed", "cancelled"):
        raise InputError("after", other, f"that job is {row[0]}", "Retry it first, or leave it out.")
    return row[0] not in SUCCEEDED


def move(db: sqlite3.Connection, job: int, event: Event, clock: Clock, **columns: Any) -> State:
    """Move a job by the table of states, keep the accounts, and then those that wait for it, and so on.

    Raises
    ------
    JobError
        The table does not allow it.
    """
    after = _step(db, job, event, clock, columns)
    ended = [(job, after)] if after in ENDED or event in ("retry", "lose") else []
    while ended:  # a loop: chains of jobs may be longer than the stack is deep
        ended += _dependents(db, *ended.pop(), clock)
    return after


def _step(db: sqlite3.Connection, job: int, event: Event, clock: Clock, columns: dict[str, Any]) -> State:
    """Move one job, and keep the accounts."""
    state, group, cost, size, family, run_s, due, patience = db.execute(
        "SELECT state, grp, cost, size, family, run_s, due, patience FROM jobs WHERE id = ?", (job,)
    ).fetchone()
    after = following(state, event)
    if state == "waiting":
        db.execute("DELETE FROM needs WHERE job = ? AND follows = 1", (job,))
    if after in ENDED:
        columns |= {"ended": clock.wall()}
    if state == "running":
        columns |= {"owner": None, "worker": None, "done": None, "total": None}
        seconds = columns.get("run_s")
        accounts.charge(db, group, (0.0 if seconds is None else seconds) - cost)
        if event == "complete" and seconds is not None:
            accounts.learn(db, family, size, seconds)
        if seconds is not None:
            columns["run_s"] = (run_s or 0.0) + seconds
        else:
            columns.pop("run_s", None)
    if state == "queued":
        columns.setdefault("hold", None)
        accounts.unqueued(db, group, cost)
    settings = ", ".join(f"{name} = ?" for name in ("state", *columns))
    db.execute(f"UPDATE jobs SET {settings} WHERE id = ?", (after, *columns.values(), job))
    if after == "queued":
        keeps_due = state == "running" or (state == "waiting" and due > 0)  # it has been in the queue before
        _enter(db, job, group, cost, None if keeps_due else patience)
    elif after == "running":
        accounts.charge(db, group, cost)
    return after


def _dependents(db: sqlite3.Connection, job: int, how: State, clock: Clock) -> list[tuple[int, State]]:
    """Move those that wait for a job that has ended, or runs no more; return the ones that have ended by that.

    Where it succeeded, equal jobs have its answer, and others may run when nothing else is missing. Where it did not, equal jobs run
    themselves (they may be more urgent than it is), and others fail with it, or wait on where it is queued again.
    """
    ended = []
    for other, follows in db.execute("SELECT job, follows FROM needs WHERE other = ?", (job,)).fetchall():
        if _state(db, other) != "waiting":
            continue
        if follows:
            db.execute("DELETE FROM needs WHERE job = ? AND other = ?", (other, job))
        if follows and how in SUCCEEDED:
            ended.append((other, _answer(db, other, job, clock)))
        elif not follows and how in ("failed", "cancelled"):
            text = f"job {job}, which it needs, {'failed' if how == 'failed' else 'was cancelled'}"
            note(db, other, clock, text)
            ended.append((other, _step(db, other, "fail", clock, {"error": text})))
        elif not _missing(db, other):
            _step(db, other, "release", clock, {})
    return ended


def _answer(db: sqlite3.Connection, job: int, equal: int, clock: Clock) -> State:
    """Give a job the answer of one that is equal to it."""
    db.execute(
        "UPDATE bodies SET result = (SELECT result FROM bodies WHERE job = ?) WHERE job = ?", (equal, job)
    )
    (file,) = db.execute("SELECT result_file FROM jobs WHERE id = ?", (equal,)).fetchone()
    sql = "SELECT asked, boot, wait_s, coalesce(run_s, 0.0) FROM jobs WHERE id = ?"  # it may have run in vain before
    asked, boot, wait, ran = db.execute(sql, (job,)).fetchone()
    if wait is None and boot == clock.boot():
        wait = max(0.0, clock.ticks() - asked)
    note(db, job, clock, f"job {equal} is equal to it, and has the answer")
    return _step(db, job, "hit", clock, {"result_file": file, "wait_s": wait, "run_s": ran})


def _missing(db: sqlite3.Connection, job: int) -> bool:
    """Whether something that a job needs has not succeeded yet, or was cleared since."""
    sql = (
        "SELECT 1 FROM needs LEFT JOIN jobs ON jobs.id = needs.other "
        "WHERE needs.job = ? AND coalesce(state, '') NOT IN ('completed', 'cached') LIMIT 1"
    )
    return db.execute(sql, (job,)).fetchone() is not None


def _enter(db: sqlite3.Connection, job: int, group: str, cost: float, patience: float | None) -> None:
    """Into the queue; a job that was there before keeps its due."""
    accounts.queued(db, group, cost)
    if patience is not None:
        due = accounts.due(db, group, patience=patience)
        db.execute("UPDATE jobs SET due = ? WHERE id = ?", (due, job))


def settle(db: sqlite3.Connection, client: str, outcome: Settled, clock: Clock) -> bool:
    """Write how a claim ended; False where the claim is no longer the client's (cancelled, or taken over)."""
    row = db.execute(
        "SELECT failures FROM jobs WHERE id = ? AND claims = ? AND owner = ? AND state = 'running'",
        (outcome.job, outcome.claim, client),
    ).fetchone()
    if row is None:
        return False
    failures = row[0]
    columns: dict[str, Any] = {"run_s": outcome.seconds}
    if outcome.event in ("complete", "hit"):
        columns |= {"result_file": outcome.result_file, "error": None}
        if outcome.result is not None:
            db.execute("UPDATE bodies SET result = ? WHERE job = ?", (outcome.result, outcome.job))
    elif outcome.event in ("fail", "retry"):
        columns |= {"failures": failures + 1, "error": outcome.error}
    if outcome.event == "retry":
        columns["hold"] = clock.ticks() + outcome.delay if outcome.delay > 0 else None
        columns["boot"] = clock.boot()
        if outcome.memory_mb is not None:
            columns["memory_mb"] = outcome.memory_mb
    if outcome.note:
        note(db, outcome.job, clock, outcome.note)
    move(db, outcome.job, outcome.event, clock, **columns)
    return True


def refers(db: sqlite3.Connection, outcome: Settled) -> bool:
    """Whether the file of an outcome is the result of its job: it was settled before, and is told again."""
    sql = "SELECT 1 FROM jobs WHERE id = ? AND result_file = ?"
    return db.execute(sql, (outcome.job, outcome.result_file)).fetchone() is not None


def lose(db: sqlite3.Connection, job: int, whose: str, clock: Clock) -> None:
    """Take a job from a client that is gone; one that lost too many fails."""
    losses = db.execute("SELECT losses FROM jobs WHERE id = ?", (job,)).fetchone()[0] + 1
    note(db, job, clock, f"{whose} is gone")
    if losses > MOST_LOSSES:
        rule = f"its client died {losses} times while it ran"
        move(
            db,
            job,
            "fail",
            clock,
            error=f"job={job}: {rule}. Look whether it takes all memory; then retry it.",
            losses=losses,
        )
    else:
        move(db, job, "lose", clock, losses=losses)


def cancel(db: sqlite3.Connection, job: int, clock: Clock) -> bool:
    """Cancel a job; False where it has ended."""
    state, taken, boot = db.execute("SELECT state, taken, boot FROM jobs WHERE id = ?", (job,)).fetchone()
    if state in ENDED:
        return False
    columns: dict[str, Any] = {"error": "it was cancelled"}
    if (
        state == "running" and boot == clock.boot()
    ):  # what it ran is charged, or cancelling would be a way to run for nothing
        columns["run_s"] = max(0.0, clock.ticks() - taken)
    note(db, job, clock, "cancelled")
    move(db, job, "cancel", clock, **columns)
    return True


def revive(db: sqlite3.Connection, job: int, clock: Clock) -> bool:
    """Queue a job again that failed or was cancelled; False where it did neither, or what it needs did not succeed or was cleared."""
    if _state(db, job) not in ("failed", "cancelled") or _missing(db, job):
        return False
    note(db, job, clock, "asked for again")
    move(
        db,
        job,
        "revive",
        clock,
        error=None,
        failures=0,
        losses=0,
        ended=None,
        run_s=None,
        asked=clock.ticks(),
        boot=clock.boot(),
    )
    return True


def clear(db: sqlite3.Connection, states: Collection[State], clock: Clock) -> tuple[int, list[str]]:
    """Remove jobs of some states to the history, except those that others wait for; return their number and the files of their results."""
    db.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
    db.execute(
        "INSERT INTO chosen SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(set(states))),),
    )
    for (job,) in db.execute(
        "SELECT id FROM chosen ORDER BY id DESC"
    ).fetchall():  # those that wait before what they wait for
        cancel(db, job, clock)
    db.execute(
        "DELETE FROM chosen WHERE id IN (SELECT other FROM needs "
        "JOIN jobs AS later ON later.id = needs.job WHERE later.state IN ('waiting', 'queued', 'running'))"
    )
    files = db.execute(
        "SELECT DISTINCT result_file FROM jobs JOIN chosen USING (id) WHERE result_file IS NOT NULL"
    ).fetchall()
    db.execute(
        "INSERT OR REPLACE INTO history SELECT id, kind, grp, priority, state, ended, wait_s, run_s, claims "
        "FROM jobs JOIN chosen USING (id)"
    )
    n = db.execute("DELETE FROM jobs WHERE id IN (SELECT id FROM chosen)").rowcount
    db.execute("DROP TABLE chosen")
    shared = db.execute("SELECT DISTINCT result_file FROM jobs WHERE result_file IS NOT NULL").fetchall()
    return int(n), [name for (name,) in set(files) - set(shared)]


def note(db: sqlite3.Connection, job: int, clock: Clock, text: str) -> None:
    """Add a line to the log of a job."""
    db.execute("INSERT INTO log SELECT id, ?, claims, ? FROM jobs WHERE id = ?", (clock.wall(), text, job))


def _state(db: sqlite3.Connection, job: int) -> State:
    state: State = db.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()[0]
    return state


def known(db: sqlite3.Connection, jobs: Iterable[int]) -> None:
    """Refuse ids that are not in the queue.

    Raises
    ------
    InputError
        With the first of them.
    """
    for job in jobs:
        if db.execute("SELECT 1 FROM jobs WHERE id = ?", (checked_id(job),)).fetchone() is None:
            raise InputError(
                "job", job, "there is no such job in this queue", "`tdmx queue list` shows those there are."
            )
