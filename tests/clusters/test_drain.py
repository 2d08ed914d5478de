"""A worker that leaves: what it runs ends there, what waits there runs elsewhere, and nothing runs twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster, get_worker

from tdmx_dask.clusters.drain import drain

ran: list[tuple[int, str]] = []
"""Number and worker of each task that was begun; the workers are threads of this process."""


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    ran.clear()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


def work(number: int, seconds: float) -> int:
    ran.append((number, get_worker().address))
    time.sleep(seconds)
    return number


def test_drain__task_whose_end_the_scheduler_has_not_heard_of_is_not_begun_again(
    cluster: LocalCluster, client: Client
) -> None:
    leaving, other = cluster.workers.values()
    future = client.submit(work, 1, 0.5, workers=[leaving.address], allow_other_workers=True, pure=False)
    while not ran:
        time.sleep(0.01)
    leaving.batched_stream.interval = (
        1.0  # what it says now goes at once, and what it says next a second later
    )
    cluster.sync(_say, leaving)
    cluster.sync(drain, leaving)
    assert list(cluster.scheduler.workers) == [other.address]
    assert future.result(timeout=10) == 1
    assert ran == [(1, leaving.address)]


async def _say(worker: Any) -> None:
    worker.log_event("said", "now")


def test_drain__tasks_that_wait_here_or_come_meanwhile_run_elsewhere(
    cluster: LocalCluster, client: Client
) -> None:
    leaving, other = cluster.workers.values()
    options: dict[str, Any] = {"workers": [leaving.address], "allow_other_workers": True, "pure": False}
    futures = [client.submit(work, number, 0.3, **options) for number in range(8)]
    while not ran:
        time.sleep(0.01)
    cluster.sync(drain, leaving)
    assert client.gather(futures) == list(range(8))
    assert sorted(number for number, _ in ran) == list(range(8)), "each once"
    assert sum(worker == leaving.address for _, worker in ran) <= 2, "what ran, and what began meanwhile"
    assert sum(worker == other.address for _, worker in ran) >= 6
