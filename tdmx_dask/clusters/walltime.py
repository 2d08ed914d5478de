"""Preloaded by workers of jobs with a walltime: begin nothing that the job would not live to end, and leave when idle.

A fit that the walltime cuts is begun again in the next job, and cut again. So a worker drains once less than the longest task is left, and
its place is taken by a new job. What outlives its job all the same is named in the log and on the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from tdmx_dask.clusters.drain import drain
from tdmx_dask.clusters.worker import END, LONGEST_TASK

__all__ = ["CLOSE", "LAST", "TOPIC", "dask_setup"]

LAST = 10.0
"""Seconds before the job's end at which what still runs is named."""

CLOSE = 2.0
"""Seconds before the job's end after which nothing is waited for."""

TOPIC = "tdmx-walltime"
"""Of the events on the scheduler."""

_log = logging.getLogger("distributed.worker.tdmx")


async def dask_setup(worker: Any) -> None:
    """Plan this worker's end."""
    end, longest = float(os.environ[END]), float(os.environ[LONGEST_TASK])
    worker.loop.call_later(0, lambda: asyncio.ensure_future(_leave(worker, end, longest)))


async def _leave(worker: Any, end: float, longest: float) -> None:
    await asyncio.sleep(max(0.0, end - longest - time.time()))
    worker.log_event(TOPIC, {"worker": worker.name, "does": "drains", "seconds_left": end - time.time()})
    warning = asyncio.ensure_future(_warn(worker, end))
    try:
        await asyncio.wait_for(drain(worker), timeout=end - CLOSE - time.time())
    except TimeoutError:
        return  # what runs may yet end; the batch scheduler ends it
    finally:
        warning.cancel()
    _log.info("Leaving: less than %g s of the job's walltime are left, and nothing runs", longest)
    await worker.close(reason="tdmx-walltime", nanny=True)


async def _warn(worker: Any, end: float) -> None:
    """Name what the walltime will cut."""
    await asyncio.sleep(max(0.0, end - LAST - time.time()))
    keys = [str(task.key) for task in worker.state.executing | worker.state.long_running]
    if not keys:
        return
    _log.warning("The job ends in %g s and will cut %s: longest_task was too short", LAST, ", ".join(keys))
    worker.log_event(TOPIC, {"worker": worker.name, "does": "is cut", "tasks": keys})
