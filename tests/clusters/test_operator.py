"""The operator's door: what it answers to the operator's own functions, and that it answers nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_kubernetes.operator.controller import controller

from tdmx_dask.clusters import manifest
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.health import is_healthy, main
from tdmx_dask.clusters.kubernetes import start_kubernetes
from tdmx_dask.clusters.operator import expendable, wanted
from tdmx_dask.clusters.profile import Kubernetes
from tests.clusters.kubernetes_stand_in import Kubernetes as StandIn
from tests.clusters.kubernetes_stand_in import free_port
from tests.clusters.test_kubernetes import with_secret

PREFIX = "tdmx-default-worker-"


def worker(name: str, tasks: int = 0, nbytes: int = 0) -> Any:
    return SimpleNamespace(name=name, processing=dict.fromkeys(range(tasks)), nbytes=nbytes)


WORKERS = [
    worker(PREFIX + "busy", tasks=2),
    worker(PREFIX + "full", nbytes=100),
    worker(PREFIX + "idle"),
    worker("tdmx-fits-worker-idle"),
]


def test_wanted__others_are_not_counted_twice() -> None:
    assert wanted(5, WORKERS, PREFIX) == 4
    assert wanted(0, WORKERS, PREFIX) == 0
    assert wanted(3, [], PREFIX) == 3


def test_expendable__loses_least_and_is_of_the_group() -> None:
    names = [each.name.removeprefix(PREFIX) for each in expendable(WORKERS, 9, PREFIX)]
    assert names == ["idle", "full", "busy"]
    assert len(expendable(WORKERS, 1, PREFIX)) == 1
    assert expendable(WORKERS, -1, PREFIX) == []


def test_health__says_what_is_there() -> None:
    assert main([str(free_port())]) == 1
    for wrong in ([], ["x"], ["0"], ["65536"], ["1", "2"]):
        assert main(wrong) == 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with StandIn(tmp_path) as made:
        monkeypatch.setenv("KUBECONFIG", str(with_secret(made).kubeconfig))
        yield made


@pytest.fixture
def cluster(here: StandIn) -> Iterator[Cluster]:
    profile = Kubernetes(n_workers=1, fits_workers=1, cores=1, memory=2**30, image="tdmx-dask:0", maximum=4)
    with start_kubernetes(profile) as started:
        yield started


def ask(port: int, method: str, path: str, body: str = "") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_door__answers_the_operator(cluster: Cluster, here: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = here.pods["tdmx-scheduler"]
    door = scheduler.port(manifest.DOOR)
    asked = []

    async def address(*_: object, port_name: str = "tcp-comm", **__: object) -> str:
        asked.append(port_name)
        return f"tcp://127.0.0.1:{door}"

    monkeypatch.setattr(controller, "get_scheduler_address", address)
    log = logging.getLogger("tests")

    cluster.wait_for_workers(2, timeout=40)
    assert asyncio.run(controller.get_desired_workers("tdmx-scheduler", "default")) == 0
    idle = asyncio.run(controller.check_scheduler_idle("tdmx-scheduler", "default", log))
    assert 0 < time.time() - idle < 60
    futures = cluster.client.map(time.sleep, [5 + each / 100 for each in range(40)], key="tdmx-fit")
    end = time.monotonic() + 10
    while (
        asyncio.run(controller.get_desired_workers("tdmx-scheduler", "default")) < 3
    ):  # ten minutes each, for all that is known
        assert time.monotonic() < end
        time.sleep(0.1)
    going = asyncio.run(controller.retire_workers(2, "tdmx-scheduler", "tdmx-default", "default", log))
    assert [name.rsplit("-", 1)[0] for name in going] == ["tdmx-default-worker"]  # never one for fits
    assert set(asked) == {"http-dashboard"}  # never the plain protocol of Dask
    assert cluster.n_workers == 2  # the answer changes nothing
    cluster.client.cancel(futures)

    for method, path in (("GET", "/"), ("GET", "/status"), ("GET", "/info/main/workers.html"), ("GET", "/health"),
                         ("GET", "/json/identity.json"), ("GET", "/metrics"), ("GET", "/api/v1/get_workers")):  # fmt: skip
        assert ask(door, method, path)[0] == 404
    for wrong in ("", "{}", '{"n": "x"}', "[1]", json.dumps({"workers": ["tls://x"]})):
        assert ask(door, "POST", "/api/v1/retire_workers", wrong)[0] == 400
    assert is_healthy(scheduler.port(manifest.DASHBOARD))


def test_door__is_shut_where_none_was_asked_for(here: StandIn) -> None:
    with start_kubernetes(Kubernetes(n_workers=0, image="tdmx-dask:0")):
        assert 8788 not in [
            each["containerPort"]
            for each in here.pods["tdmx-scheduler"].template["spec"]["containers"][0]["ports"]
        ]
