"""Say what is waited for while tasks wait and no worker is there: a batch queue can take hours, and silence looks like a hang."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from distributed import Client

from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.identity import identity
from tdmx_dask.errors import ClusterError

__all__ = ["AGAIN", "PATIENCE", "Watch", "waits_for"]

PATIENCE = 3.0
"""Seconds without a worker before the first line."""
AGAIN = 300.0
"""Seconds after which the same line is said again."""
_LOOK = 1.0
_ASK = 10.0

_log = logging.getLogger("tdmx_dask")


def waits_for(n_workers: int, wanted: int, jobs: Sequence[BatchJob]) -> str:
    """One line: how many workers are there, and why jobs wait, in the batch scheduler's own words."""
    there = f"{n_workers} of {wanted} workers are here"
    waiting = [job for job in jobs if job.state == "waiting"]
    if not waiting:
        return there
    reasons = ", ".join(sorted({job.reason for job in waiting if job.reason}))
    n = "1 job waits" if len(waiting) == 1 else f"{len(waiting)} jobs wait"
    return f"{there}; {n} in the queue" + (f" ({reasons})" if reasons else "")


class Watch:
    """Looks once a second, in a thread, whether this client's tasks wait for a worker while there is none; logs a warning that says why.

    Parameters
    ----------
    client : whose tasks are looked at
    jobs : asks the batch scheduler for the workers' jobs
    """

    def __init__(self, client: Client, jobs: Callable[[], Sequence[BatchJob]]) -> None:
        self._client, self._jobs = client, jobs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tdmx-waiting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()

    def _run(self) -> None:
        alone: float | None = None
        asked = told = 0.0
        line = ""
        while not self._over.wait(_LOOK):
            try:
                waits = self._waits()
            except (
                Exception
            ):  # a busy scheduler answers the next look; that it is gone, or the client closes, others say
                _log.debug("the scheduler did not say how many workers it has", exc_info=True)
                continue
            now = time.monotonic()
            if not waits:
                if line:
                    _log.warning("workers are here again: going on")
                alone, asked, line = None, 0.0, ""
                continue
            alone = now if alone is None else alone
            if now - alone < PATIENCE or now - asked < _ASK:
                continue
            asked, said = now, self._line()
            if said != line or now - told > AGAIN:
                line, told = said, now
                _log.warning("%s", said)

    def _waits(self) -> bool:
        if not any(state.status == "pending" for state in list(self._client.futures.values())):
            return False
        return int(identity(self._client)["n_workers"]) == 0

    def _line(self) -> str:
        jobs: list[BatchJob] = []
        with contextlib.suppress(ClusterError):  # whoever holds them does not answer; the line says the rest
            jobs = list(self._jobs())
        wanted = max(1, sum(job.state in ("waiting", "running") for job in jobs))
        return f"waiting for workers: {waits_for(0, wanted, jobs)}. Ctrl-C ends; nothing that is done is lost"
