"""A cluster of two workers: how soon it is there, and how much of it a long PTA has. For fits see `tdmx bench fit`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tdmx_dask as tdmx
from tdmx_dask.bench.table import Row
from tdmx_dask.bench.workloads import MICS, TARGET, W1, posterior

N_DRAWS = 4000
SHARE = 2500
"""Virtual patients of a draw that two workers count in 0.6 s."""
TIMES = 16
RUNS = 5

_BARE = (
    "from distributed import Client, LocalCluster\n"
    "cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address='127.0.0.1:0')\n"
    "client = Client(cluster)\n"
    "client.wait_for_workers(2)\n"
)
_OURS = (
    "import tdmx_dask as tdmx\n"
    "cluster = tdmx.cluster('local', n_workers=2, threads_per_worker=1, dashboard_port=0)\n"
    "cluster.wait_for_workers(2)\n"
)
_MEASURED = """
import time
if __name__ == "__main__":
    start = time.perf_counter()
{body}
    print(time.perf_counter() - start)
    getattr(cluster, "close")()
"""


def rows() -> Iterator[Row]:
    """The start of a local cluster; ten seconds of PTA beside the same question asked directly."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield _ready(folder)
        store = folder / "posterior.zarr"
        tdmx.write_draws(posterior(N_DRAWS), store)
        with tdmx.cluster("local", n_workers=2, threads_per_worker=1, dashboard_port=0) as cluster:
            yield from _ten_seconds(cluster, store)


def _ready(folder: Path) -> Row:
    """From a cold process, imports included, until two workers are there."""
    pairs = []
    for _ in range(RUNS):
        pairs.append([_cold(folder, body) for body in (_OURS, _BARE)])
    ours, bare = (statistics.median(each) for each in zip(*pairs, strict=True))
    return Row(
        "a local cluster, from nothing to two workers (TLS)", ours, "s", RUNS, f"Dask's own, without TLS: {bare:.3g} s",
        ours / bare, "<= 1.5 s", ours <= 1.5,
    )  # fmt: skip


def _cold(folder: Path, body: str) -> float:
    script = folder / "ready.py"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    script.write_text(_MEASURED.format(body=lines), encoding="utf-8")
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, str(script)], check=True, capture_output=True, text=True, cwd=folder
    )
    return float(done.stdout)


def _ten_seconds(cluster: Any, store: Path) -> Iterator[Row]:
    """The direct call before and after each run on the cluster: a machine that drifts does so for both."""

    def direct() -> float:
        start = time.perf_counter()
        tdmx.pta(store, W1, TARGET, mic=MICS, subjects=SHARE, run="direct")
        return (time.perf_counter() - start) / SHARE

    def spread(subjects: int) -> float:
        start = time.perf_counter()
        tdmx.pta(store, W1, TARGET, mic=MICS, subjects=subjects, on=cluster)
        return time.perf_counter() - start

    spread(10)
    direct()
    subjects, found = SHARE * TIMES, []
    for _ in range(3):
        before = direct()
        with _Meter(cluster.client) as meter:
            seconds = spread(subjects)
        each = statistics.mean((before, direct()))
        found.append((seconds, each * subjects / 2 / seconds, meter.busy / 2 / seconds, meter.most))
    seconds, share, busy, most = (statistics.median(each) for each in zip(*found, strict=True))
    yield Row(
        f"PTA, {N_DRAWS * subjects:.0e} profiles x 12 MICs, two workers", seconds, "s", 3, f"half the direct time {seconds * share:.3g} s",
        1 / share,
    )  # fmt: skip
    yield Row("  of twice the direct rate", 100 * share, "%", 3, reach=">= 92 %", met=share >= 0.92)
    yield Row("  of the cores, workers had", 100 * busy, "%", 3, reach=">= 90 %", met=busy >= 0.9)
    yield Row("  a worker's most memory, of its limit", 100 * most, "%", 3, reach="<= 100 %", met=most <= 1)


class _Meter:
    """Processor seconds of all workers from beginning to end, and the most memory one had by its limit (looked at each 50 ms)."""

    def __init__(self, client: Any) -> None:
        import psutil

        self._limits = {
            psutil.Process(pid): limit
            for pid, limit in client.run(
                lambda dask_worker: (os.getpid(), dask_worker.memory_manager.memory_limit)
            ).values()
        }
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.busy, self.most = 0.0, 0.0

    def _seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._limits)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(
                self.most,
                *(process.memory_info().rss / limit for process, limit in self._limits.items() if limit),
            )

    def __enter__(self) -> _Meter:
        self._before = self._seconds()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.busy = self._seconds() - self._before
        self._over.set()
        self._thread.join()
