"""The plain executor: many calls at once from one event loop, ended when nobody waits any more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tdmx_dask.clusters.resources import available_cores
from tdmx_dask.errors import InputError, JobCancelled, JobLost, JobTimeout
from tdmx_dask.jobs.executor import Executor
from tdmx_dask.jobs.processes import ProcessExecutor
from tdmx_dask.store.value import decode
from tests.jobs.processes import call, children_of, gone, pids_in


def using(work: Callable[[ProcessExecutor], Awaitable[Any]], workers: int | None = 2) -> Any:
    """Run a coroutine with an executor that is closed in the end."""

    async def whole() -> Any:
        executor = ProcessExecutor(workers)
        try:
            return await work(executor)
        finally:
            await executor.close()

    return asyncio.run(whole())


def test_processes__answer_with_where_it_ran() -> None:
    async def work(executor: ProcessExecutor) -> None:
        began: list[str] = []
        answer = await executor.run(call("pid"), began.append)
        assert answer.worker == f"pid {decode(answer.value)}"
        assert began == [answer.worker]

    using(work)


def test_processes__many_at_once() -> None:
    async def work(executor: ProcessExecutor) -> list[Any]:
        calls = [executor.run(call("double", x=n), lambda _: None) for n in range(8)]
        return [decode(answer.value) for answer in await asyncio.gather(*calls)]

    assert using(work) == [2 * n for n in range(8)]


def test_processes__they_run_side_by_side() -> None:
    async def work(executor: ProcessExecutor) -> float:
        await asyncio.gather(*(executor.run(call("sleep", seconds=0.1), lambda _: None) for _ in range(2)))
        start = time.monotonic()
        await asyncio.gather(*(executor.run(call("sleep", seconds=0.5), lambda _: None) for _ in range(2)))
        return time.monotonic() - start

    assert using(work) < 0.9


@pytest.mark.alone
def test_processes__cancelled_one_is_gone_when_told(tmp_path: Path) -> None:
    async def work(executor: ProcessExecutor) -> None:
        asked = call("spawn_child", path=str(tmp_path / "pids"), seconds=60)
        task = asyncio.create_task(executor.run(asked, lambda _: None))
        pids = await asyncio.to_thread(pids_in, tmp_path / "pids")
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task
        assert time.monotonic() - start < 1
        assert gone(pids, 0.2)
        assert decode((await executor.run(call("double", x=2), lambda _: None)).value) == 4

    using(work)


def test_processes__close_ends_what_runs(tmp_path: Path) -> None:
    async def work(executor: ProcessExecutor) -> None:
        asked = call("spawn_child", path=str(tmp_path / "pids"), seconds=60)
        task = asyncio.create_task(executor.run(asked, lambda _: None))
        pids = await asyncio.to_thread(pids_in, tmp_path / "pids")
        await executor.close()
        with pytest.raises(JobCancelled, match="it was cancelled"):
            await task
        assert gone(pids)
        with pytest.raises(JobCancelled, match="it was cancelled"):
            await executor.run(call("pid"), lambda _: None)

    others = {each.pid for each in children_of()}
    using(work)
    assert {each.pid for each in children_of()} <= others


def test_processes__time_out_and_loss() -> None:
    async def work(executor: ProcessExecutor) -> None:
        with pytest.raises(JobTimeout, match=r"job=1-1: it ran longer than its 0\.2 s"):
            await executor.run(call("sleep", seconds=60, timeout=0.2), lambda _: None)
        with pytest.raises(JobLost, match="SIGKILL"):
            await executor.run(call("die", signal=int(signal.SIGKILL)), lambda _: None)

    using(work)


def test_processes__slots() -> None:
    executor: Executor = ProcessExecutor()
    assert executor.slots == available_cores()
    assert executor.on is None
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(InputError, match=r"max_workers=.*: a whole number >= 1"):
            ProcessExecutor(wrong)  # type: ignore[arg-type]


SCRIPT = """
import asyncio, sys
from tdmx_dask.jobs.processes import ProcessExecutor
from tests.jobs.processes import call, pids_in
async def work():
    executor = ProcessExecutor(1)
    asyncio.create_task(executor.run(call("spawn_child", path=sys.argv[1], seconds=60), print))
    await asyncio.to_thread(pids_in, __import__("pathlib").Path(sys.argv[1]))
    sys.stdout.flush()
    {end}
asyncio.run(work())
"""


@pytest.mark.parametrize("end", ["os._exit(5)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)"])
def test_processes__a_client_that_dies_leaves_none(tmp_path: Path, end: str) -> None:
    script = tmp_path / "client.py"
    script.write_text("import os" + SCRIPT.replace("{end}", end))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "pids")],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode != 0
    assert gone(pids_in(tmp_path / "pids"))
