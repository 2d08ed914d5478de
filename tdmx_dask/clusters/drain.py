"""Let a worker end what it runs, and hand over what it holds, before it goes: ``python -m tdmx_dask.clusters.drain [NAME]``.

A pod runs it before it is stopped. Without it Dask would begin a cut task again elsewhere: seconds lost for a kernel, an hour for a fit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Any

from distributed import Status

from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.identity import workers

__all__ = ["drain", "main"]

_WAITING = frozenset({"waiting", "constrained", "ready"})

LOOK = 0.1
"""Seconds between two looks at what runs."""

ANSWER = "10s"
"""In which the scheduler has to answer."""


async def drain(dask_worker: Any) -> None:
    """Take no further task, give those away that wait here, wait for those that run, move results elsewhere; runs on the worker.

    Dask itself leaves what waits on such a worker where it is. The worker is told that it begins nothing more before the scheduler is
    asked to place them anew, so that none can run twice. It stays until the scheduler, too, knows of nothing that it runs: word of a
    task's end goes another way than the question, and may come later.
    """
    dask_worker.status = Status.closing_gracefully
    while True:
        for task in list(dask_worker.state.tasks.values()):
            if task.state in _WAITING:
                dask_worker.batched_send({"op": "reschedule", "key": task.key, "stimulus_id": "tdmx-drain"})
        if not (
            dask_worker.state.executing or dask_worker.state.long_running or await _seen_to_run(dask_worker)
        ):
            break
        await asyncio.sleep(LOOK)
    while not await _retire(
        dask_worker
    ):  # results that nobody else can hold yet: another worker may come, or its client fetch them
        await asyncio.sleep(10 * LOOK)


async def _seen_to_run(dask_worker: Any) -> bool:
    """Whether the scheduler knows of tasks that are here and not done."""
    address = dask_worker.address
    try:
        known = await dask_worker.scheduler.processing(workers=[address])
    except KeyError:  # it has forgotten this worker
        return False
    return bool(known[address])


async def _retire(dask_worker: Any) -> bool:
    """Ask the scheduler to move results elsewhere and to forget this worker; whether it could."""
    address = dask_worker.address
    moved = await dask_worker.scheduler.retire_workers(workers=[address], close_workers=False, remove=True)
    known = await dask_worker.scheduler.identity(n_workers=-1)
    return address in moved or address not in known["workers"]


def main(arguments: list[str]) -> int:
    """Drain the worker of this name (that of the variable DASK_WORKER_NAME). Returns 0, also where there is nothing to drain."""
    name = arguments[0] if arguments else os.environ.get("DASK_WORKER_NAME", "")
    if not name or len(arguments) > 1:
        print(
            "usage: python -m tdmx_dask.clusters.drain [NAME]   (else DASK_WORKER_NAME names the worker)",
            file=sys.stderr,
        )
        return 2
    try:
        with Client(timeout=ANSWER, set_as_default=False) as client:
            known = workers(client)
            here = [address for address, worker in known.items() if worker["name"] == name]
            if here:
                with contextlib.suppress(OSError):  # it may be gone before it has answered
                    client.run(drain, workers=here)
    except (OSError, TimeoutError, ValueError) as error:
        print(f"no scheduler answers, so {name} has nobody to hand over to ({error})", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
