"""Memory and cores of control groups, quotas and jobs; the split of a worker's share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tdmx_dask.clusters import resources
from tdmx_dask.clusters.resources import (
    available_cores,
    available_memory,
    get_memory_aware_workers,
    get_optimal_workers,
    split_share,
)
from tdmx_dask.errors import ClusterError, InputError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cgroups__version_2_the_least_of_a_group_and_those_above(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", "0::/slice/job/step\n")
    write(tmp_path / "fs/slice/memory.max", "4000000000\n")
    write(tmp_path / "fs/slice/job/memory.max", "3000000000\n")
    write(tmp_path / "fs/slice/job/memory.high", "2500000000\n")
    write(tmp_path / "fs/slice/job/step/memory.max", "max\n")
    write(tmp_path / "fs/slice/job/cpu.max", "250000 100000\n")
    write(tmp_path / "fs/slice/cpu.max", "max 100000\n")
    folders = resources._own_cgroups(tmp_path / "fs", tmp_path / "cgroup")
    assert min(resources._limits(folders)) == 2_500_000_000
    assert list(resources._quotas(folders)) == [2]


def test_cgroups__version_1_by_controller(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", "5:memory:/slurm/uid_0/job_7\n4:cpu,cpuacct:/slurm/uid_0/job_7\n")
    write(tmp_path / "fs/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(tmp_path / "fs/memory/slurm/uid_0/job_7/memory.limit_in_bytes", "700000000\n")
    write(tmp_path / "fs/cpu/slurm/uid_0/job_7/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / "fs/cpu/slurm/uid_0/job_7/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "fs/cpu/cpu.cfs_quota_us", "-1\n")
    folders = resources._own_cgroups(tmp_path / "fs", tmp_path / "cgroup")
    assert min(resources._limits(folders)) == 700_000_000
    assert list(resources._quotas(folders)) == [1]


def test_cgroups__in_a_container_the_path_of_the_host_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", "0::/kubepods/pod1\n")
    write(tmp_path / "fs/memory.max", "1000000000\n")
    folders = resources._own_cgroups(tmp_path / "fs", tmp_path / "cgroup")
    assert list(resources._limits(folders)) == [1_000_000_000]


def test_cgroups__none(tmp_path: Path) -> None:
    assert resources._own_cgroups(tmp_path, tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("environment", "memory", "cores"),
    [
        ({}, [], []),
        ({"SLURM_MEM_PER_NODE": "700", "SLURM_CPUS_ON_NODE": "4"}, [700 * 2**20], [4]),
        ({"SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "3"}, [1500 * 2**20], [3]),
        ({"SLURM_MEM_PER_NODE": "0", "SLURM_CPUS_PER_TASK": "2"}, [], [2]),
        ({"SLURM_MEM_PER_NODE": "2G"}, [], []),
    ],
)
def test_slurm__what_the_job_has(environment: dict[str, str], memory: list[int], cores: list[int]) -> None:
    assert list(resources._slurm_memory(environment)) == memory
    assert list(resources._slurm_cores(environment)) == cores


def test_available__never_more_than_the_machine() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    assert 0 < available_memory() <= psutil.virtual_memory().total


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_available_cores__of_a_process_bound_to_one() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});" \
        "from tdmx_dask.clusters.resources import available_cores; print(available_cores())"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("limit", [2**30, "1 GiB", "auto", 0.25])
def test_split_share__adds_up_to_the_share(limit: str | float) -> None:
    share = split_share(limit, 1)
    whole = {
        "auto": available_memory() / available_cores(),
        0.25: available_memory() / 4,
    }.get(limit, 2**30)
    assert share.arrays + share.fits_mb * 1e6 == pytest.approx(whole, abs=1e6 + 1)
    assert share.fits_mb * 1e6 <= share.arrays


def test_split_share__no_limit_of_arrays_still_limits_fits() -> None:
    share = split_share(0, 1)
    assert share.arrays == 0
    assert share.fits_mb == split_share("auto", 1).fits_mb


@pytest.mark.parametrize("limit", ["much", -5, "-1 GB"])
def test_split_share__refuses(limit: str | float) -> None:
    with pytest.raises(InputError, match="memory_limit="):
        split_share(limit, 1)


def test_get_optimal_workers() -> None:
    assert get_optimal_workers(reserve_cores=0) == available_cores()
    assert get_optimal_workers() == max(1, available_cores() - 1)
    assert get_optimal_workers(reserve_cores=10_000) == 1
    assert get_optimal_workers(1, reserve_cores=0) == 1
    with pytest.raises(InputError, match="n_tasks=0"):
        get_optimal_workers(0)
    with pytest.raises(InputError, match="reserve_cores=-1"):
        get_optimal_workers(reserve_cores=-1)


def test_get_memory_aware_workers() -> None:
    assert get_memory_aware_workers(1, reserve_cores=0) == available_cores()
    free = psutil.virtual_memory().available / 1e6
    assert get_memory_aware_workers(free * 0.8, reserve_cores=0) == 1
    with pytest.raises(ClusterError, match=r"a task needs \d+ MB, and \d+ MB are free"):
        get_memory_aware_workers(free * 10)
    with pytest.raises(InputError, match="memory_per_task=0"):
        get_memory_aware_workers(0)
