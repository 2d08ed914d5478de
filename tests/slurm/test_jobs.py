"""Jobs of a real SLURM: submitted, kept up, replaced, ended; and refused in SLURM's own words."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import KilledWorker

import tdmx_dask as tdmx
from tdmx_dask.clusters import keeper
from tdmx_dask.errors import ClusterError
from tests.slurm.controller import Slurm, until

QUESTION: dict[str, Any] = {"mic": tuple(2.0**k for k in range(-3, 6)), "subjects": 20, "seed": 3}
REGIMEN, TARGET = "1000 mg q8h inf 3h", "T>MIC >= 50%"
LONG: dict[str, Any] = {**QUESTION, "subjects": 4000, "chunk_size": 1024}

# a job that is killed leaves the sockets of its worker to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


def job_of() -> str:
    return os.environ["SLURM_JOB_ID"]


def test_memory__a_task_that_takes_too_much_is_an_error_and_others_go_on(options: dict[str, Any]) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        tdmx.cluster("slurm", jobs=1, **options) as cluster,
    ):
        cluster.wait_for_workers(1, timeout=60)
        with pytest.raises(KilledWorker):  # its nanny ends it before SLURM would
            cluster.client.submit(bytes.__mul__, b"x", 800 * 2**20).result(timeout=60)
        assert cluster.client.submit(sum, [1, 2]).result(timeout=60) == 3


def test_memory__a_job_that_slurm_kills_for_it_is_replaced_and_its_task_done_again(
    options: dict[str, Any], slurm: Slurm
) -> None:
    # On a busy machine the nanny starts its worker anew some times before SLURM has ended all of the job.
    often = dask.config.set({"distributed.scheduler.allowed-failures": 50})
    with often, tdmx.cluster("slurm", jobs=1, **options) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        (first,) = (job.id for job in cluster.jobs)
        task = cluster.client.submit(_unless_on, first)
        # in the nanny: SLURM without control groups does not see processes whose names have a space, as Dask's workers have
        cluster.client.run(_grow, nanny=True, wait=False)
        assert task.result(timeout=90) != first
        assert "exceeded memory limit" in _log_of(options, first)


def test_worker__that_dies_again_and_again_keeps_its_job(options: dict[str, Any], slurm: Slurm) -> None:
    """Dask looks once for a lost worker, here after each death while its nanny starts the next, and would cancel the job."""
    soon = {"distributed.deploy.lost-worker-timeout": "100ms", "distributed.scheduler.allowed-failures": 50}
    with dask.config.set(soon), tdmx.cluster("slurm", jobs=1, **options) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        jobs = slurm.jobs("R")
        for _ in range(2):
            (pid,) = cluster.client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            until(
                lambda pid=pid: cluster.client.submit(os.getpid, pure=False).result(60) != pid,
                60,
                "another process",
            )
        assert slurm.jobs("R") == jobs


def test_worker__that_does_not_come_back_gives_its_job_up(
    options: dict[str, Any], slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "AWAY", 3.0)
    with tdmx.cluster("slurm", jobs=1, **options) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        (first,) = slurm.jobs("R")
        time.sleep(3 * keeper.PERIOD)  # until it was seen
        (nanny,) = cluster.client.run(os.getpid, nanny=True).values()
        (worker,) = cluster.client.run(os.getpid).values()
        os.kill(nanny, signal.SIGSTOP)  # it starts no other
        os.kill(worker, signal.SIGKILL)
        until(lambda: slurm.jobs("R") not in ([], [first]), 60, "another job")
        assert cluster.client.submit(sum, [1, 2]).result(60) == 3


async def _grow() -> None:
    held = b"x" * (1500 * 2**20)
    await asyncio.sleep(60)
    del held


def _unless_on(job: str) -> str:
    """The job on which this runs; on the given one it does not end by itself."""
    while job_of() == job:
        time.sleep(0.1)
    return job_of()


def _log_of(options: dict[str, Any], job: str) -> str:
    return (Path(options["log_directory"]) / f"tdmx-{job}.err").read_text()


def test_adaptive__follows_the_work_from_nothing_and_back(options: dict[str, Any], slurm: Slurm) -> None:
    earlier = _states(slurm)
    with tdmx.cluster("slurm", maximum_jobs=2, **options) as cluster:
        assert slurm.jobs() == []
        tasks = cluster.client.map(
            time.sleep, [0.5 + i / 1000 for i in range(40)], key="tdmx-fit", resources={"MEM": 100}
        )
        until(lambda: len(slurm.jobs("R")) == 2, 60, "two jobs")
        cluster.client.gather(tasks)
        del tasks
        until(lambda: not slurm.jobs(), 60, "no jobs")
        until(lambda: "COMPLETING" not in _states(slurm).values(), 30, "jobs to be over")
        ended = [state for job, state in _states(slurm).items() if job not in earlier]
        assert len(ended) >= 2
        assert "FAILED" not in ended


def _states(slurm: Slurm) -> dict[str, str]:
    """How all jobs ended that the controller remembers, by number."""
    said = slurm.call("scontrol", "show", "job", "-o")
    return dict(re.findall(r"JobId=(\d+) .*?JobState=(\w+)", said))


def test_waiting__says_why_and_a_cancelled_one_is_submitted_again(
    options: dict[str, Any], slurm: Slurm
) -> None:
    with tdmx.cluster("slurm", jobs=1, **{**options, "queue": "closed"}) as cluster:
        with pytest.raises(
            ClusterError,
            match=r"workers=0: 1 were waited for during 3 s; 0 of 1 workers are here; 1 job waits in the queue \(.*Partition",
        ):
            cluster.wait_for_workers(1, timeout=3)
        (job,) = cluster.jobs
        assert job.state == "waiting"
        slurm.call("scancel", job.id)
        until(lambda: {j.id for j in cluster.jobs if j.state == "waiting"} - {job.id}, 20, "another job")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queue": "none"}, "invalid partition specified: none"),
        (
            {"memory": "1 TiB"},
            "Requested node configuration is not available|Memory specification can not be satisfied",
        ),
        ({"directives": ["--no-such-option"]}, "unrecognized option"),
        ({"maximum_jobs": 2, "queue": "none"}, "invalid partition"),
    ],
)
def test_refused__in_slurms_own_words(
    options: dict[str, Any], shared: Path, change: dict[str, Any], message: str
) -> None:
    keys = set(shared.glob("keys-*"))
    with pytest.raises(
        ClusterError, match=rf"cluster=slurm: the batch scheduler refused the job: .*({message})"
    ):
        tdmx.cluster("slurm", **{**options, **change})
    assert set(shared.glob("keys-*")) == keys


def test_broken__jobs_that_end_at_once_are_not_submitted_for_ever(options: dict[str, Any]) -> None:
    with tdmx.cluster(
        "slurm", jobs=1, **{**options, "prologue": ["echo no python here >&2; exit 3"]}
    ) as cluster:
        until(lambda: sum(job.state == "gone" for job in cluster.jobs) == 3, 60, "three failures")
        time.sleep(3)
        jobs = cluster.jobs
        assert len(jobs) == 3
        assert all("no python here" in job.reason for job in jobs)


def test_walltime__a_cohort_outlives_its_job_and_no_fit_runs_twice(
    options: dict[str, Any], tmp_path: Path
) -> None:
    drained: list[Any] = []
    short = {**options, "walltime": "00:01:00", "longest_task": 48}  # begins to leave after 12 s
    with tdmx.cluster("slurm", jobs=1, **short) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        cluster.client.subscribe_topic("tdmx-walltime", lambda event: drained.append(event[1]))
        began = time.monotonic()
        patient, fits = tdmx.read_patient("meropenem_tdm"), 0
        while not drained or fits < 20:
            assert time.monotonic() - began < 60
            futures = [
                tdmx.fit_async(patient, seed=seed, chains=1, library=tmp_path / "fits", on=cluster)
                for seed in range(fits, fits + 10)
            ]
            assert all(future.result().draws.sizes["draw"] == 1000 for future in futures)
            fits += 10
        log = cluster.client.run_on_scheduler(
            lambda dask_scheduler: [
                entry[:3] for entry in dask_scheduler.transition_log if "tdmx-fit" in str(entry[0])
            ]
        )
        done = Counter(key for key, start, finish in log if (start, finish) == ("processing", "memory"))
        assert len(done) >= fits  # a fit whose chains did not agree had another try
        assert set(done.values()) == {1}
    assert drained[0]["does"] == "drains"
