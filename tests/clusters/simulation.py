"""What a task costs the scheduler and the client: 1 to 100 logical workers in this process, tasks that sleep. For docs/scaling.md.

`python -m tests.clusters.simulation` prints a table. Scheduler, client and workers share this process, so that a
task's cost here is an upper bound of the scheduler's; the sleeps stand for work on other machines.
"""

from __future__ import annotations

import itertools
import logging
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import Any

import psutil
from distributed import Client, LocalCluster

from tdmx_dask.clusters.plugins import install
from tdmx_dask.clusters.run import run_blocks

TASK = 0.5
"""s that a task sleeps."""


def _sleep(_shared: Any, _block: Any, seconds: float) -> int:
    time.sleep(seconds)
    return 1


def once(workers: int, tasks: int) -> tuple[float, float, float]:
    """Wall time beyond the ideal as a fraction, processor ms a task, and cores that the same cluster takes while idle."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        install(client)
        run_blocks(
            client, _sleep, None, ((i, None, 0.01) for i in range(workers)), lambda *_: None, name="tdmx-warm"
        )
        process = psutil.Process()
        idle_began, idle = time.perf_counter(), sum(process.cpu_times()[:2])
        time.sleep(1.0)
        idle = (sum(process.cpu_times()[:2]) - idle) / (
            time.perf_counter() - idle_began
        )  # heartbeats of all workers
        cpu, wall, done = sum(process.cpu_times()[:2]), time.perf_counter(), itertools.count()
        run_blocks(
            client,
            _sleep,
            None,
            ((i, None, TASK) for i in range(tasks)),
            lambda *_: next(done),
            name="tdmx-pta",
        )
        wall = time.perf_counter() - wall
        cpu = sum(process.cpu_times()[:2]) - cpu - idle * wall
        assert next(done) == tasks
    ideal = TASK * tasks / workers
    return wall / ideal - 1, 1000 * cpu / tasks, idle


def main() -> None:
    """Print the table."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    load = os.getloadavg()[0]
    here = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{here}, distributed {version('distributed')}, load {load:.1f}")
    print(f"tasks of {TASK} s, 20 a worker, sent {4} a thread ahead; median of 3")
    print("workers   tasks   beyond ideal   cpu ms a task   cores when idle")
    for workers in (1, 10, 100):
        runs = [once(workers, 20 * workers) for _ in range(3)]
        over, cpu, idle = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{workers:7}  {20 * workers:6}   {over:11.1%}   {cpu:13.2f}   {idle:15.2f}")


if __name__ == "__main__":
    main()
