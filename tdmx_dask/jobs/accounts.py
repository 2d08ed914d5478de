"""Who has used how much, and what jobs cost: the numbers behind the order of the queue.

All is counted in seconds of service (of one worker), not in time: a queue that nobody works on ages nobody, and no clock is read.

A group's fair share is an equal part of the service for each group that waits. A job's fair turn comes when its own group's share has
served what the group had waiting, and the job itself: after ``n_groups × (waiting + cost)`` seconds of service. A job that still waits
after `K` times that is overdue, and overdue jobs go first, the longest overdue before the others. As jobs of one group become overdue no
faster than one cost in every ``K × n_groups × cost``, all overdue jobs together take about 1/K of the service: urgent jobs keep the rest.
"""

from __future__ import annotations

import math
import sqlite3

__all__ = ["PATIENCE", "Estimate", "K", "charge", "due", "estimate", "learn", "queued", "unqueued"]

K = 4.0
"""A job is overdue after `K` times its fair share, and not before `PATIENCE`.

It then waits for the work that became overdue before it and for what runs; `tests/jobs/test_order.py` derives the bound, and simulates it.
"""

PATIENCE = 600.0
"""Seconds of service after which, at the earliest, a job is overdue: among few short jobs priorities hold strictly."""

_MEMORY = 50.0
"""Runs after which an estimate forgets."""

UNKNOWN_SECONDS = 1.0


class Estimate(tuple[float, float]):
    """Seconds that a job may take, and the factor by which runs of its family scatter about that (infinite: never seen)."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """Of one worker."""
        return self[0]

    @property
    def factor(self) -> float:
        """Two runs in three are between ``seconds / factor`` and ``seconds × factor``."""
        return self[1]


def queued(db: sqlite3.Connection, group: str, cost: float) -> None:
    """Count a job that enters the queue. A group that had nothing there saves up nothing while it is away.

    That is start-time fair queueing (Goyal et al. 1997, doi:10.1109/90.649569): its account begins where the least served of those is
    who wait; where nobody waits, with the most served of all.
    """
    db.execute("INSERT OR IGNORE INTO groups (name) VALUES (?)", (group,))
    db.execute(
        "UPDATE groups SET used_s = max(used_s, share * coalesce("
        "(SELECT min(used_s / share) FROM groups WHERE waiting > 0), (SELECT max(used_s / share) FROM groups))) "
        "WHERE name = ? AND waiting = 0",
        (group,),
    )
    db.execute(
        "UPDATE groups SET waiting = waiting + 1, waiting_s = waiting_s + ? WHERE name = ?", (cost, group)
    )


def unqueued(db: sqlite3.Connection, group: str, cost: float) -> None:
    """Count a job that leaves the queue, whichever way."""
    db.execute(
        "UPDATE groups SET waiting = waiting - 1, waiting_s = CASE waiting WHEN 1 THEN 0 ELSE max(0, waiting_s - ?) END WHERE name = ?",
        (cost, group),
    )


def charge(db: sqlite3.Connection, group: str, seconds: float) -> None:
    """Charge a group for service; the estimate when a job begins, the difference when it ends."""
    db.execute("UPDATE groups SET used_s = used_s + ? WHERE name = ?", (seconds, group))
    db.execute("UPDATE served SET seconds = seconds + ?", (seconds,))


def due(db: sqlite3.Connection, group: str, *, patience: float) -> float:
    """Seconds of service of the whole queue after which the job that was queued last in a group is overdue."""
    served = db.execute("SELECT seconds FROM served").fetchone()[0]
    shares = db.execute("SELECT sum(share) FROM groups WHERE waiting > 0").fetchone()[0]
    waiting, share = db.execute("SELECT waiting_s, share FROM groups WHERE name = ?", (group,)).fetchone()
    return float(served + max(patience, K * waiting * shares / share))


def learn(db: sqlite3.Connection, family: str, size: float, seconds: float) -> None:
    """Learn from a run: mean and variance of the log of seconds per unit of size, the older runs counting less."""
    value = math.log(max(seconds, 1e-4)) - math.log(size)
    row = db.execute("SELECT n, mean, variance FROM rates WHERE family = ?", (family,)).fetchone()
    n, mean, variance = row or (0.0, 0.0, 0.0)
    n = min(n, _MEMORY) + 1
    step = value - mean
    mean += step / n
    variance += (step * (value - mean) - variance) / n
    db.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?)", (family, n, mean, variance))


def estimate(db: sqlite3.Connection, family: str, size: float) -> Estimate:
    """What a job may cost, from earlier runs of its family."""
    row = db.execute("SELECT n, mean, variance FROM rates WHERE family = ?", (family,)).fetchone()
    if row is None:
        return Estimate((UNKNOWN_SECONDS, math.inf))
    n, mean, variance = row
    spread = math.sqrt(variance * n / (n - 1)) if n > 1 else math.inf
    return Estimate(
        (
            math.exp(min(mean + math.log(size), 700.0)),
            math.exp(min(spread, 700.0)) if math.isfinite(spread) else math.inf,
        )
    )
