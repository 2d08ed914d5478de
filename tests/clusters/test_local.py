"""A real LocalCluster: the same bits, a killed worker, loopback alone, names in the dashboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dask.config
import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client, LocalCluster, Status

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.start import _LocalCluster
from tdmx_dask.errors import ClusterError, InputError
from tests.conftest import MIC
from tests.interrupting import interrupt

QUESTION = {"mic": MIC, "subjects": 9, "seed": 3}
# a worker that is killed leaves its sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
REGIMENS = ["1000 mg q8h inf 1h"]
TARGETS = ["T>MIC >= 50%"]


@pytest.fixture(scope="module")
def local() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def reference(store: Path) -> xr.Dataset:
    return tdmx.pta(store, REGIMENS, TARGETS, run="direct", **QUESTION)


@pytest.mark.parametrize("chunk_size", [None, 1024, 2048])
def test_pta__same_counts_on_a_cluster(
    local: Cluster, store: Path, reference: xr.Dataset, chunk_size: int | None
) -> None:
    for draws in (store, tdmx.open_draws(store).load(), tdmx.open_draws(store).chunk(draw=700)):
        found = tdmx.pta(draws, REGIMENS, TARGETS, on=local, chunk_size=chunk_size, **QUESTION)
        np.testing.assert_array_equal(found["attained_by_draw"], reference["attained_by_draw"])
        assert found.attrs["run_mode"] == "distributed"


def test_critical_mic__bit_identical_on_a_cluster(local: Cluster, store: Path) -> None:
    direct = tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, run="direct")
    np.testing.assert_array_equal(tdmx.critical_mic(store, REGIMENS, TARGETS, subjects=2, on=local), direct)


def test_pta__lazy_result_is_computed_by_the_client(
    local: Cluster, store: Path, reference: xr.Dataset
) -> None:
    lazy = tdmx.pta(store, REGIMENS, TARGETS, compute=False, **QUESTION)
    found = local.client.compute(lazy).result()
    np.testing.assert_array_equal(found["attained_by_draw"], reference["attained_by_draw"])


def test_pta__on_takes_a_client_an_address_and_current(
    local: Cluster, store: Path, reference: xr.Dataset
) -> None:
    address = local.client.scheduler.address
    for on in (local.client, address, "current"):
        found = tdmx.pta(store, REGIMENS, TARGETS, on=on, **QUESTION)
        np.testing.assert_array_equal(found["n_attained"], reference["n_attained"])
    assert local.client.status == "running"


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
def test_pta__waits_on_its_own_loop_whatever_client_is_current(
    local: Cluster, store: Path, reference: xr.Dataset
) -> None:
    """Results that another client's thread takes from the connection are taken by two threads: wrong numbers, or none (seen)."""
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as other,
        Client(other.scheduler_address) as current,
    ):
        assert Client.current() is current
        free = threading.Event()
        current.loop.add_callback(free.wait, 20)
        started = time.monotonic()
        found = tdmx.pta(store, REGIMENS, TARGETS, on=local, **QUESTION)
        assert time.monotonic() - started < 15
        free.set()
    np.testing.assert_array_equal(found["n_attained"], reference["n_attained"])


def test_pta__tasks_have_names(local: Cluster, store: Path) -> None:
    tdmx.pta(store, REGIMENS, TARGETS, on=local, **QUESTION)
    prefixes = local.client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert "tdmx-pta" in prefixes


def test_pta__one_worker_gives_the_same(store: Path, reference: xr.Dataset) -> None:
    with tdmx.cluster("local", n_workers=1, processes=False) as one:
        found = tdmx.pta(store, REGIMENS, TARGETS, on=one, **QUESTION)
    np.testing.assert_array_equal(found["attained_by_draw"], reference["attained_by_draw"])


