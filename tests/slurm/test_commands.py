"""Commands on a real SLURM: one that starts a cluster for itself, one that stays, one inside an allocation; an empty queue after each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.slurm.controller import Slurm, until

QUESTION: dict[str, Any] = {"mic": tuple(2.0**k for k in range(-3, 6)), "subjects": 20, "seed": 3}
REGIMEN, TARGET = "1000 mg q8h inf 3h", "T>MIC >= 50%"
LONG: dict[str, Any] = {**QUESTION, "subjects": 4000, "chunk_size": 1024}

# a job that is killed leaves the sockets of its worker to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


TDMX = str(Path(sys.executable).with_name("tdmx"))
SMALL = """
name: small
n: 200000
fu: 0.98
population: {model: 1C, parameters: {CL: 8, Vc: 20}, bsv: {CL: {cv: 0.3}}}
regimens: [1 g q8h inf 3h]
targets: fT>MIC >= 50%
mic: 0.5..16
"""


@pytest.fixture
def site(options: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with a study, and with a site's profile in mine.yaml."""
    (tmp_path / "small.yaml").write_text(SMALL)
    lines = [f"{key}: {value if isinstance(value, int) else repr(value)}" for key, value in options.items()]
    (tmp_path / "mine.yaml").write_text("\n".join(["kind: slurm", *lines, ""]))
    return tmp_path


def _counts(out: Path) -> str:
    return (out / "pta.csv").read_text()


