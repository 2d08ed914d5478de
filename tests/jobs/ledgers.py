"""What the tests of the ledger share: a clock to be set by hand, requests, and a look into the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tdmx_dask.jobs.clock import Clock, Identity
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.request import Checked, Request

ELSEWHERE = Identity("elsewhere", 1, 1.0, "another container")
"""A process of which nobody here can know whether it lives."""


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.tick, self.walled, self.booted = 1000.0, 1.8e9, "boot 1"

    def ticks(self) -> float:
        return self.tick

    def wall(self) -> float:
        return self.walled

    def boot(self) -> str:
        return self.booted

    def pass_(self, seconds: float) -> None:
        self.tick += seconds
        self.walled += seconds


def asked(
    title: str = "t",
    *,
    group: str = "a",
    priority: int = 5,
    cost: float = 1.0,
    digest: str | None = None,
    after: tuple[int, ...] = (),
    family: str = "f",
    size: float = 1.0,
) -> Request:
    return Request(
        "k", Checked({}, None, title, family, size), digest, priority, group, after=after, cost=cost
    )


def add_one(ledger: Ledger, answer: bytes | None = None, **options: Any) -> int:
    return ledger.add([(asked(**options), "{}", answer)])[0]


def rows(ledger: Ledger, sql: str, *values: object) -> list[Any]:
    """What another connection reads in the file."""
    with sqlite3.connect(Path(ledger.folder, "queue.sqlite")) as db:
        found = db.execute(sql, values).fetchall()
    db.close()
    return found


def assert_accounts(ledger: Ledger) -> None:
    """What the groups are said to have in the queue is what they have there."""
    found = {
        name: (n, seconds) for name, n, seconds in rows(ledger, "SELECT name, waiting, waiting_s FROM groups")
    }
    true = {
        name: (n, seconds)
        for name, n, seconds in rows(
            ledger, "SELECT grp, count(*), sum(cost) FROM jobs WHERE state = 'queued' GROUP BY grp"
        )
    }
    for name, (n, seconds) in found.items():
        expected, expected_s = true.get(name, (0, 0.0))
        assert n == expected
        assert abs(seconds - expected_s) <= 1e-9 * max(1.0, expected_s)
    assert set(true) <= set(found)
