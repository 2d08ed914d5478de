"""Calls on a real LocalCluster: whoever dies, one answer or one clear error, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.config
import psutil
import pytest
from distributed import Client

from tdmx_dask.api.clusters import cluster as start_cluster
from tdmx_dask.clusters.cancellation import JOB_PREFIX
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.progress import JOBS
from tdmx_dask.errors import ClusterError, InputError, JobCancelled, JobError, JobLost, JobTimeout
from tdmx_dask.jobs.executor import Answer, Call, Executor
from tdmx_dask.jobs.failure import may_pass
from tdmx_dask.jobs.futures import DaskExecutor
from tdmx_dask.store.value import decode
from tests.credentials import in_environment
from tests.jobs import functions
from tests.jobs.processes import call, gone, pids_in, until

# a connection to a worker that was killed leaves its socket to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def local() -> Iterator[Cluster]:
    with start_cluster(n_workers=2, dashboard_port=0) as cluster:
        yield cluster


def using(
    client: Client, work: Callable[[DaskExecutor], Awaitable[Any]], *, workers: int | None = None
) -> Any:
    """Run a coroutine with an executor that is closed in the end."""

    async def whole() -> Any:
        executor = DaskExecutor(client, max_workers=workers)
        try:
            return await work(executor)
        finally:
            await executor.close()

    return asyncio.run(asyncio.wait_for(whole(), 60))


def once(client: Client, asked: Call) -> Answer:
    return using(client, lambda executor: executor.run(asked, lambda _: None))


def own_tasks(client: Client) -> list[str]:
    found = client.run_on_scheduler(lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks])
    return [key for key in found if key.startswith(JOB_PREFIX)]


def test_futures__answer_with_where_it_ran(local: Cluster) -> None:
    began: list[str] = []

    async def work(executor: DaskExecutor) -> Answer:
        return await executor.run(call("double", x=21), began.append)

    answer = using(local.client, work)
    assert decode(answer.value) == 42
    assert began == [answer.worker]
    assert answer.worker in local.client.scheduler_info(n_workers=-1)["workers"]
    until(lambda: not own_tasks(local.client))


def test_futures__many_at_once_each_its_own(local: Cluster) -> None:
    began: list[str] = []

    async def work(executor: DaskExecutor) -> list[Any]:
        calls = [executor.run(call("double", x=n, label=f"{n}-1"), began.append) for n in range(100)]
        return [decode(answer.value) for answer in await asyncio.gather(*calls)]

    start = time.perf_counter()
    assert using(local.client, work) == [2 * n for n in range(100)]
    print(f"{100 / (time.perf_counter() - start):.0f} calls a second")
    assert len(began) == 100


def test_futures__large_values_pass(local: Cluster) -> None:
    assert decode(once(local.client, call("double", x="x" * 300_000)).value) == "x" * 600_000


def test_futures__what_is_printed_comes_back(local: Cluster) -> None:
    assert once(local.client, call("print_lines", n=3)).output.startswith("line 0\nline 1\n")


@pytest.mark.parametrize(
    ("asked", "kind", "match"),
    [
        (call("refuse", dose=-1.5), InputError, r"^dose=-1.5: a dose is > 0 mg\. Give one\.$"),
        (call("fail", text="odd"), JobError, "^error=ValueError: odd: the function raised it"),
        (call("fail_as", name="MemoryError"), MemoryError, "as asked"),
        (call("fail_as", name="ConnectionError"), JobError, "^error=ConnectionError: as asked"),
        (call("crash"), JobError, "crashed with SIGSEGV"),
        (call("die", signal=int(signal.SIGKILL)), JobLost, "killed from outside by SIGKILL"),
        (call("sleep", seconds=60, timeout=0.3), JobTimeout, r"longer than its 0\.3 s"),
    ],
    ids=lambda each: each.function.split(":")[-1] if isinstance(each, Call) else None,
)
def test_futures__say_what_went_wrong(local: Cluster, asked: Call, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match) as caught:
        once(local.client, asked)
    assert type(caught.value) is kind
    assert may_pass(caught.value) is (kind in (JobLost, JobTimeout, MemoryError) or "Connection" in match)
    if "odd" in match:
        assert "raise ValueError(text)" in caught.value.__notes__[0]


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_futures__cancelled_one_ends_with_what_it_started(local: Cluster, tmp_path: Path, end: str) -> None:
    async def work(executor: DaskExecutor) -> None:
        asked = call("spawn_child", path=str(tmp_path / "pids"), seconds=60)
        task = asyncio.create_task(executor.run(asked, lambda _: None))
        pids = await asyncio.to_thread(pids_in, tmp_path / "pids")
        if end == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError, match=r"^$"):
                await task
        else:
            await executor.close()
            with pytest.raises(JobCancelled, match="it was cancelled"):
                await task
        assert await asyncio.to_thread(gone, pids)

    using(local.client, work)
    assert not own_tasks(local.client)
    assert decode(once(local.client, call("double", x=2)).value) == 4


def test_futures__urgent_call_goes_first(tmp_path: Path) -> None:
    order: list[str] = []

    async def work(executor: DaskExecutor) -> None:
        def run(label: str, priority: int) -> asyncio.Task[Answer]:
            asked = replace(call("wait_for", path=str(tmp_path / "go"), label=label), priority=priority)
            return asyncio.create_task(executor.run(asked, lambda _: order.append(label)))

        async def known(n: int) -> None:
            await asyncio.to_thread(until, lambda: len(own_tasks(executor.on)) == n)

        tasks = [run(f"first-{n}", 5) for n in range(1)]
        await asyncio.to_thread(until, lambda: len(order) == 1)
        tasks += [run(f"ordinary-{n}", 5) for n in range(6)]
        await known(7)
        tasks += [run(f"urgent-{n}", 9) for n in range(2)]
        await known(9)
        (tmp_path / "go").touch()
        await asyncio.gather(*tasks)

    with start_cluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_port=0) as cluster:
        using(cluster.client, work)
    # the worker may have been handed one ordinary call ahead
    assert {"urgent-0", "urgent-1"} < set(order[1:4])


def test_futures__lost_worker_is_replaced_by_another(local: Cluster, tmp_path: Path) -> None:
    began: list[str] = []

    async def work(executor: DaskExecutor) -> int:
        asked = call("count_runs", folder=str(tmp_path), seconds=1)
        task = asyncio.create_task(executor.run(asked, began.append))
        (first,) = await asyncio.to_thread(until, lambda: list(tmp_path.iterdir()))
        child = int(first.name.split("-")[0])
        psutil.Process(child).parent().kill()  # type: ignore[union-attr]
        assert await asyncio.to_thread(gone, [child])
        return int(decode((await task).value))

    assert using(local.client, work) == 2
    assert len(began) == 2


def test_futures__too_large_is_refused_at_once(local: Cluster) -> None:
    asked = replace(call("double", x=1), memory_mb=1e9)
    with pytest.raises(
        ClusterError, match=r"1000000000 MB, and the largest worker declares \d+ MB"
    ) as caught:
        once(local.client, asked)
    assert not may_pass(caught.value)
    assert decode(once(local.client, replace(asked, memory_mb=10.0)).value) == 2


def test_futures__slots(local: Cluster) -> None:
    executor: Executor = DaskExecutor(local.client)
    assert executor.on is local.client
    assert until(lambda: executor.slots == 2)
    assert DaskExecutor(local.client, max_workers=1).slots == 1
    with pytest.raises(InputError, match="max_workers=0: a whole number >= 1"):
        DaskExecutor(local.client, max_workers=0)
    asyncio.run(executor.close())
    with pytest.raises(JobCancelled, match="its executor was closed"):
        asyncio.run(executor.run(call("double", x=1), lambda _: None))


def test_futures__events_name_the_job(local: Cluster) -> None:
    using(
        local.client,
        lambda executor: executor.run(replace(call("pid", label="900-1"), name="pta calc"), lambda _: None),
    )
    topics = local.client.run_on_scheduler(
        lambda dask_scheduler: {
            name: [message for _, message in events]
            for name, events in dask_scheduler.get_events().items()
            if name.startswith("tdmx-jobs:")
        }
    )
    events = [event for name, found in topics.items() for event in found if event["job"] == "900-1"]
    assert all(name.startswith(JOBS) for name in topics)
    assert [event["phase"] for event in events] == ["started", "ended"]
    assert events[0]["name"] == "pta calc"
    assert events[0]["pid"] > 1
    assert events[0]["key"].startswith("tdmx-job-pta-calc-900-1-")


def test_futures__client_that_dies_takes_its_calls_along(local: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(SCRIPT.replace("CLIENT", f"Client({local.client.scheduler.address!r})"))
    with _script(script, tmp_path / "pids", **in_environment(local.client, tmp_path)) as client:
        pids = pids_in(tmp_path / "pids")
        client.kill()
        assert gone(pids, 3)
    until(lambda: not own_tasks(local.client))


SCRIPT = """
import asyncio, sys
from distributed import Client
from tdmx_dask.api.clusters import cluster as start_cluster
from tdmx_dask.jobs.futures import DaskExecutor
from tests.jobs import functions
from tests.jobs.processes import call
if __name__ == "__main__":
    client = CLIENT
    print(client.scheduler.address, flush=True)
    asked = call("spawn_child", path=sys.argv[1], seconds=60)
    asyncio.run(DaskExecutor(client).run(asked, lambda _: None))
