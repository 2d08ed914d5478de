"""Clusters on Kubernetes: what pods say, what errors say, and a whole life against a stand-in whose pods are real processes."""

from __future__ import annotations

import dataclasses
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client

from tdmx_dask.clusters import api_server, kubernetes, manifest, security
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.kubernetes import start_kubernetes
from tdmx_dask.clusters.pods import as_job, is_ready, stuck
from tdmx_dask.clusters.profile import Kubernetes
from tdmx_dask.clusters.shape import published
from tdmx_dask.errors import ClusterError
from tests.clusters.kubernetes_stand_in import Kubernetes as StandIn

PROFILE = Kubernetes(n_workers=1, cores=1, memory=2**30, image="tdmx-dask:0")


def pod(phase: str, *, metadata: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    env = [{"name": "DASK_WORKER_NAME", "value": "tdmx-default-worker-1"}]
    return {
        "metadata": {"name": "tdmx-default-worker-1-abc", **(metadata or {})},
        "spec": {"nodeName": "node-7", "containers": [{"env": env}]},
        "status": {"phase": phase, **status},
    }


def container(*, restarts: int = 0, last: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    return {"state": state, "lastState": last or {}, "restartCount": restarts}


OOM = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
UNPLACED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient memory.",
}
PULL = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "tdmx-dask:9"'}


@pytest.mark.parametrize(
    ("given", "state", "reason"),
    [
        (pod("Pending"), "waiting", "Pending"),
        (pod("Pending", conditions=[UNPLACED]), "waiting", "Unschedulable: 0/3 nodes are available: 3 Insufficient memory."),
        (pod("Pending", containerStatuses=[container(waiting=PULL)]), "waiting", f"ImagePullBackOff: {PULL['message']}"),
        (pod("Pending", containerStatuses=[container(waiting={"reason": "ContainerCreating"})]), "waiting", "ContainerCreating"),
        (pod("Running", containerStatuses=[container(running={})]), "running", ""),
        (pod("Running", containerStatuses=[container(running={}, restarts=2, last=OOM)]), "running",
         "OOMKilled (exit code 137), restarted 2 times"),
        (pod("Running", containerStatuses=[container(waiting={"reason": "CrashLoopBackOff"}, restarts=3, last=OOM)]), "waiting",
         "CrashLoopBackOff (OOMKilled (exit code 137), restarted 3 times)"),
        (pod("Running", metadata={"deletionTimestamp": "now"}), "ending", "Terminating"),
        (pod("Failed", reason="Evicted", message="The node was low on memory."), "gone", "Evicted: The node was low on memory."),
        (pod("Failed", containerStatuses=[container(terminated=OOM["terminated"])]), "gone", "OOMKilled (exit code 137)"),
        (pod("Succeeded", containerStatuses=[container(terminated={"reason": "Completed", "exitCode": 0})]), "gone", "Succeeded"),
        (pod("Unknown", reason="NodeLost"), "unknown", "NodeLost"),
        ({"metadata": {"name": "new"}}, "unknown", "Unknown"),
    ],
)  # fmt: skip
def test_pod__says_why(given: dict[str, Any], state: str, reason: str) -> None:
    job = as_job(given)
    assert (job.state, job.reason) == (state, reason)
    if "spec" in given:
        assert (job.id, job.worker, job.node) == (
            "tdmx-default-worker-1-abc",
            "tdmx-default-worker-1",
            "node-7",
        )


def test_pod__what_passes_by_waiting() -> None:
    assert stuck(pod("Pending", conditions=[UNPLACED])) == ""
    assert stuck(pod("Pending", containerStatuses=[container(waiting=PULL)])).startswith("ImagePullBackOff")
    ready = [{"type": "Ready", "status": "True"}]
    assert is_ready(pod("Running", conditions=ready))
    assert not is_ready(pod("Running", conditions=[{"type": "Ready", "status": "False"}]))
    assert not is_ready(pod("Running", metadata={"deletionTimestamp": "now"}, conditions=ready))


def test_start__without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kr8s", None)
    with pytest.raises(ClusterError, match=r'needs kr8s .*pip install "tdmx-dask\[kubernetes\]"'):
        start_kubernetes(PROFILE)


def test_start__without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no credentials of a Kubernetes cluster"):
        start_kubernetes(PROFILE)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "is silent"])
