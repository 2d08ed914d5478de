"""When the scheduler of an allocation ends; the whole, inside a real SLURM, is in tests/slurm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from distributed import Scheduler, Worker

from tdmx_dask.clusters.allocation import OVER, _Attendance


def attended(then: Callable[[Scheduler, _Attendance], None]) -> None:
    """A scheduler of which one of two workers has come, until it need not serve any more."""

    async def whole() -> None:
        async with Scheduler(port=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
            attendance = _Attendance(scheduler, 2, patience=60.0)
            serving = asyncio.ensure_future(attendance.serve())
            async with Worker(scheduler.address, name="2"):
                scheduler.log_event(OVER, {})
                await asyncio.sleep(0.5)
                assert not serving.done(), "a worker is still to come"
                then(scheduler, attendance)
                await asyncio.wait_for(serving, 10)

    asyncio.run(whole())


@pytest.mark.parametrize("how", ["SIGTERM", "client"])
def test_scheduler__waits_for_nobody_once_it_is_stopped(how: str) -> None:
    def stop(scheduler: Scheduler, attendance: _Attendance) -> None:
        if how == "SIGTERM":
            attendance.end()
        else:  # as Client.shutdown does
            closing.append(asyncio.ensure_future(scheduler.close()))

    closing: list[asyncio.Future[None]] = []
    attended(stop)


def test_scheduler__ends_once_the_last_has_come() -> None:
    async def come(address: str) -> None:
        workers.append(await Worker(address, name="3"))

    workers: list[Worker] = []
    coming: list[asyncio.Future[None]] = []
    attended(lambda scheduler, _: coming.append(asyncio.ensure_future(come(scheduler.address))))
    assert len(workers) == 1
