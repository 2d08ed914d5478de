"""The queue on a real LocalCluster: the same answers, lost workers, a lost cluster."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.errors import ClusterError
from tests.jobs.processes import alive
from tests.jobs.test_queue import F, open_queue, until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2) as cluster:
        yield cluster


def test_priority_goes_to_the_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    with open_queue(tmp_path, on=cluster) as queue:
        job = queue.submit("sleep", {"seconds": 3}, priority=8)
        until(lambda: (queue.job(job).worker or "").startswith("tls://"))

        def priorities(dask_scheduler: object) -> list[int]:
            return [
                task.priority[0] for key, task in dask_scheduler.tasks.items() if key.startswith("tdmx-job")
            ]  # type: ignore[attr-defined]

        assert cluster.client.run_on_scheduler(priorities) == [-8]
        queue.cancel(job)
        until(lambda: cluster.client.run_on_scheduler(priorities) == [], 3)


def test_pta_and_batch__same_as_without(cluster: Cluster, store: Path, tmp_path: Path) -> None:
    question = {
        "regimens": ["1000 mg q8h inf 3h"],
        "targets": "T>MIC >= 50%",
        "mic": [1, 2, 4, 8],
        "subjects": 3,
        "seed": 4,
    }
    with open_queue(tmp_path, on=cluster) as queue:
        jobs = [
            queue.submit("pta_calculation", {"draws": store, **question, "seed": seed}, priority=seed)
            for seed in range(1, 6)
        ]
        batch = queue.submit(
            "batch_processing", {"function": f"{F}:double", "items": list(range(30))}, priority=3
        )
        assert queue.result(batch, timeout=60) == list(range(0, 60, 2))
        for seed, job in enumerate(jobs, 1):
            expected = tdmx.pta(store, **{**question, "seed": seed})
            assert (queue.result(job, timeout=60).n_attained == expected.n_attained).all()


def test_a_killed_worker__costs_time_only(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with open_queue(tmp_path, on=cluster) as queue:
        jobs = [
            queue.submit("count_runs", {"folder": str(tmp_path / "runs"), "seconds": 1}) for _ in range(4)
        ]
        until(lambda: len(list((tmp_path / "runs").iterdir())) >= 2)
        pids = cluster.client.run(os.getpid)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        states = queue.wait_all(jobs, timeout=60)
        assert set(states.values()) == {"completed"}


def test_timeout_and_cancel__end_the_processes_on_workers(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_queue(tmp_path, on=cluster) as queue:
        late = queue.submit(
            "spawn_child", {"path": str(tmp_path / "late"), "seconds": 60}, timeout=1.0, retries=0
        )
        gone = queue.submit("spawn_child", {"path": str(tmp_path / "gone"), "seconds": 60})
        until((tmp_path / "late").exists)
        until((tmp_path / "gone").exists)
        queue.cancel(gone)
        assert queue.wait_all([late, gone], timeout=30) == {late: "failed", gone: "cancelled"}
        pids = [int(pid) for name in ("late", "gone") for pid in (tmp_path / name).read_text().split()]
        until(lambda: not any(map(alive, pids)), 3)
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"], "nothing complains later"


def test_a_lost_cluster__gives_jobs_back_and_says_so(tmp_path: Path) -> None:
    with tdmx.cluster("local", n_workers=1, processes=False) as lost:
        queue = open_queue(tmp_path, on=lost)
        job = queue.submit("sleep", {"seconds": 5})  # longer than the cluster takes to end
        until(lambda: queue.status(job) == "running")
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"the cluster on which its jobs run is gone"):
        queue.result(job, timeout=60)
    assert time.monotonic() - started < 30
    until(lambda: queue.status(job) == "queued")
    queue.close()
    with open_queue(tmp_path, 1) as queue:
        assert queue.result(job, timeout=30) == 5
        assert queue.job(job).attempts == 2
