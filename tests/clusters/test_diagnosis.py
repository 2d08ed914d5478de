"""Why tasks wait is said in one line, with figures."""

from __future__ import annotations

import re
import time

import pytest
from distributed import Client, LocalCluster

from tdmx_dask.clusters.diagnosis import Group, Report, Snapshot, Worker, examine, explain
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.shape import Shape

BUSY = Worker("w0", "running", 1, {"MEM": 4000.0, "CPU": 1.0}, {"MEM": 3500.0, "CPU": 1.0}, running=1)
FITS = Group("tdmx-fit", 3, {"MEM": 1000.0}, (), "queued")
WAITS = BatchJob("7", state="waiting", reason="Priority: others come first")


@pytest.mark.parametrize(
    ("workers", "group", "jobs", "shape", "line", "never"),
    [
        ([BUSY], FITS, (), None, "3 tasks tdmx-fit: they wait their turn, MEM 3500 of 4000 MB is taken", False),
        ([BUSY], Group("tdmx-pta", 1), (), None, "1 task tdmx-pta: they wait their turn, all threads are taken", False),
        ([BUSY], Group("tdmx-fit", 1, {"MEM": 9000.0}), (), None,
         "1 task tdmx-fit can never run: each asks for MEM=9000 MB, and no worker has more than 4000 MB", True),
        ([BUSY], Group("tdmx-fit", 1, {"MEM": 9000.0}), (WAITS,), Shape("slurm", 4, 16000),
         "1 task tdmx-fit: they need a worker that is still to come; jobs wait in the queue: 1 (Priority: others come first)", False),
        ([], Group("tdmx-fit", 1, {"MEM": 9000.0}), (WAITS,), Shape("slurm", 4, 4000),
         "1 task tdmx-fit can never run: each asks for MEM=9000 MB, and no worker has more than 4000 MB", True),
        ([BUSY], Group("x", 1, {"GPU": 1.0}), (), None, "1 task x can never run: each asks for GPU=1, and no worker has more than 0", True),
        ([], FITS, (WAITS,), None, "3 tasks tdmx-fit: no worker is here; jobs wait in the queue: 1 (Priority", False),
        ([], FITS, (), None, "3 tasks tdmx-fit: no worker is here; none is on the way", False),
        ([], FITS, (BatchJob("7", state="running"),), None, "no worker is here; jobs have started", False),
        ([Worker("w0", "paused", 1, memory=950_000_000, limit=1_000_000_000)], Group("x", 2), (), None,
         "2 tasks x: all workers are paused, for their memory is full", False),
        ([Worker("w0", "closing_gracefully", 1)], Group("x", 2), (), None, "2 tasks x: all workers are leaving", False),
        ([BUSY], Group("x", 1, {}, ("tls://gone:1",), "no-worker"), (), None,
         "1 task x can never run: restricted to tls://gone:1, which is not here", True),
    ],
)  # fmt: skip
def test_explain__names_the_reason(
    workers: list[Worker],
    group: Group,
    jobs: tuple[BatchJob, ...],
    shape: Shape | None,
    line: str,
    never: bool,
) -> None:
    report = explain(Snapshot(tuple(workers), (group,)), jobs, shape)
    assert line in report.lines[0]
    assert bool(report.stuck) is never


def test_explain__workers_jobs_and_failures() -> None:
    workers = (
        Worker("w0", "running", 1, silent=40.0),
        Worker("w1", "paused", 1, memory=950_000_000, limit=1_000_000_000),
        Worker("w2", "closing_gracefully", 1),
        Worker("w3", "running", 1, silent=2.0),
    )
    jobs = (
        BatchJob("8", state="waiting", reason="PartitionTimeLimit: … it will never start"),
        BatchJob("9", state="gone", reason="FAILED; no module named tdmx_dask"),
        BatchJob("10", state="running"),
    )
    report = explain(Snapshot(workers, (), (("tdmx-pta", 2, "InputError('CL')"),)), jobs)
    assert report.stuck == (
        "job 8 will never start: PartitionTimeLimit: … it will never start. Scale down, and start with another profile",
    )
    assert [line.split(":")[0].split(" has been")[0] for line in report.lines[1:]] == [
        "worker w0", "worker w1 is paused", "worker w2 begins nothing more and leaves when what it runs has ended",
        "job 9", "2 tasks tdmx-pta failed",
    ]  # fmt: skip
    assert "950 of 1000 MB" in report.lines[2]
    assert explain(Snapshot((BUSY,), ())) == Report((), ())


def test_examine__a_real_scheduler() -> None:
    def wait_for(pattern: str) -> Report:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            report = examine(client)
            if any(re.search(pattern, line) for line in report.lines):
                return report
            time.sleep(0.1)
        raise AssertionError((pattern, report))

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            resources={"MEM": 1000},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        assert examine(client) == Report((), ())
        asks = {"MEM": 700}
        held = [client.submit(time.sleep, 3 + i / 1000, key=f"fits-{i}", resources=asks) for i in range(3)]
        report = wait_for(r"2 tasks fits: they wait their turn, MEM 700 of 1000 MB is taken")
        assert not report.stuck
        huge = client.submit(sum, [1], key="huge-1", resources={"MEM": 5000})
        report = wait_for(
            "1 task huge can never run: each asks for MEM=5000 MB, and no worker has more than 1000 MB"
        )
        assert len(report.stuck) == 1
        bad = client.submit(lambda: 1 / 0, key="bad-1")
        wait_for(r"1 task bad failed: ZeroDivisionError")
        del held, huge, bad
