"""Blocks below a worker of several threads: in processes of their own, the same bits, ended and replaced as all children are."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import tdmx_dask as tdmx
from tdmx_dask.analysis import execute
from tdmx_dask.clusters.cancellation import KERNEL_PREFIXES
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.resources import available_cores
from tdmx_dask.clusters.run import run_blocks
from tdmx_dask.errors import ClusterError, InputError, JobLost
from tdmx_dask.jobs.apart import Beside, apart
from tests.conftest import MIC
from tests.interrupting import interrupt
from tests.jobs.processes import gone, until

QUESTION = {"mic": MIC, "subjects": 9, "seed": 3}
REGIMENS = ["1000 mg q8h inf 1h"]
TARGETS = ["T>MIC >= 50%"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def wide() -> Iterator[Cluster]:
    """One worker of two threads."""
    with tdmx.cluster("local", n_workers=1, threads_per_worker=2, dashboard_port=0) as cluster:
        yield cluster


def worker_of(cluster: Cluster) -> psutil.Process:
    (pid,) = cluster.client.run(os.getpid).values()
    return psutil.Process(pid)


def die_at_first(folder: str, _block: object, _values: object) -> int:
    """The first time, kill this process."""
    mark = Path(folder, "died")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def pid_and_wait(*_: object) -> int:
    time.sleep(0.3)
    return os.getpid()


def test_apart__tasks_have_the_names_that_are_watched() -> None:
    assert set(execute.TASK_NAMES.values()) == set(KERNEL_PREFIXES)


def test_apart__two_blocks_at_once_in_two_children(wide: Cluster) -> None:
    found: list[int] = []
    blocks = [(i, None, None) for i in range(6)]
    run_blocks(
        wide.client, apart(pid_and_wait), None, blocks, lambda _, pid: found.append(pid), name="tdmx-pta"
    )
    worker = worker_of(wide)
    assert len(found) == 6
    assert len(set(found)) == 2
    assert set(found) <= {child.pid for child in worker.children()}
    assert worker.pid not in found


@pytest.mark.parametrize("lazy", [True, False])
def test_apart__same_bits(wide: Cluster, store: Path, lazy: bool) -> None:
    draws = store if lazy else tdmx.open_draws(store).load()
    direct = tdmx.pta(store, REGIMENS, TARGETS, run="direct", **QUESTION)
    found = tdmx.pta(draws, REGIMENS, TARGETS, on=wide, chunk_size=1024, **QUESTION)
    np.testing.assert_array_equal(found["attained_by_draw"], direct["attained_by_draw"])
    critical = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, on=wide)
    np.testing.assert_array_equal(
        critical, tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, run="direct")
    )


def test_apart__a_lazy_graph_too(wide: Cluster, store: Path) -> None:
    direct = tdmx.pta(store, REGIMENS, TARGETS, run="direct", **QUESTION)
    lazy = tdmx.pta(store, REGIMENS, TARGETS, compute=False, **QUESTION)
    for child in worker_of(wide).children():
        child.kill()
    found = wide.client.compute(lazy).result(timeout=60)
    np.testing.assert_array_equal(found["attained_by_draw"], direct["attained_by_draw"])
    assert len(worker_of(wide).children()) == 2
    critical = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, compute=False)
    np.testing.assert_array_equal(
        wide.client.compute(critical).result(timeout=60),
        tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, run="direct"),
    )
    np.testing.assert_array_equal(
        lazy["attained_by_draw"].compute(scheduler="sync"), direct["attained_by_draw"]
    )


def threads_of_a_task(path: str) -> list[int]:
    """In a task: a lazy result on threads of its own, which are not the worker's."""
    lazy = tdmx.pta(path, REGIMENS, TARGETS, compute=False, **QUESTION)
    counts: list[int] = lazy["n_attained"].compute(scheduler="threads").values.ravel().tolist()
    return counts


def test_apart__not_in_threads_that_a_task_has_made(wide: Cluster, store: Path) -> None:
    direct = tdmx.pta(store, REGIMENS, TARGETS, run="direct", **QUESTION)
    found = wide.client.submit(threads_of_a_task, str(store), key="somebody-elses").result(timeout=60)
    assert found == direct["n_attained"].values.ravel().tolist()


def test_apart__an_error_is_the_same_error(wide: Cluster) -> None:
    draws = {"CL": np.array([5.0] * 20_000 + [-1.0]), "Vc": np.full(20_001, 30.0)}
    with pytest.raises(InputError, match=r"CL\[chain=0, draw=20000\]=-1"):
        tdmx.pta(draws, REGIMENS, TARGETS, mic=MIC, on=wide)


def test_apart__a_child_that_is_killed_runs_its_block_again(wide: Cluster, tmp_path: Path) -> None:
    found: list[int] = []
    run_blocks(
        wide.client, apart(die_at_first), str(tmp_path), [(0, None, None)], lambda _, pid: found.append(pid),
        name="tdmx-pta",
    )  # fmt: skip
    assert len(found) == 1
    assert (tmp_path / "died").exists()