def test_cluster__a_worker_that_dies_again_and_again_comes_back() -> None:
    """Dask looks once for a lost worker, here after each death while the next is on its way, and would give its nanny up."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        tdmx.cluster("local", n_workers=1, threads_per_worker=1) as cluster,
    ):
        for _ in range(2):
            (pid,) = cluster.client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            until = time.monotonic() + 30
            while cluster.client.submit(os.getpid, pure=False).result(30) == pid:
                assert time.monotonic() < until


def test_cluster__a_worker_that_was_sent_away_is_replaced_when_asked_for() -> None:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}),
        tdmx.cluster("local", n_workers=2, threads_per_worker=1) as cluster,
    ):
        first = next(iter(cluster.client.scheduler_info(n_workers=-1)["workers"]))
        cluster.client.retire_workers([first])
        until = time.monotonic() + 30
        while len(cluster.client.scheduler_info(n_workers=-1)["workers"]) < 2:
            cluster.scale(2)
            time.sleep(0.1)
            assert time.monotonic() < until


def test_cluster__a_worker_whose_next_start_fails_is_replaced_when_asked_for(tmp_path: Path) -> None:
    """Its nanny closes, later than Dask looks for the worker."""
    fails, flag = tmp_path / "fails.py", tmp_path / "flag"
    fails.write_text(
        f"import os, time\nif os.path.exists({str(flag)!r}):\n    time.sleep(1)\n    raise OSError\n"
    )
    options = {"n_workers": 1, "threads_per_worker": 1, "preload": str(fails), "silence_logs": 50}
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "300ms"}),
        _LocalCluster(dashboard_address=None, **options) as started,
        Client(started) as client,
    ):
        (pid,) = client.run(os.getpid).values()
        flag.touch()
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 30
        while started.workers and started.workers[0].status != Status.closed:
            time.sleep(0.05)
            assert time.monotonic() < until
        flag.unlink()
        while not client.scheduler_info(n_workers=-1)["workers"]:
            started.scale(1)
            time.sleep(0.1)
            assert time.monotonic() < until


def test_pta__an_error_of_a_task_reaches_the_user(local: Cluster) -> None:
    draws = {"CL": np.array([5.0] * 20_000 + [-1.0]), "Vc": np.full(20_001, 30.0)}
    with pytest.raises(InputError, match=r"CL\[chain=0, draw=20000\]=-1"):
        tdmx.pta(draws, REGIMENS, TARGETS, mic=MIC, on=local)
    assert local.client.submit(sum, [1, 2]).result() == 3


def test_cluster__listens_on_loopback_alone(local: Cluster) -> None:
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1"), connection


def test_cluster__leaves_nothing_behind() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with tdmx.cluster("local", n_workers=1) as cluster:
        assert cluster.n_workers == 1
        assert "1 workers" in repr(cluster)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = {child.pid for child in psutil.Process().children(recursive=True)} - before
        if not left:
            break
        time.sleep(0.1)
    alive = [psutil.Process(pid).cmdline() for pid in left if psutil.pid_exists(pid)]
    assert not [command for command in alive if "resource_tracker" not in " ".join(command)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "cloud"}, "no such profile"),
        ({"n_workers": 0}, "n_workers=0"),
        ({"workers": 2}, "no such option"),
    ],
)
def test_cluster__refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tdmx.cluster(**arguments)


def test_pta__an_address_that_does_not_answer() -> None:
    with pytest.raises(ClusterError, match="does not answer"):
        tdmx.pta({"CL": [1.0], "Vc": [1.0]}, REGIMENS, TARGETS, mic=1, on="tcp://127.0.0.1:9")


def test_cluster__an_unguarded_script_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text("import tdmx_dask as tdmx\ntdmx.cluster('local', n_workers=1)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert '__name__ == "__main__"' in done.stderr


def test_cluster__a_script_from_standard_input_is_no_file(tmp_path: Path) -> None:
    script = "import tdmx_dask as tdmx\nwith tdmx.cluster('local', n_workers=1) as cluster:\n    print(cluster.n_workers)\n"
    done = subprocess.run(
        [sys.executable], input=script, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


INTERRUPTED = """
import sys
import tdmx_dask as tdmx

if __name__ == "__main__":
    with tdmx.cluster("local", n_workers=2) as cluster:
        tdmx.pta(
            sys.argv[1], "1 g q8h inf 1h", "T>MIC >= 50%", mic=1, subjects=2_000_000, on=cluster,
            progress=lambda done, total: print(done, flush=True),
        )
"""


def test_pta__interrupt_is_answered_by_the_client_alone(store: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to the whole process group: one KeyboardInterrupt, no traceback of a worker, nothing left running."""
    workers, errors = interrupt(INTERRUPTED, store, tmp_path)
    assert errors.count("Traceback (most recent call last)") == 1, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_join__keeps_what_it_did_not_start(local: Cluster) -> None:
    with Client(local.scheduler_address, security=local.client.security, set_as_default=False) as other:
        tdmx.pta({"CL": [1.0], "Vc": [1.0]}, REGIMENS, TARGETS, mic=1, on=other)
        assert other.status == "running"
