"""A worker takes no more than its job has, keeps to itself, and says in one line what was asked for wrongly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from tdmx_dask.clusters.worker import MARGIN, Node, end_of_job, plan, prepare
from tdmx_dask.errors import InputError

NODE = Node(cores=8, memory=16 * 10**9)
COMMAND = [sys.executable, "-m", "tdmx_dask.clusters.worker"]


def test_plan__the_smaller_of_asked_and_real() -> None:
    assert plan(NODE, cores=4, memory=10**9, fits_share=0.5).threads == 4
    assert plan(NODE, cores=64, memory=None, fits_share=0.5).threads == 8
    little = plan(NODE, cores=None, memory=10**9, fits_share=0.25)
    assert little.fits_mb == int(0.25 * MARGIN * 10**3)
    much = plan(NODE, cores=None, memory=10**12, fits_share=0.5)
    assert much.arrays + much.fits_mb * 10**6 <= MARGIN * NODE.memory


def test_end__slurms_word_wins_over_the_walltime() -> None:
    assert end_of_job({"SLURM_JOB_END_TIME": "1500"}, 100.0, born=1000.0) == 1500.0
    assert end_of_job({"SLURM_JOB_END_TIME": "900"}, 100.0, born=1000.0) == 1100.0  # of another job
    assert end_of_job({"SLURM_JOB_END_TIME": "soon"}, 100.0, born=1000.0) == 1100.0
    assert end_of_job({}, None, born=1000.0) is None


def test_prepare__scratch_of_its_owner_alone_below_a_variable_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_SCRATCH", str(tmp_path / "fast"))
    before = os.umask(0)
    try:
        start = prepare(["tls://h:1", "--scratch", "$NODE_SCRATCH/mine"], os.environ, NODE)
    finally:
        os.umask(before)
    assert start.scratch.parent == tmp_path / "fast" / "mine"
    assert stat.S_IMODE(start.scratch.stat().st_mode) == 0o700
    assert start.line[start.line.index("--local-directory") + 1] == str(start.scratch)


def test_prepare__what_the_job_script_says_of_limits_is_replaced(tmp_path: Path) -> None:
    said = [
        "tls://h:1",
        "--nthreads",
        "99",
        "--memory-limit",
        "1 TiB",
        "--local-directory",
        "/x",
        "--name",
        "n",
    ]
    start = prepare(said, {"TMPDIR": str(tmp_path)}, NODE)
    line = list(start.line)
    assert line.count("--nthreads") == line.count("--memory-limit") == line.count("--local-directory") == 1
    assert line[line.index("--nthreads") + 1] == "8"
    assert line[line.index("--dashboard-address") + 1] == "127.0.0.1:0"
    assert line[line.index("--name") + 1] == "n"
    assert "--preload" not in line  # nobody said when it ends
    assert start.scratch.parent == tmp_path


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--cores", "0"], "cores=0: the number of cores is a whole number"),
        (["--memory", "5x"], "memory=5x: an amount of memory is"),
        (["--fits-share", "2"], "fits-share=2: "),
        (["--until", "-3"], "until=-3: a time is"),
        (["--scratch", "$TDMX_UNSET/x"], "it names a variable that is not set on this node"),
    ],
)
def test_prepare__refuses_what_is_out_of_range(option: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("$", r"\$")):
        prepare(["tls://h:1", *option], {}, NODE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tcp://127.0.0.1:1", "--cores", "0"], "cores=0"),
        (["tcp://127.0.0.1:1", "--bogus", "3"], "--bogus"),
        ([], "Need to provide scheduler address"),
    ],
)
def test_main__a_wrong_option_is_one_line_and_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("tdmx worker: "))
    assert message in line
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_main__a_worker_declares_its_limits_and_cleans_up(tmp_path: Path) -> None:
    options = ["--memory", "500 MB", "--cores", "1", "--fits-share", "0.4", "--scratch", str(tmp_path / "s")]
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        process = subprocess.Popen([*COMMAND, cluster.scheduler_address, *options], stderr=subprocess.DEVNULL)
        try:
            client.wait_for_workers(1, timeout=30)
            (worker,) = client.scheduler_info()["workers"].values()
            assert worker["resources"] == {"MEM": 190.0, "CPU": 1.0}
            assert worker["nthreads"] == 1
            assert worker["memory_limit"] == 285_000_000
            (scratch,) = (tmp_path / "s").iterdir()
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
            listening: Any = client.run(lambda dask_worker: dask_worker.http_server.address)
            assert set(listening.values()) == {"127.0.0.1"}
            process.terminate()
            process.wait(30)
        finally:
            process.kill()
            process.wait()
    end = time.monotonic() + 5
    while list((tmp_path / "s").iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    assert list((tmp_path / "s").iterdir()) == []
