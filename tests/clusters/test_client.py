"""A client is closed by whoever made it, at once where it cannot start, and never by the garbage collector."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import dask.array
import dask.config
import distributed
import pytest

from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.profile import Address
from tdmx_dask.clusters.start import join_address
from tdmx_dask.errors import ClusterError


@pytest.fixture
def cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as started:
        yield started


def test_client__that_cannot_start_is_closed_at_once() -> None:
    threads = threading.active_count()
    gc.disable()
    try:
        with pytest.raises(ClusterError, match="the scheduler does not answer"):
            join_address(Address(address="tcp://127.0.0.1:9"))
        ours = [each for each in gc.get_objects() if type(each) is Client]
        assert {each.status for each in ours} <= {"closed"}
        assert threading.active_count() <= threads
    finally:
        gc.enable()


def test_client__that_is_collected_while_another_starts_is_no_deadlock(
    cluster: distributed.LocalCluster,
) -> None:
    lost = Client(cluster.scheduler_address, set_as_default=False)
    runner = lost._loop_runner
    ended = threading.Event()

    def collect() -> None:
        with runner._lock:  # as it is held while a client starts its loop
            lost.__del__()
        ended.set()

    threading.Thread(target=collect, daemon=True).start()
    try:
        assert ended.wait(10)
    finally:
        lost.close()


def test_client__is_distributeds_own_otherwise(cluster: distributed.LocalCluster) -> None:
    with Client(cluster) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    assert client.status == "closed"


@pytest.mark.parametrize("chosen", [None, "synchronous"])
@pytest.mark.parametrize("first", [0, 1])
def test_client__the_last_that_is_closed_leaves_dasks_scheduler_as_it_was(
    cluster: distributed.LocalCluster, chosen: str | None, first: int
) -> None:
    with dask.config.set(scheduler=chosen):
        clients = [Client(cluster), Client(cluster)]
        clients[first].close()
        assert dask.config.get("scheduler") == "dask.distributed"
        assert dask.array.ones(3).sum().compute() == 3
        clients[1 - first].close()
        assert dask.config.get("scheduler") == chosen
        assert dask.array.ones(3).sum().compute() == 3


def test_client__closed_within_its_own_with_leaves_dasks_scheduler_as_it_was(
    cluster: distributed.LocalCluster,
) -> None:
    with Client(cluster) as client:
        client.close()
    assert dask.config.get("scheduler", None) is None