def test_apart__a_block_that_kills_each_child_is_an_error(wide: Cluster) -> None:
    worker = worker_of(wide).pid
    with pytest.raises(ClusterError, match="its process died each time it ran"):
        run_blocks(wide.client, apart(die), None, [(0, None, None)], lambda *_: None, name="tdmx-pta")
    assert worker_of(wide).pid == worker


def test_apart__cancelling_ends_the_child(wide: Cluster) -> None:
    worker = worker_of(wide)
    future = wide.client.submit(apart(time.sleep), 60, key="tdmx-pta-long")
    until(lambda: wide.client.processing() and any(wide.client.processing().values()))
    time.sleep(0.5)
    running = [child.pid for child in worker.children()]
    wide.client.cancel(future, force=True)
    until(lambda: any(not psutil.pid_exists(pid) for pid in running), 5)


def test_apart__a_killed_worker_takes_its_children_along(store: Path) -> None:
    question = {**QUESTION, "subjects": 1500, "chunk_size": 1024}
    expected = tdmx.pta(store, REGIMENS, TARGETS, run="threads", **question)
    with tdmx.cluster("local", n_workers=1, threads_per_worker=2, dashboard_port=0) as cluster:
        worker = worker_of(cluster)
        killed: list[int] = []

        def kill() -> None:
            killed.extend(child.pid for child in worker.children())
            worker.kill()

        def watch(done: int, _total: int) -> None:
            if done and not killed:
                threading.Thread(target=kill).start()
                until(lambda: killed)

        found = tdmx.pta(store, REGIMENS, TARGETS, on=cluster, progress=watch, **question)
        assert gone(killed, 5)
    np.testing.assert_array_equal(found["attained_by_draw"], expected["attained_by_draw"])


def test_apart__a_child_for_each_thread_is_kept() -> None:
    """Also where there are more threads than cores: a new one for each block would take longer than the block."""
    with tdmx.cluster("local", n_workers=1, threads_per_worker=5, dashboard_port=0) as cluster:
        found: list[int] = []
        blocks = [(i, None, None) for i in range(15)]
        run_blocks(
            cluster.client,
            apart(pid_and_wait),
            None,
            blocks,
            lambda _, pid: found.append(pid),
            name="tdmx-pta",
        )
        assert len(set(found)) == 5
        assert {child.pid for child in worker_of(cluster).children()} == set(found)


def test_apart__not_where_the_worker_lives_in_this_process() -> None:
    with tdmx.cluster("local", n_workers=1, threads_per_worker=2, processes=False, dashboard_port=0) as here:
        assert here.client.submit(apart(pid_and_wait), key="tdmx-pta-here").result(timeout=30) == os.getpid()


# children of this process


def test_beside__some_seconds_of_work_take_processes_by_themselves(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "LARGE_WORK", 1.0)
    if available_cores() == 1:
        pytest.skip("one core: nothing is gained")
    before = set(psutil.Process().children())
    seen: set[int] = set()

    def watch(_done: int, _total: int) -> None:
        seen.update(child.pid for child in set(psutil.Process().children()) - before)

    question = {**QUESTION, "subjects": 5000}
    found = tdmx.pta(store, REGIMENS, TARGETS, progress=watch, **question)
    assert found.attrs["run_mode"] == "processes"
    assert len(seen) == available_cores()
    assert gone(list(seen), 5)
    assert tdmx.pta(store, REGIMENS, TARGETS, **QUESTION).attrs["run_mode"] == "direct"


def test_beside__a_child_that_is_killed_runs_its_block_again(tmp_path: Path) -> None:
    with Beside(1) as beside:
        assert beside(die_at_first)(str(tmp_path), None, None) != os.getpid()
        with pytest.raises(JobLost, match="its process was killed from outside by SIGKILL"):
            beside(die)(None)


def test_apart__a_task_whose_child_is_killed_runs_again(wide: Cluster, tmp_path: Path) -> None:
    """Also in a graph of the user's own, which nobody resubmits."""
    block = wide.client.submit(apart(die_at_first), str(tmp_path), None, None)
    assert block.result(timeout=60) != worker_of(wide).pid


INTERRUPTED = """
import sys
import tdmx_dask as tdmx
tdmx.pta(sys.argv[1], "1 g q8h inf 1h", "T>MIC >= 50%", mic=1, subjects=2_000_000, run="processes", n_workers=2,
         progress=lambda done, total: print(done, flush=True))
"""


def test_beside__a_script_without_a_guard_and_an_interrupt(store: Path, tmp_path: Path) -> None:
    children, errors = interrupt(INTERRUPTED, store, tmp_path)
    assert len(children) == 2
    assert errors.count("Traceback (most recent call last)") == 1, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert gone([child.pid for child in children], 5)
