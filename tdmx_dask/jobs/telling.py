"""Tell a cluster's page of a queue: its scheduler cannot read the client's folder.

On change alone, at most twice a second, in a small part of the time; counts, and some jobs of each state, however many there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from tdmx_dask.clusters.messenger import Messenger
from tdmx_dask.clusters.page_names import QUEUE
from tdmx_dask.errors import StoreError
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.records import Job
from tdmx_dask.jobs.state import State

__all__ = ["SHOWN", "QueueTeller", "told"]

SHOWN = 15
"""Jobs that are told of each kind: next, failed, ended otherwise; and twice as many that run."""

PERIOD = 0.4
"""s between two looks."""

AGAIN = 30.0
"""s after which the same is said again: whoever looks since then has not heard it, and knows that the client lives."""

SHARE = 0.03
"""Part of the time that may be spent on it."""

_ENDED: tuple[State, ...] = ("completed", "cached", "cancelled")


class QueueTeller:
    """Looks at a queue in a thread of its own, and tells a cluster; does nothing where there is none.

    Parameters
    ----------
    ledger : of the queue
    client : distributed.Client of the cluster on which its jobs run, or None
    """

    def __init__(self, ledger: Ledger, client: Any) -> None:
        self._ledger, self._client = ledger, client
        self._messenger = Messenger(client, QUEUE)
        self._over = threading.Event()
        self._said: Mapping[str, Any] = {}
        self._stamp: object = None
        self._when = 0.0
        self._thread: threading.Thread | None = None
        if client is not None:
            self._thread = threading.Thread(target=self._run, name="tdmx-telling", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Say that nobody works on it here any more, and stop."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._send({"closed": True})

    def _run(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            began = (
                time.thread_time()
            )  # of this thread: where the machine is busy, others' time is not counted
            with suppress(StoreError):  # the disk is away for a moment: the queue itself says so
                self._look(time.monotonic())
            pause = max(PERIOD, (time.thread_time() - began) / SHARE)

    def _look(self, now: float) -> None:
        again = now - self._when >= AGAIN
        stamp = self._ledger.stamp()
        if stamp == self._stamp and not again:
            return
        self._stamp = stamp
        said = told(self._ledger)
        if said != self._said or again:
            self._said, self._when = said, now
            self._send(said)

    def _send(self, said: Mapping[str, Any]) -> None:
        self._messenger.send({"client": self._client.id, "queue": str(self._ledger.folder), **said})


def told(ledger: Ledger) -> dict[str, Any]:
    """What is told of a queue, as plain values: counts, and rows of jobs: those that run, the next, the latest that ended."""
    now = ledger.overview(SHOWN)
    ended = [*now.failed, *(job for state in _ENDED for job in ledger.jobs(states=(state,), limit=SHOWN))]
    latest = sorted(ended, key=lambda job: _seconds(job.ended) or 0.0, reverse=True)[: 2 * SHOWN]
    return {
        "counts": dict(now.counts),
        "slots": now.slots,
        "rows": [_row(job) for job in (*now.running[: 2 * SHOWN], *now.upcoming, *latest)],
    }


def _row(job: Job) -> dict[str, Any]:
    done, total = job.progress or (0, 0)
    return {
        "id": job.id,
        "kind": job.kind[:40],
        "title": job.title[:80],
        "priority": job.priority,
        "state": job.state,
        "submitted": _seconds(job.submitted),
        "started": _seconds(job.started),
        "wait": job.wait_s,
        "run": job.run_s,
        "attempts": job.attempts,
        "done": done,
        "total": total,
        "error": "" if job.error is None else job.error[:160],
    }


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()
