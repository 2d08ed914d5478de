"""The clients of a queue: each says that it lives, and those that do not are relieved of their jobs."""

from __future__ import annotations

import sqlite3

from tdmx_dask.jobs.clock import Clock, Identity
from tdmx_dask.jobs.moves import lose

__all__ = ["LEASE_SECONDS", "beat", "leave", "recover"]

LEASE_SECONDS = 30.0
"""A client that was silent for so long has lost its jobs. One whose process is gone has lost them at once."""


def beat(db: sqlite3.Connection, client: str, who: Identity, slots: int, clock: Clock) -> None:
    """Say that a client lives."""
    db.execute(
        "INSERT OR REPLACE INTO clients VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (client, who.host, who.pid, who.born, who.space, clock.boot(), clock.ticks(), clock.wall(), slots),
    )


def leave(db: sqlite3.Connection, client: str) -> None:
    """Strike a client off that has given its jobs back."""
    db.execute("DELETE FROM clients WHERE id = ?", (client,))


def recover(db: sqlite3.Connection, me: str, clock: Clock, lease: float = LEASE_SECONDS) -> list[int]:
    """Take the jobs of clients that are gone; return their ids.

    A client is gone when the machine was booted since, its process ended, or it was silent for a whole lease.
    """
    rows = db.execute(
        "SELECT id, host, pid, born, space, boot, beat FROM clients WHERE id != ?", (me,)
    ).fetchall()
    for client, host, pid, born, space, boot, last in rows:
        expired = boot != clock.boot() or clock.ticks() - last > lease
        if expired or Identity(host, pid, born, space).gone():
            leave(db, client)
    orphans = db.execute(
        "SELECT id, owner FROM jobs INDEXED BY jobs_running WHERE state = 'running' "
        "AND owner NOT IN (SELECT id FROM clients) AND owner != ?",
        (me,),
    ).fetchall()
    for job, owner in orphans:
        lose(db, job, f"the client {owner} that ran it", clock)
    return [job for job, _ in orphans]
