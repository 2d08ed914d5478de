"""Whoever dies: the same numbers or one clear error within seconds, and nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.config
import numpy as np
import psutil
import pytest
import xarray as xr

import tdmx_dask as tdmx
from tdmx_dask.api.pool_start import start
from tdmx_dask.api.pool_stop import stop
from tdmx_dask.api.pools import Pool, find
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.errors import ClusterError, TdmxError

TDMX = str(Path(sys.executable).with_name("tdmx"))
REGIMEN, TARGET = "1000 mg q8h inf 3h", "T>MIC >= 50%"
LONG: dict[str, Any] = {"mic": (0.5, 1.0, 2.0, 4.0), "subjects": 1500, "seed": 7, "chunk_size": 1024}

# what is killed leaves sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def expected(store: Path) -> xr.Dataset:
    return tdmx.pta(store, REGIMEN, TARGET, run="threads", **LONG)


@pytest.fixture
def two() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2, threads_per_worker=1, dashboard_port=0) as cluster:
        yield cluster


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A scheduler and two workers that outlive nobody here."""
    with dask.config.set({"tdmx.pools-folder": str(tmp_path / "pools")}):
        yield start("local", {"n_workers": 2, "threads_per_worker": 1, "dashboard_port": 0}, name="faults")
        stop("faults", force=True)


def once(done: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress callback that does something when the first blocks are counted."""
    called: list[int] = []

    def watch(n: int, _: int) -> None:
        if not called:
            called.append(n)
            done()

    return watch


def until(true: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def nanny_of(pid: int) -> int:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent.pid


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_worker__that_dies_in_the_midst_changes_no_number(
    two: Cluster, store: Path, expected: xr.Dataset, sign: signal.Signals
) -> None:
    victim = min(two.client.run(os.getpid).values())
    kill, seen = once(lambda: os.kill(victim, sign)), []

    def watch(done: int, total: int) -> None:
        kill(done, total)
        seen.append((done, total))

    found = tdmx.pta(store, REGIMEN, TARGET, on=two, progress=watch, **LONG)
    assert seen[-1] == (6000 * LONG["subjects"],) * 2
    np.testing.assert_array_equal(found["n_attained"], expected["n_attained"])
    until(lambda: two.n_workers == 2, 15)  # its nanny starts another
    assert victim not in two.client.run(os.getpid).values()


def test_pool__both_processes_of_a_worker_die(pool: Pool, store: Path, expected: xr.Dataset) -> None:
    joined = find("faults")
    assert joined is not None
    with joined:
        workers = psutil.Process(pool.record.pid).children()
        worker = max(workers, key=lambda each: each.create_time())

        def kill() -> None:
            for process in worker.children(recursive=True):
                process.kill()
            worker.kill()

        found = tdmx.pta(store, REGIMEN, TARGET, on=joined, progress=once(kill), **LONG)
        np.testing.assert_array_equal(found["n_attained"], expected["n_attained"])


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What tdmx logs. Dask silences all stream handlers, caplog's too, while a cluster is there."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, handler = logging.getLogger("tdmx_dask"), Lines()
    log.addHandler(handler)
    yield lines
    log.removeHandler(handler)


def test_workers__that_are_all_gone_are_waited_for(
    two: Cluster, store: Path, expected: xr.Dataset, said: list[str]
) -> None:
    def away() -> None:
        two.scale(0)
        until(lambda: two.n_workers == 0, 30)  # meanwhile nothing more is sent

        def back() -> None:
            try:
                until(lambda: any(line.startswith("waiting for workers: 0 of ") for line in said), 60)
            finally:
                two.scale(2)

        threading.Thread(target=back).start()

    found = tdmx.pta(store, REGIMEN, TARGET, on=two, progress=once(away), **LONG)
    np.testing.assert_array_equal(found["n_attained"], expected["n_attained"])
    until(lambda: said[-1:] == ["workers are here again: going on"], 10)


def test_scheduler__that_dies_is_an_error_within_seconds(pool: Pool, store: Path) -> None:
    joined = find("faults")
    assert joined is not None
    died: list[float] = []

    def kill() -> None:
        os.kill(pool.record.pid, signal.SIGKILL)
        died.append(time.monotonic())

    with joined, pytest.raises(ClusterError, match="the scheduler was lost"):
        tdmx.pta(store, REGIMEN, TARGET, on=joined, progress=once(kill), **LONG)
    assert time.monotonic() - died[0] < 15


def test_command__exits_4_when_its_cluster_dies(pool: Pool, tmp_path: Path) -> None:
    study = (
        "name: long\nn: 40000000\nseed: 3\nfu: 0.98\n"
        "population: {model: 1C, parameters: {CL: 8, Vc: 20}, bsv: {CL: {cv: 0.3}}}\n"
        "regimens: [1 g q8h inf 3h]\ntargets: fT>MIC >= 50%\nmic: 0.5..16\n"
    )
    (tmp_path / "long.yaml").write_text(study)
    environment = {**os.environ, "DASK_TDMX__POOLS_FOLDER": str(tmp_path / "pools")}

    def run(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [TDMX, "run", "long.yaml", "--out", "out", *more], cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    running = run("--on", "faults")
    until(_busy, 30)
    os.kill(pool.record.pid, signal.SIGKILL)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 4, said
    assert "Traceback" not in said
    assert "the scheduler was lost. Start it again, and resume." in said


def _busy() -> bool:
    try:
        joined = find("faults")
    except TdmxError:
        return False
    if joined is None:
        return False
    with joined:
        return any(joined.client.processing().values())


CLIENT = """
import sys
import tdmx_dask as tdmx
from tdmx_dask.api.pools import find
if __name__ == "__main__":
    tdmx.pta(sys.argv[1], "1 g q8h inf 3h", "T>MIC >= 50%", mic=1, subjects=2_000_000, on=find("faults"),
             progress=lambda done, total: print(done, flush=True))
"""


def test_client__that_dies_leaves_no_task(pool: Pool, store: Path, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    environment = {**os.environ, "DASK_TDMX__POOLS_FOLDER": str(tmp_path / "pools")}
    running = subprocess.Popen(
        [sys.executable, str(script), str(store)], env=environment, stdout=subprocess.PIPE, text=True
    )
    joined = find("faults")
    assert joined is not None
    with joined:
        until(lambda: any(joined.client.processing().values()), 30)
        running.kill()
        running.communicate()
        until(
            lambda: not joined.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)), 30
        )
        assert joined.client.submit(sum, [1, 2]).result(timeout=10) == 3
