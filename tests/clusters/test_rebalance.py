"""Tasks that wait for a resource go where it is free: against stock Dask, by who ran what where and in which order."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from distributed import Client, LocalCluster, get_worker

from tdmx_dask.clusters import rebalance
from tdmx_dask.clusters.rebalance import Rebalance, install_rebalance


@dataclass(frozen=True)
class Nap:
    number: int
    memory: float
    worker: str
    start: float
    end: float


def nap(number: int, seconds: float, memory: float) -> Nap:
    start = time.monotonic()
    time.sleep(seconds)
    return Nap(number, memory, get_worker().address, start, time.monotonic())


@contextmanager
def two_workers(*, plugin: bool) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=4,
            resources={"MEM": 1000},
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        if plugin:
            install_rebalance(client)
        yield client


def naps(client: Client, wanted: list[tuple[float, float]]) -> list[Nap]:
    """(seconds, memory) of each task; the first goes first."""
    futures = [
        client.submit(nap, n, *one, key=f"tdmx-fit-{n}-{uuid.uuid4().hex}", resources={"MEM": one[1]}, priority=-n, pure=False)
        for n, one in enumerate(wanted)
    ]  # fmt: skip
    return list(client.gather(futures))


def makespan(done: list[Nap]) -> float:
    return max(one.end for one in done) - min(one.start for one in done)


STRANDED = [(1.5, 600.0)] + 5 * [(0.3, 600.0)]
"""One at a time on a worker: the ideal is the long one on one worker, all others on the other, 1.5 s."""


@pytest.mark.parametrize("plugin", [False, True])
def test_rebalance__nothing_waits_behind_a_long_task_while_a_worker_idles(plugin: bool) -> None:
    with two_workers(plugin=plugin) as client:
        done = naps(client, STRANDED)
    beside = [one for one in done[1:] if one.worker == done[0].worker]
    if plugin:
        assert not beside
        assert makespan(done) < 1.5 * 1.2
    else:
        assert beside  # what the plugin is for; if this fails, Dask has learnt it
        assert makespan(done) >= 1.5 * 1.2 - 0.05


BLOCKED = 4 * [(0.6, 800.0)] + 20 * [(0.2, 150.0)]
"""Two large ones in turn on each worker, and one small beside each: 1.4 s at best."""


@pytest.mark.alone
@pytest.mark.parametrize("plugin", [False, True])
def test_rebalance__small_tasks_pass_a_large_one_and_never_delay_it(plugin: bool) -> None:
    with two_workers(plugin=plugin) as client:
        done = naps(client, BLOCKED)
    large = [one for one in done if one.memory > 500]
    first_end = min(one.end for one in large)
    early = [one for one in done if one.memory < 500 and one.start < first_end]
    assert bool(early) == plugin
    for worker in {one.worker for one in large}:
        mine = sorted((one for one in large if one.worker == worker), key=lambda one: one.start)
        assert len(mine) == 2
        assert mine[1].start - mine[0].end < 0.15
    if plugin:
        assert makespan(done) < 1.4 * 1.15


def test_rebalance__no_worker_holds_more_than_it_declares() -> None:
    with two_workers(plugin=True) as client:
        done = naps(client, [(0.05 * (1 + n % 3), (700.0, 150.0, 400.0)[n % 3]) for n in range(36)])
    for one in done:
        beside = [x for x in done if x.worker == one.worker and x.start <= one.start < x.end]
        assert sum(x.memory for x in beside) <= 1000
    assert sorted(one.number for one in done) == list(range(36))


def test_install_rebalance__again_does_nothing() -> None:
    with two_workers(plugin=True) as client:
        plugins = client.cluster.scheduler.plugins
        before = plugins[Rebalance.name]
        install_rebalance(client)
        assert plugins[Rebalance.name] is before


def test_rebalance__stands_down_when_it_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fail(*_: object) -> int:
        calls.append(1)
        raise AttributeError("in_flight")

    monkeypatch.setattr(rebalance, "_rebalance", fail)
    with caplog.at_level(logging.ERROR, logger=rebalance.__name__), two_workers(plugin=True) as client:
        assert len(naps(client, 12 * [(0.05, 600.0)])) == 12
        time.sleep(2 * rebalance.PERIOD)
        assert len(naps(client, 4 * [(0.01, 600.0)])) == 4
    assert len(calls) == 1
    assert "no longer moved" in caplog.text
