"""When the scheduler of an allocation ends; the whole, inside a real SLURM, is in tests/slurm."""

from __future__ import annotations

import asyncio

import pytest
from distributed import Scheduler, Worker

from tdmx_dask.clusters.allocation import OVER, _Attendance


@pytest.mark.parametrize("how", ["SIGTERM", "closed", "complete"])
def test_scheduler__waits_for_a_late_worker_until_it_is_stopped(how: str) -> None:
    async def whole() -> None:
        async with Scheduler(port=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
            attendance = _Attendance(scheduler, 2, patience=60.0)
            serving = asyncio.ensure_future(attendance.serve())
            async with Worker(scheduler.address, name="2"):
                scheduler.log_event(OVER, {})
                await asyncio.sleep(0.5)
                assert not serving.done(), "a worker is still to come"
                if how == "SIGTERM":
                    attendance.end()
                elif how == "closed":  # as by Client.shutdown
                    await scheduler.close()
                else:
                    async with Worker(scheduler.address, name="3"):
                        await asyncio.wait_for(serving, 10)
                await asyncio.wait_for(serving, 10)

    asyncio.run(whole())
