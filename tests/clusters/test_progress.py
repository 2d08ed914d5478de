"""What runs on a cluster, for whoever looks from elsewhere: blocks, fits and calls, from their first event to their last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.demand import TOPIC
from tdmx_dask.clusters.progress import EVENTS, KEPT, Progress, Work, install_progress, work
from tdmx_dask.errors import TdmxWarning
from tdmx_dask.fitting.futures import ClusterRunner
from tests.jobs.test_queue import F, open_queue

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def local() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2, threads_per_worker=1, dashboard_port=0) as cluster:
        yield cluster


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_work__blocks_of_a_run(local: Cluster, store: Path) -> None:
    seen: list[Work] = []

    def watch(_done: int, _total: int) -> None:
        seen.extend(work(local.client))

    question: dict[str, Any] = {"mic": 1, "subjects": 6000, "chunk_size": 1024}
    tdmx.pta(store, "1 g q8h inf 1h", "T>MIC >= 50%", on=local, progress=watch, **question)
    assert {each.kind for each in seen} == {"tdmx-pta"}
    assert seen[-1].total > seen[-1].done > 0
    assert seen[-1].seconds_left is not None
    assert seen[-1].seconds_left < 60
    until(lambda: work(local.client) == ())


def test_work__chains_of_a_fit_and_nothing_once_it_is_cancelled(local: Cluster, tmp_path: Path) -> None:
    future = tdmx.fit_async(
        "meropenem_tdm", on=local, chains=2, iter_sampling=500_000, library=tmp_path / "fits"
    )

    def sampling() -> Work | None:
        return next((each for each in work(local.client) if each.phase == "sampling"), None)

    one = until(sampling)
    assert one.kind == "tdmx-fit"
    assert one.name
    assert 0 < one.done < one.total == 2 * 501_000
    future.cancel()
    until(lambda: work(local.client) == ())


def test_work__calls_of_a_queue(local: Cluster, tmp_path: Path) -> None:
    with open_queue(tmp_path, on=local) as queue:
        queue.submit("batch_processing", {"function": f"{F}:sleep", "items": [2.0]})
        (one,) = until(lambda: work(local.client))
        assert one.kind == "tdmx-job"
        assert "1-1" in one.name
        until(lambda: work(local.client) == ())


def test_work__a_client_that_leaves_takes_its_work_along(local: Cluster) -> None:
    other = tdmx.cluster(local.scheduler_address)
    said = {"name": "x", "what": "tdmx-pta", "total": 9, "done": 1, "tasks": 0, "seconds": 1.0, "over": False}
    other.client.log_event(TOPIC, {"client": other.client.id, **said})
    assert until(lambda: work(local.client))[0].total == 9
    threading.Thread(target=other.close).start()
    until(lambda: work(local.client) == ())


# the plugin alone


@pytest.fixture
def plugin() -> Progress:
    made = Progress()
    made._scheduler = SimpleNamespace(tasks={})
    return made


def _begin(plugin: Progress, ticket: str, name: str) -> None:
    plugin._scheduler.tasks[f"key-{ticket}"] = SimpleNamespace(state="processing")
    plugin.log_event(
        "tdmx-fit:t", {"ticket": ticket, "try": 1, "running": True, "key": f"key-{ticket}", "name": name}
    )


def test_plugin__a_fit_is_where_its_slowest_chain_is(plugin: Progress) -> None:
    _begin(plugin, "1", "bed 4")
    _begin(plugin, "2", "bed 4")
    event = ["bed 4", 0, 0, 0, "sampling", 1500, 2000, 3, 0.4, 1.0, ""]
    plugin.log_event("tdmx-fit:t", {"ticket": "1", "try": 1, "events": [event]})
    plugin.log_event(
        "tdmx-fit:t", {"ticket": "2", "try": 1, "events": [[*event[:1], 1, 0, 0, "warmup", 500, *event[6:]]]}
    )
    (one,) = plugin.look()
    assert (one["name"], one["phase"], one["done"], one["total"]) == ("bed 4", "warmup", 2000, 4000)
    assert one["divergences"] == 6
    assert one["seconds_left"] == pytest.approx(one["seconds"])


def test_plugin__what_a_dead_worker_could_not_say_is_forgotten(plugin: Progress) -> None:
    _begin(plugin, "1", "bed 4")
    plugin._scheduler.tasks["key-1"].state = "no-worker"
    assert plugin.look() == []
    plugin._scheduler.tasks["key-1"].state = "processing"
    assert plugin.look() == []  # until it begins again, and says so


@pytest.mark.parametrize(
    "message", [None, {}, {"ticket": "9"}, {"ticket": "9", "try": 1, "events": [[]]}, 3, "text"]
)
def test_plugin__a_strange_message_does_no_harm(plugin: Progress, message: Any) -> None:
    _begin(plugin, "9", "x")
    for topic in ("tdmx-fit:t", "tdmx-jobs:t", TOPIC, "other"):
        plugin.log_event(topic, message)
    assert len(plugin.look()) == 1


def test_plugin__remembers_no_more_than_it_should(plugin: Progress) -> None:
    for number in range(KEPT + 5):
        _begin(plugin, str(number), f"fit {number}")
    assert len(plugin.look()) == KEPT


def test_plugin__the_scheduler_forgets_what_it_need_not_keep() -> None:
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        topics = cluster.scheduler._broker._topics
        install_progress(client)
        for n in range(3 * EVENTS):
            client.log_event("tdmx-queue", {"n": n})
        assert "tdmx-queue" not in topics
        with Client(cluster.scheduler_address, set_as_default=False) as other:
            with pytest.warns(TdmxWarning, match="declare no MEM"):
                runner = ClusterRunner(other)
            other.log_event(runner._topic, {})
            client.subscribe_topic("tdmx-fit:kept", print)
            until(lambda: "tdmx-fit:kept" in topics)
            assert runner._topic in topics
            runner.close()
        until(lambda: [name for name in topics if name.startswith("tdmx-")] == ["tdmx-fit:kept"])
