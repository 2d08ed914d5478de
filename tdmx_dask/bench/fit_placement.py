"""Placement by memory: small and large stand-ins for fits, on two workers that each hold one large at a time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import tdmx_dask as tdmx
from tdmx_dask.bench.table import Row
from tdmx_dask.errors import FitCancelled
from tdmx_dask.fitting.futures import ClusterRunner
from tdmx_dask.fitting.program import Program
from tdmx_dask.fitting.task import STATS, Batch, ChainResult, ChainTask, Start

__all__ = ["rows"]

BUDGET_MB = 700
RUNS = 3
SMALL, LARGE = (20, 100.0, 0.5), (4, 500.0, 5.0)
"""How many, MB asked for, seconds. A large one leaves room for two small ones: the large ones set the pace."""

BEST = LARGE[0] / 2 * LARGE[2]
"""s: two large ones on each worker, one after the other, and all small ones beside them."""

_CHILD_MB = 30.0  # of a bare interpreter
_CODE = "import sys, time; held = bytearray(int(float(sys.argv[1]) * 1e6)); time.sleep(float(sys.argv[2]))"


def stand_in(batch: Batch, _emit: object, cancelled: threading.Event) -> list[ChainResult]:
    """What a worker runs in the place of an engine: a child process that really holds memory, and sleeps."""
    task = batch.tasks[0]
    wanted = json.loads(task.data)
    command = [sys.executable, "-S", "-E", "-c", _CODE, str(wanted["mb"]), str(wanted["seconds"])]
    child = subprocess.Popen(command)  # noqa: S603  a fixed command
    try:
        while child.poll() is None:
            if cancelled.wait(0.01):
                raise FitCancelled("fit", task.fit, "it was cancelled")
    finally:
        child.kill()
        child.wait()
    draws = np.zeros((1, 1))
    stats = np.zeros((1, len(STATS)))
    return [
        ChainResult(
            task.chain, 0, 0, ("x",), draws, stats, Start(), 0.0, wanted["seconds"], wanted["mb"], "none"
        )
    ]


def rows() -> Iterator[Row]:
    """Time to the end beside the best schedule, and the most memory that the children of one worker held."""
    with tdmx.cluster(
        "local", n_workers=2, threads_per_worker=4, memory_limit=f"{2 * BUDGET_MB} MB"
    ) as cluster:
        runner = ClusterRunner(cluster.client, run=stand_in)
        _run(runner, [_batch(0, 50.0, 0.05)])  # a warm pool
        watch = _Watch(list(cluster.client.run(os.getpid).values()))
        small = [_batch(k, SMALL[1], SMALL[2]) for k in range(SMALL[0])]
        large = [_batch(SMALL[0] + k, LARGE[1], LARGE[2]) for k in range(LARGE[0])]
        with watch:
            seconds = statistics.median(_run(runner, large + small) for _ in range(RUNS))
            other = _run(runner, small + large)
        runner.close()
    name = f"{SMALL[0]} small and {LARGE[0]} large by memory, two workers"
    yield Row(
        name,
        seconds,
        "s",
        RUNS,
        f"best schedule {BEST:g} s",
        seconds / BEST,
        "<= 1.15 x",
        seconds <= 1.15 * BEST,
    )
    yield Row("  the small ones asked for first", other, "s", 1, f"best schedule {BEST:g} s", other / BEST)
    most = watch.most_mb
    yield Row(
        "  most memory of one worker's children", most, "MB", 1, f"budget {BUDGET_MB} MB", most / BUDGET_MB,
        "<= 1 x", most <= BUDGET_MB,
    )  # fmt: skip


def _batch(number: int, mb: float, seconds: float) -> tuple[Batch, float]:
    data = json.dumps({"mb": mb - _CHILD_MB, "seconds": seconds})
    task = ChainTask(Program("stand_in", "model {}"), data, seed=number, chain=0, fit=f"stand-in {number}")
    return Batch((task,)), mb


def _run(runner: ClusterRunner, batches: list[tuple[Batch, float]]) -> float:
    """Seconds until the last of them is done."""
    left, all_done = [len(batches)], threading.Event()
    lock = threading.Lock()
    errors: list[BaseException] = []

    def done(outcome: Any) -> None:
        with lock:
            left[0] -= 1
            if isinstance(outcome, BaseException):
                errors.append(outcome)
            if not left[0]:
                all_done.set()

    start = time.perf_counter()
    for batch, mb in batches:
        runner.submit(
            batch,
            name=batch.tasks[0].fit,
            memory_mb=mb,
            priority=0,
            retries=0,
            emit=lambda _: None,
            done=done,
        )
    all_done.wait(120)
    if errors:
        raise errors[0]
    return time.perf_counter() - start


class _Watch:
    """Looks at the memory of each worker's children, twenty times a second."""

    def __init__(self, workers: list[int]) -> None:
        self._workers = workers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most_mb = 0.0

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        import psutil

        workers = [psutil.Process(pid) for pid in self._workers]
        while not self._stop.wait(0.05):
            for worker in workers:
                total = 0
                for child in worker.children(recursive=True):
                    try:
                        total += child.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self.most_mb = max(self.most_mb, total / 1e6)
