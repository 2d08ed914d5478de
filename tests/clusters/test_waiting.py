"""While no worker is there, what is waited for is said."""

from __future__ import annotations

import logging
import time

import pytest
from distributed import Client, LocalCluster

from tdmx_dask.clusters import waiting
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob, Joined
from tdmx_dask.clusters.waiting import waits_for
from tdmx_dask.errors import ClusterError


class _Queue(Joined):
    """Stands for a batch scheduler whose job waits; a real one is in tests/slurm."""

    def jobs(self) -> tuple[BatchJob, ...]:
        return (BatchJob("12", state="waiting", reason="Resources"),)


def test_waits_for__counts_jobs_and_names_reasons() -> None:
    jobs = [
        BatchJob("1", state="waiting", reason="Priority"),
        BatchJob("2", state="waiting", reason="Resources"),
    ]
    assert waits_for(0, 2, []) == "0 of 2 workers are here"
    assert waits_for(0, 1, jobs[:1]) == "0 of 1 workers are here; 1 job waits in the queue (Priority)"
    assert waits_for(1, 3, jobs) == "1 of 3 workers are here; 2 jobs wait in the queue (Priority, Resources)"
    assert waits_for(1, 2, [BatchJob("1", state="running")]) == "1 of 2 workers are here"


def test_watch__speaks_when_tasks_wait_and_nobody_works(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.5)
    monkeypatch.setattr(waiting, "_LOOK", 0.1)
    caplog.set_level(logging.WARNING, "tdmx_dask")

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "tdmx_dask"]

    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
        Cluster(Client(empty), _Queue()) as cluster,
    ):
        time.sleep(1)
        assert said() == []  # nobody asks for anything
        future = cluster.client.submit(sum, [1, 2])
        time.sleep(1.5)
        assert said() == [
            "waiting for workers: 0 of 1 workers are here; 1 job waits in the queue (Resources). "
            "Ctrl-C ends; nothing that is done is lost"
        ]
        with pytest.raises(
            ClusterError,
            match=r"workers=0: 2 were waited for during 0\.1 s; 0 of 2 workers are here; 1 job waits",
        ):
            cluster.wait_for_workers(2, timeout=0.1)
        empty.scale(1)
        assert future.result(timeout=10) == 3
        time.sleep(0.5)
        assert said()[1:] == ["workers are here again: going on"]
