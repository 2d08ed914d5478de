"""Keep the jobs of a cluster up: what was lost is submitted again, unless it is lost at once again and again.

dask-jobqueue replaces nothing by itself when the number is fixed, and never notices a job that vanished before its worker came.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distributed import Status

from tdmx_dask.clusters.engine import BatchJob

__all__ = ["Keeper"]

PERIOD = 1.0
"""Seconds between two looks at the workers."""
ASK = 10.0
"""Seconds between two questions to the batch scheduler, about jobs whose worker has not come."""
LOST = 2.0
"""Seconds that a worker that had come may be away before its job is asked after."""
AWAY = 120.0
"""Seconds that a worker that had come may be away while its job runs on, after which the job is cancelled: Python can take long to start
from a folder that many nodes share."""
BACKOFF = (2.0, 60.0)
"""Seconds until a refused job is submitted again, first and at most; doubled each time."""
FAILURES = 3
"""Jobs in a row that ended before their worker came after which no more are submitted."""

_log = logging.getLogger("tdmx_dask")


class Keeper:
    """Looks after the jobs of a `dask_jobqueue` cluster, on its event loop.

    Parameters
    ----------
    started : the cluster
    look : asks the batch scheduler about jobs
    log_of : the last lines of a job's log
    """

    def __init__(
        self,
        started: Any,
        look: Callable[[Sequence[str]], Mapping[str, BatchJob]],
        log_of: Callable[[str], str],
    ) -> None:
        self._started, self._look, self._log_of = started, look, log_of
        self._over = False
        self._failed: list[BatchJob] = []
        self._asked = time.monotonic()
        self._seen: dict[str, float] = {}
        self._refused = ""
        self._leaving: dict[str, Any] = {}
        self._pause, self._next = BACKOFF[0], 0.0

    def start(self) -> None:
        """Begin to look."""
        self._started.loop.add_callback(self._run)

    def stop(self) -> None:
        """Stop looking, for good."""
        self._over = True

    def forgive(self) -> None:
        """Forget failures: somebody asked for workers anew."""
        self._failed.clear()

    def jobs(self) -> tuple[BatchJob, ...]:
        """All jobs as the batch scheduler sees them, those that ended before their worker came, and the last refusal."""
        names = self._names()
        found = self._look(list(names)) if names else {}
        known = [replace(found.get(job, BatchJob(job)), worker=name) for job, name in names.items()]
        refused = [BatchJob("", state="gone", reason=f"refused: {self._refused}")] if self._refused else []
        return (*known, *self._failed, *refused)

    @property
    def gave_up(self) -> bool:
        """Whether nothing more is submitted."""
        return len(self._failed) >= FAILURES

    def _names(self) -> dict[str, str]:
        jobs = {**self._leaving, **self._started.workers}
        return {str(job.job_id): str(name) for name, job in list(jobs.items()) if job.job_id}

    def _here(self) -> set[str]:
        workers = self._started.scheduler.workers.values() if self._started.scheduler else ()
        return {str(worker.name) for worker in workers}

    async def _run(self) -> None:
        while self._started.status == Status.running:
            await asyncio.sleep(PERIOD)
            if self._over:
                return
            try:
                await self._step()
            except (
                Exception
            ) as error:  # a batch scheduler that is down for a while: the next step looks at what came of it
                _log.debug("Jobs were not kept up: %s", error)

    async def _step(self) -> None:
        here, now = self._here(), time.monotonic()
        self._clear_refused(now)
        self._replace_leaving()
        names = self._names()
        self._seen = {job: self._seen[job] for job in names if job in self._seen}
        came = [job for job, name in names.items() if name in here]
        if set(came) - set(self._seen):
            self._failed.clear()
        self._seen.update(dict.fromkeys(came, now))
        absent = {job: name for job, name in names.items() if name not in here}
        due = [job for job in absent if now - self._seen.get(job, now) >= LOST]
        if absent and (due or now - self._asked >= ASK):
            self._asked = now
            found = await asyncio.to_thread(self._look, list(absent))
            for job, name in absent.items():
                if name in self._here():
                    continue
                state = found.get(job, BatchJob(job)).state
                if state == "gone":
                    await self._lost(job, name, found[job])
                elif state == "running" and now - self._seen.get(job, now) >= AWAY:
                    await self._give_up(job, name)
        missing = set(self._started.worker_spec) - set(self._started.workers)
        if missing and now >= self._next and not self.gave_up and not self._over:
            await self._started._correct_state()

    def _replace_leaving(self) -> None:
        """Ask for the successor of a worker that drains before it has gone, so that it has somebody to hand its results to."""
        adaptive = getattr(self._started, "_adaptive", None)
        if adaptive is not None and adaptive._adapting:
            return  # a worker that is given back drains, too, and has no successor
        states = {str(worker.name): worker.status for worker in self._started.scheduler.workers.values()}
        self._leaving = {name: job for name, job in self._leaving.items() if name in states}
        drain = [key for key in self._started.workers if states.get(str(key)) == Status.closing_gracefully]
        wanted = len(self._started.worker_spec)
        for key in drain:
            self._leaving[str(key)] = self._started.workers.pop(key)
            self._started.worker_spec.pop(key, None)
        self._started._i += len(drain)  # a name is never given twice: the scheduler refuses the second
        if drain and not self.gave_up:
            self._started.scale(jobs=wanted)

    async def release(self) -> None:
        """Cancel the jobs of workers that drain."""
        for job in list(self._leaving.values()):
            await job.close()

    def _clear_refused(self, now: float) -> None:
        """Make room for jobs that were not taken, and wait longer each time."""
        workers = self._started.workers
        refused = [key for key, job in workers.items() if job.refusal]
        for key in refused:
            job = workers.pop(key)
            self._started._created.discard(job)
            if job.refusal != self._refused:
                _log.warning("the batch scheduler refused a job: %s", job.refusal)
            self._refused = job.refusal
        if refused:
            self._next, self._pause = now + self._pause, min(2 * self._pause, BACKOFF[1])
        elif any(job.job_id for job in workers.values()):
            self._refused, self._pause = "", BACKOFF[0]

    async def _give_up(self, job: str, name: str) -> None:
        """Cancel a job whose worker does not come back."""
        _log.warning(
            "the worker of job %s has been away for %.0f s: the job is cancelled, and another takes its place", job, AWAY
        )  # fmt: skip
        closing = [asyncio.ensure_future(each.close()) for each in self._take(job, name)]
        self._started._futures.update(closing)  # whoever closes the cluster waits for them, too
        await asyncio.gather(*closing)

    def _take(self, job: str, name: str) -> list[Any]:
        """Free the place of a job."""
        workers = self._started.workers
        keys = [key for key, each in workers.items() if str(key) == name and str(each.job_id) == job]
        return [workers.pop(key) for key in keys]

    async def _lost(self, job: str, name: str, found: BatchJob) -> None:
        """Forget a job that has ended, so that its place is free."""
        for each in self._take(job, name):
            self._started._created.discard(each)
        if job in self._seen:
            _log.info(
                "job %s has ended (%s): another takes its place", job, found.reason or "no reason given"
            )
            return
        said = await asyncio.to_thread(self._log_of, job)
        reason = "; ".join(part for part in (found.reason, said) if part) or "no reason given"
        _log.warning("job %s ended before its worker came (%s)", job, reason)
        self._note(BatchJob(job, worker=name, state="gone", reason=reason))

    def _note(self, failed: BatchJob) -> None:
        self._failed.append(failed)
        del self._failed[:-FAILURES]
        if self.gave_up:
            _log.error(
                "%d jobs in a row ended before their workers came: no more are submitted until scale or adapt is called. The last: %s",
                FAILURES, failed.reason,
            )  # fmt: skip