def test_start__no_server_answers(silent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "ANSWER", 1.0)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen()
        port = server.getsockname()[1]
        config = {
            "clusters": [{"name": "it", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
            "users": [{"name": "it", "user": {"token": "it"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        began = time.monotonic()
        with pytest.raises(ClusterError, match="the API server does not answer"):
            start_kubernetes(PROFILE)
        assert time.monotonic() - began < 5


def test_address__is_the_service_inside_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    here = kubernetes._address(dataclasses.replace(PROFILE, namespace="tdmx"), None, {})  # type: ignore[arg-type]
    assert here == "tls://tdmx-scheduler.tdmx.svc:8786"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with StandIn(tmp_path) as here:
        monkeypatch.setenv("KUBECONFIG", str(here.kubeconfig))
        yield here


def with_secret(here: StandIn) -> StandIn:
    made = security.temporary()
    here.secret(
        "tdmx-tls",
        {"ca.crt": made.tls_ca_file, "tls.crt": made.tls_client_cert, "tls.key": made.tls_client_key},
    )
    return here


def until(true: Callable[[], bool], *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_start__secret_is_missing(stand_in: StandIn) -> None:
    with pytest.raises(ClusterError, match=r"tls_secret=.*default/tdmx-tls.*there is no such Secret"):
        start_kubernetes(PROFILE)
    stand_in.secret("tdmx-tls", {"ca.crt": ""})
    with pytest.raises(ClusterError, match=r"it has no tls.crt, tls.key"):
        start_kubernetes(PROFILE)
    assert stand_in.named("daskclusters") == []


def test_start__no_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn(tmp_path, refuses=403) as here:
        monkeypatch.setenv("KUBECONFIG", str(here.kubeconfig))
        with pytest.raises(ClusterError, match=r"refuses: you may not. .*access.yaml"):
            start_kubernetes(PROFILE)


def test_start__no_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "ACTED", 0.5)
    with StandIn(tmp_path, operator=False) as here:
        with_secret(here)
        monkeypatch.setenv("KUBECONFIG", str(here.kubeconfig))
        with pytest.raises(ClusterError, match="the Dask operator has not taken it up"):
            start_kubernetes(PROFILE)
        assert here.named("daskclusters") == []  # what was created is deleted again


def test_start__scheduler_cannot_run(stand_in: StandIn) -> None:
    stand_in.secret("tdmx-tls", {"ca.crt": "no", "tls.crt": "such", "tls.key": "key"})
    with pytest.raises(ClusterError, match="the scheduler does not start: CrashLoopBackOff: exit code 1"):
        start_kubernetes(PROFILE)
    assert stand_in.things.keys() == {("secrets", "tdmx-tls")}


@pytest.fixture
def cluster(stand_in: StandIn) -> Iterator[Cluster]:
    with_secret(stand_in)
    with start_kubernetes(dataclasses.replace(PROFILE, maximum=4)) as started:
        yield started


def test_life(cluster: Cluster, stand_in: StandIn, tmp_path: Path) -> None:
    """Start, run, scale up, scale down while something runs, join, adapt, close: all over TLS and the API server's tunnel."""
    noted, go = tmp_path / "noted", tmp_path / "go"

    def note() -> None:  # each beginning and end can be counted
        for word in ("begun ", "ended "):
            with noted.open("a") as file:
                file.write(word)
            while not go.exists():
                time.sleep(0.05)

    assert cluster.client.scheduler.address.startswith("tls://127.0.0.1:")
    shape = published(cluster.client)
    assert shape is not None
    assert (shape.kind, shape.threads, shape.most) == ("kubernetes", 1, 4)
    cluster.wait_for_workers(1, timeout=30)
    assert cluster.client.submit(sum, [1, 2]).result(timeout=20) == 3
    (job,) = cluster.jobs
    assert (job.state, job.worker, job.node) == ("running", "tdmx-default-worker-0000000000", "here")
    (worker,) = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
    assert worker["name"] == job.worker
    assert worker["resources"].keys() == {"MEM", "CPU"}

    cluster.scale(2)
    cluster.wait_for_workers(2, timeout=30)
    slow = cluster.client.submit(note, workers=[job.worker], allow_other_workers=False)
    until(noted.exists)
    cluster.scale(1)  # the idle one goes
    until(lambda: cluster.n_workers == 1)
    assert [each.worker for each in cluster.jobs if each.state == "running"] == [job.worker]
    assert not slow.done()
    assert noted.read_text() == "begun "
    assert stand_in.asked_to_stop == []  # the operator had nothing to choose

    cluster.adapt(1, 3)
    assert stand_in.things["daskautoscalers", "tdmx"]["spec"] == {
        "cluster": "tdmx",
        "minimum": 1,
        "maximum": 3,
    }
    with start_kubernetes(PROFILE) as other:
        assert (
            other.client.scheduler_info(n_workers=0)["id"] == cluster.client.scheduler_info(n_workers=0)["id"]
        )
    assert stand_in.named("daskclusters") == ["tdmx"]  # who joined leaves it alone

    cluster.scale(0)
    assert {each.state for each in cluster.jobs} == {"ending"}
    assert cluster.n_workers == 1
    go.touch()  # it ends what it runs, and stays until its result is fetched, for no other worker can hold it
    assert slow.result(timeout=20) is None
    slow.release()
    until(lambda: cluster.n_workers == 0)
    assert noted.read_text() == "begun ended "
    documents = list(yaml.safe_load_all(cluster.job_script()))
    assert documents[0] == manifest.manifest(dataclasses.replace(PROFILE, maximum=4))
    cluster.close()
    assert stand_in.things.keys() == {("secrets", "tdmx-tls")}
    until(lambda: stand_in.pods == {})


def test_adapt__needs_a_door(stand_in: StandIn) -> None:
    with_secret(stand_in)
    with (
        start_kubernetes(dataclasses.replace(PROFILE, n_workers=0)) as started,
        pytest.raises(ClusterError, match=r"adapt=.*no door for the operator's autoscaler"),
    ):
        started.adapt(0, 2)


def test_stranger__is_refused(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address
    with pytest.raises(OSError, match="TLS certificate does not match"):
        Client(address, security=security.temporary(), timeout="3s")
    with pytest.raises(OSError, match="closed"):
        Client(address.replace("tls://", "tcp://"), timeout="2s")


def test_start__credentials_are_others(cluster: Cluster, stand_in: StandIn, tmp_path: Path) -> None:
    files = security.write(security.temporary(), tmp_path / "mine")
    profile = dataclasses.replace(PROFILE, tls_ca_file=files.ca_file, tls_cert=files.cert, tls_key=files.key)
    with pytest.raises(ClusterError, match=r"the scheduler does not answer .*TLS certificate does not match"):
        start_kubernetes(profile)
    assert stand_in.named("daskclusters") == ["tdmx"]
