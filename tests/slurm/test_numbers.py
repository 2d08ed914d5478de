"""On jobs of a real SLURM: the same numbers, under TLS, whatever happens to a job; and nobody else let in."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import psutil
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.worker import MARGIN
from tests.slurm.controller import Slurm, until

QUESTION: dict[str, Any] = {"mic": tuple(2.0**k for k in range(-3, 6)), "subjects": 20, "seed": 3}
REGIMEN, TARGET = "1000 mg q8h inf 3h", "T>MIC >= 50%"
LONG: dict[str, Any] = {**QUESTION, "subjects": 4000, "chunk_size": 1024}

# a job that is killed leaves the sockets of its worker to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def two(slurm: Slurm, options: dict[str, Any]) -> Iterator[Cluster]:
    """Two jobs, one on each node or both on one."""
    with tdmx.cluster("slurm", jobs=2, **options) as cluster:
        cluster.wait_for_workers(2, timeout=60)
        yield cluster


@pytest.fixture(scope="module")
def here(store: Path) -> xr.Dataset:
    """The same question, answered without a cluster."""
    return tdmx.pta(store, REGIMEN, TARGET, run="direct", **QUESTION)


def job_of() -> str:
    return os.environ["SLURM_JOB_ID"]


def test_pta__same_numbers_under_tls_on_two_jobs(
    two: Cluster, slurm: Slurm, store: Path, here: xr.Dataset
) -> None:
    assert two.scheduler_address.startswith("tls://127.0.0.1:")
    found = tdmx.pta(store, REGIMEN, TARGET, on=two, chunk_size=1024, **QUESTION)
    np.testing.assert_array_equal(found["n_attained"], here["n_attained"])
    assert sorted(two.client.run(job_of).values()) == sorted(slurm.jobs("R"))
    assert (
        dask.config.get("distributed.scheduler.default-task-durations")["tdmx-fit"] == "10m"
    )  # read while the cluster runs
    jobs = two.jobs
    assert [job.state for job in jobs] == ["running", "running"]
    assert {job.node for job in jobs} <= {"n1", "n2"}
    assert all(job.seconds_left is not None and 400 < job.seconds_left <= 600 for job in jobs)


def test_cores__of_one_job_all_work(options: dict[str, Any], store: Path, here: xr.Dataset) -> None:
    with tdmx.cluster("slurm", jobs=1, **{**options, "cores": 2}) as cluster:
        cluster.wait_for_workers(1, timeout=60)
        found = tdmx.pta(store, REGIMEN, TARGET, on=cluster, chunk_size=1024, **QUESTION)
        np.testing.assert_array_equal(found["n_attained"], here["n_attained"])
        (children,) = cluster.client.run(_children).values()
        assert len(children) == 2
        assert sum(children) < 0.4 * 2**30  # of the job's GiB


def test_fits__same_draws_and_placed_by_the_jobs_memory(two: Cluster, tmp_path: Path) -> None:
    declared = two.client.run(
        lambda dask_worker: (dask_worker.state.total_resources, dask_worker.memory_manager.memory_limit)
    )
    for resources, limit in declared.values():
        assert resources == {"MEM": float(int(MARGIN * 2**30 * 0.5) // 10**6), "CPU": 1.0}
        assert limit == int(MARGIN * 2**30) - int(int(MARGIN * 2**30) * 0.5)
    settings = {"seed": 5, "chains": 2, "iter_warmup": 200, "iter_sampling": 200}
    there = tdmx.fit("meropenem_tdm", on=two, library=tmp_path / "there", **settings)
    local = tdmx.fit("meropenem_tdm", library=tmp_path / "here", **settings)
    for name in local.draws.data_vars:
        np.testing.assert_array_equal(there.draws[name], local.draws[name])


def test_listeners__loopback_alone_and_no_stranger(two: Cluster, slurm: Slurm, shared: Path) -> None:
    workers = two.client.run(os.getpid).values()
    for pid in [os.getpid(), *workers]:
        process = psutil.Process(pid)
        for each in [process, *([process.parent()] if pid != os.getpid() else [])]:
            for connection in each.net_connections("inet"):
                assert connection.status != psutil.CONN_LISTEN or connection.laddr.ip == "127.0.0.1", (
                    connection
                )
    (keys,) = shared.glob("keys-*")
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    script = two.job_script()
    assert str(keys) in script
    assert "BEGIN" not in script


def _children() -> list[int]:
    """Memory of the processes in which a worker's blocks run, bytes each."""
    found = [
        child for child in psutil.Process().children() if "tdmx_dask.jobs.child" in " ".join(child.cmdline())
    ]
    return [child.memory_info().rss for child in found]


STRANGER = """
import sys
from distributed import Client
address, key = sys.argv[1:]
try:
    open(key)
    sys.exit("the key can be read")
except PermissionError:
    print("no key")
for scheme in ("tls://", "tcp://"):
    try:
        Client(scheme + address, timeout="2s")
        sys.exit("joined by " + scheme)
    except (OSError, TypeError, TimeoutError, ValueError):
        print("not joined")
"""


def test_stranger__another_user_neither_joins_nor_reads_the_key(
    two: Cluster, shared: Path, tmp_path: Path
) -> None:
    (key,) = shared.glob("keys-*/key.pem")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", STRANGER]
    if subprocess.run(
        [*command[:4], sys.executable, "-c", "import distributed"], capture_output=True, check=False
    ).returncode:
        pytest.skip("another user cannot read this Python environment")
    done = subprocess.run(
        [*command, two.scheduler_address.removeprefix("tls://"), str(key)],
        capture_output=True, text=True, timeout=60, check=False, cwd="/", env={**os.environ, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["no key", "not joined", "not joined"]
    assert two.client.submit(sum, [1, 2]).result(timeout=10) == 3


def test_scancel__in_the_midst_changes_no_number(two: Cluster, slurm: Slurm, store: Path) -> None:
    before = {job.id for job in two.jobs}
    victim = min(before)
    seen: list[int] = []

    def watch(done: int, total: int) -> None:
        if not seen:
            slurm.call("scancel", victim)
        seen.append(done)

    found = tdmx.pta(store, REGIMEN, TARGET, on=two, progress=watch, **LONG)
    again = tdmx.pta(store, REGIMEN, TARGET, run="threads", **LONG)
    np.testing.assert_array_equal(found["n_attained"], again["n_attained"])
    until(lambda: two.n_workers == 2, 30, "a job in place of the cancelled one")
    now = {job.id for job in two.jobs}
    assert victim not in now
    assert len(now) == 2