def test_command__run_on_slurm_leaves_nothing(
    site: Path, slurm: Slurm, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = set(shared.glob("keys-*"))
    subprocess.run([TDMX, "run", "small.yaml", "--out", "here", "--quiet"], cwd=site, check=True)
    began = time.time()
    subprocess.run(
        [TDMX, "run", "small.yaml", "--out", "there", "--on", "mine.yaml", "--quiet"],
        cwd=site,
        check=True,
        timeout=120,
    )
    took = time.time() - began
    assert _counts(site / "there") == _counts(site / "here")
    until(lambda: not set(slurm.jobs()), 15, "an empty queue")
    assert set(shared.glob("keys-*")) == keys
    last = slurm.call("scontrol", "show", "job", "-o").splitlines()[-1]
    times = {
        key: time.mktime(time.strptime(value, "%Y-%m-%dT%H:%M:%S"))
        for key, value in re.findall(r"(SubmitTime|StartTime)=(\S+)", last)
    }
    with capsys.disabled():
        print(
            f"\n  tdmx run --on slurm: {took:.1f} s in all, of which SLURM's wait {times['StartTime'] - times['SubmitTime']:.0f} s"
        )


def test_command__interrupt_cancels_the_jobs(site: Path, slurm: Slurm, shared: Path) -> None:
    keys = set(shared.glob("keys-*"))
    (site / "long.yaml").write_text(SMALL.replace("200000", "500000000"))
    running = subprocess.Popen(
        [TDMX, "run", "long.yaml", "--on", "mine.yaml"],
        cwd=site,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: slurm.jobs("R"), 60, "a job")
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    until(lambda: not set(slurm.jobs()), 15, "an empty queue")
    assert set(shared.glob("keys-*")) == keys


def test_command__a_started_cluster_is_joined_by_name(site: Path, slurm: Slurm) -> None:
    environment = {**os.environ, "DASK_TDMX__POOLS_FOLDER": str(site / "pools")}

    def tdmx_(*arguments: str) -> str:
        done = subprocess.run(
            [TDMX, *arguments],
            cwd=site,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    tdmx_("cluster", "start", "mine.yaml", "--name", "ward", "--jobs", "2")
    try:
        tdmx_("run", "small.yaml", "--out", "there", "--on", "ward", "--quiet")
        until(lambda: len(slurm.jobs("R")) == 2, 30, "two jobs")
        assert "ward" in tdmx_("cluster", "status", "ward")
        tdmx_("cluster", "scale", "ward", "1")
        until(lambda: len(slurm.jobs()) == 1, 30, "one job")
    finally:
        tdmx_("cluster", "stop", "ward")
    subprocess.run([TDMX, "run", "small.yaml", "--out", "here", "--quiet"], cwd=site, check=True)
    assert _counts(site / "there") == _counts(site / "here")
    until(lambda: not slurm.jobs(), 15, "an empty queue")


@pytest.fixture
def batch(slurm: Slurm, shared: Path) -> dict[str, str]:
    """Environment of a batch job whose tasks find each other."""
    return {
        **os.environ,
        "DASK_TDMX__CLUSTERS__BATCH__INTERFACE": "lo",
        "DASK_TDMX__CLUSTERS__BATCH__SHARED_FOLDER": str(shared),
        "PATH": os.pathsep.join((str(Path(TDMX).parent), os.environ["PATH"])),
    }


SIZES = ["--cpus-per-task=1", "--mem-per-cpu=700M", "-o", "job.out"]
BATCH = Path(__file__).parents[2] / "deploy" / "slurm" / "batch.sh"


def _ended(slurm: Slurm, site: Path, batch: dict[str, str], *words: str, script: str | None = None) -> str:
    """Exit code of a batch job of four tasks, as SLURM writes it; `sbatch --wait` looks for the end at ever longer intervals."""
    command = ["sbatch", "--parsable", "--ntasks=4", *SIZES, *words]
    job = subprocess.check_output(command, input=script, cwd=site, env=batch, timeout=20, text=True).strip()
    until(lambda: job not in slurm.jobs(), 120, "the end of the job")
    (code,) = re.findall(r"ExitCode=(\S+)", slurm.call("scontrol", "show", "job", "-o", job))
    return str(code)


def test_batch__all_inside_one_allocation(
    site: Path, slurm: Slurm, shared: Path, batch: dict[str, str]
) -> None:
    assert _ended(slurm, site, batch, str(BATCH), "small.yaml", "--out", "there") == "0:0"
    subprocess.run([TDMX, "run", "small.yaml", "--out", "here", "--quiet"], cwd=site, check=True)
    assert _counts(site / "there") == _counts(site / "here")
    said = (site / "job.out").read_text()
    assert "on 2 cluster threads" in said
    assert "Traceback" not in said
    assert not list(shared.glob("batch-*"))


def test_batch__a_task_that_comes_when_all_is_done_ends_with_the_others(
    site: Path, slurm: Slurm, shared: Path, batch: dict[str, str]
) -> None:
    late = 'if [ "$SLURM_PROCID" = 3 ]; then until [ -e there/report.html ]; do sleep 0.1; done; fi'
    script = f"#!/bin/bash\nsrun -K1 bash -c '{late}; exec tdmx run small.yaml --out there --on batch'\n"
    assert _ended(slurm, site, batch, script=script) == "0:0"
    said = (site / "job.out").read_text()
    assert "Results: there" in said
    assert "rror" not in said
    assert not list(shared.glob("batch-*"))


def test_batch__wrong_input_is_said_once_and_ends_the_job(
    site: Path, slurm: Slurm, shared: Path, batch: dict[str, str]
) -> None:
    code = _ended(slurm, site, batch, str(BATCH), "nowhere.yaml")
    assert code != "0:0"  # the highest of all tasks, of which SLURM kills the slow ones
    said = (site / "job.out").read_text()
    assert "task 1: Exited with exit code 2" in said
    assert said.count("nowhere.yaml") == 1
    assert "Traceback" not in said
    assert "fault in tdmx" not in said
    assert not list(shared.glob("batch-*"))


def test_batch__a_client_that_dies_gives_the_allocation_back(
    site: Path, slurm: Slurm, shared: Path, batch: dict[str, str]
) -> None:
    (site / "long.yaml").write_text(SMALL.replace("200000", "2000000000"))
    script = (
        "#!/bin/bash\nsrun tdmx run long.yaml --out there --on batch\n"  # not told to end all tasks with one
    )
    subprocess.run(
        ["sbatch", "--ntasks=3", *SIZES],
        input=script,
        cwd=site,
        env=batch,
        check=True,
        text=True,
        timeout=20,
    )
    until(lambda: list(shared.glob("batch-*/scheduler.json")), 60, "the scheduler")
    (record,) = shared.glob("batch-*/scheduler.json")
    port = int(json.loads(record.read_text())["address"].rpartition(":")[2])

    def joined() -> list[psutil.Process]:
        found = [each for each in psutil.process_iter() if _environment_of(each).get("SLURM_PROCID") == "1"]
        return [each for each in found if "long.yaml" in _words_of(each) and _is_connected(each, port)]

    until(joined, 60, "the client")
    time.sleep(2)  # blocks run
    (client,) = joined()
    client.kill()
    until(lambda: not slurm.jobs(), 60, "an empty queue")
    assert "the client's task is gone; the other tasks end" in (site / "job.out").read_text()
    assert not list(shared.glob("batch-*"))


def _is_connected(process: psutil.Process, port: int) -> bool:
    try:
        return any(each.raddr and each.raddr.port == port for each in process.net_connections("inet"))
    except psutil.Error:
        return False


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