"""


def _script(script: Path, pids: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), str(pids)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def test_futures__cluster_that_dies_ends_every_wait(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(
        SCRIPT.replace("CLIENT", "start_cluster(n_workers=1, dashboard_port=0, tls=False).client")
    )
    with _script(script, tmp_path / "pids") as owner:
        assert owner.stdout is not None
        address = owner.stdout.readline().strip()
        pids = pids_in(tmp_path / "pids")
        with Client(address, timeout=2) as client:

            async def work(executor: DaskExecutor) -> None:
                task = asyncio.create_task(executor.run(call("sleep", seconds=60), lambda _: None))
                await asyncio.sleep(0.3)
                owner.kill()
                start = time.monotonic()
                with pytest.raises(ClusterError, match="the scheduler was lost") as caught:
                    await task
                assert may_pass(caught.value)
                with pytest.raises(ClusterError, match="the scheduler was lost"):
                    await executor.run(call("double", x=1), lambda _: None)
                assert time.monotonic() - start < 5

            using(client, work)
        assert gone(pids, 3)


def test_futures__closed_client_ends_every_wait(local: Cluster) -> None:
    client = Client(local.scheduler_address, security=local.client.security, set_as_default=False)

    async def work(executor: DaskExecutor) -> None:
        task = asyncio.create_task(executor.run(call("sleep", seconds=60), lambda _: None))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(client.close)
        with pytest.raises(ClusterError, match="the scheduler was lost"):
            await task

    using(client, work)


def test_futures__call_that_takes_its_workers_down_is_lost() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        start_cluster(n_workers=1, threads_per_worker=1, dashboard_port=0) as cluster,
        pytest.raises(JobLost, match=r"the worker died each time it was there \(1 times\)"),
    ):
        once(cluster.client, call("kill_parent"))


class UnreadableCall(Call):
    """Cannot be rebuilt where it arrives, as where another version of the package is."""

    def __reduce__(self) -> tuple[Any, ...]:
        return functions.fail, ("of another version",)


def test_futures__call_that_workers_cannot_read_is_no_hang(local: Cluster) -> None:
    asked = call("double", x=1)
    with pytest.raises(ClusterError, match=r"they cannot run the call .*Is the same version") as caught:
        once(local.client, UnreadableCall(asked.function, asked.arguments, asked.name, asked.label))
    assert not may_pass(caught.value)


def test_futures__workers_in_this_process(tmp_path: Path) -> None:
    async def work(executor: DaskExecutor) -> None:
        asked = call("spawn_child", path=str(tmp_path / "pids"), seconds=60)
        task = asyncio.create_task(executor.run(asked, lambda _: None))
        pids = await asyncio.to_thread(pids_in, tmp_path / "pids")
        assert os.getpid() not in pids
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task
        assert await asyncio.to_thread(gone, pids)
        assert decode((await executor.run(call("double", x=2), lambda _: None)).value) == 4

    with start_cluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_port=0) as cluster:
        using(cluster.client, work)
