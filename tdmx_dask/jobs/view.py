"""A queue as one reads it, without being one of its clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.errors import StoreError
from tdmx_dask.jobs.asked import check_states, job_id
from tdmx_dask.jobs.display import queue_html
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.records import Job, LogLine, QueueStats
from tdmx_dask.jobs.state import State

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QueueView"]


class QueueView:
    """What a queue knows of its jobs.

    Parameters
    ----------
    ledger : of the queue
    """

    @property
    def slots(self) -> int:
        """Calls that this client runs at once: none."""
        return 0

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def folder(self) -> Path:
        """Where the queue is."""
        return self._ledger.folder

    def status(self, job: int) -> State:
        """State of a job: waiting, queued, running, completed, cached, failed or cancelled."""
        return self._ledger.job(job_id(job)).state

    def job(self, job: int) -> Job:
        """All that the queue knows of a job."""
        return self._ledger.job(job_id(job))

    def jobs(
        self,
        *,
        states: Sequence[State] | None = None,
        type: str | None = None,  # noqa: A002
        group: str | None = None,
        limit: int | None = None,
    ) -> list[Job]:
        """Jobs, the latest first."""
        check_states(states)
        return self._ledger.jobs(states=states, kind=type, group=group, limit=limit)

    def spec(self, job: int) -> dict[str, Any]:
        """The spec of a job as it was checked: plain values, digests in the place of data."""
        found: dict[str, Any] = json.loads(self._ledger.spec(job_id(job)))
        return found

    def log(self, job: int) -> list[LogLine]:
        """What happened to a job: every attempt, where it ran, how it ended."""
        return self._ledger.log(job_id(job))

    def get_stats(self) -> QueueStats:
        """Figures over all jobs: completed, failed, cached, mean seconds of waiting and running."""
        return self._ledger.stats()

    def history(self) -> pd.DataFrame:
        """One row a job that has ended, in that order: type, group, priority, state, ended (UTC), wait_s, run_s, attempts."""
        import pandas as pd

        rows = self._ledger.history()
        columns = ["id", "type", "group", "priority", "state", "ended", "wait_s", "run_s", "attempts"]
        values = [
            (row.id, row.kind, row.group, row.priority, row.state, row.ended, row.wait_s, row.run_s, row.attempts) for row in rows
        ]  # fmt: skip
        return pd.DataFrame(values, columns=columns).set_index("id")

    def estimates(self) -> pd.DataFrame:
        """What was learned about the cost of jobs: for each family the seconds of a unit of size, and the factor by which they scatter."""
        import pandas as pd

        columns = ["family", "runs", "seconds", "factor"]
        return pd.DataFrame(self._ledger.estimates(), columns=columns).set_index("family")

    def __repr__(self) -> str:
        try:
            counts = self._ledger.count()
        except StoreError:
            return f"<JobQueue {self.folder}: closed>"
        text = ", ".join(f"{n} {state}" for state, n in counts.items() if n) or "empty"
        return f"<JobQueue {self.folder}: {text}; {self.slots} at once>"

    def _repr_html_(self) -> str:
        return queue_html(self)
