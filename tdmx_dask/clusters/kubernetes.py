"""A cluster on Kubernetes, run by the Dask operator: create or join it, scale it, see its pods.

`dask_kubernetes.KubeCluster` is not used: it asks the scheduler in plain tcp whether it is up, and waits for ever where that speaks TLS
alone. This talks to the API server itself, through kr8s, and to the scheduler over TLS: by its service from inside, through a port
forwarded to loopback from outside.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import yaml
from distributed.security import Security

from tdmx_dask.clusters import manifest as made
from tdmx_dask.clusters import security
from tdmx_dask.clusters.api_server import ApiServer, Refused
from tdmx_dask.clusters.client import Client
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.plugins import install
from tdmx_dask.clusters.pods import as_job, is_ready, stuck
from tdmx_dask.clusters.profile import Kubernetes
from tdmx_dask.clusters.shape import Shape, publish
from tdmx_dask.clusters.versions import refuse_other_versions
from tdmx_dask.clusters.worker import Node, plan
from tdmx_dask.errors import ClusterError

__all__ = ["start_kubernetes"]

ACTED = 60.0
"""Seconds in which the operator has to take up a new cluster."""

STARTED = 600.0
"""Seconds in which the scheduler's pod has to be ready: a node may have to be started, an image to be fetched."""

ANSWER = "10s"
"""In which the scheduler has to answer."""

LOOK = 0.25
"""Seconds between two looks."""

_log = logging.getLogger("tdmx_dask")


def start_kubernetes(profile: Kubernetes, *, name: str = "kubernetes") -> Cluster:
    """Join the `DaskCluster` that the profile names, or create it; one that was created is deleted at the end.

    Raises
    ------
    ClusterError
        kr8s is not installed, no API server answers, the operator does nothing, or the scheduler's pod cannot start.
    InputError
        The credentials cannot be read.
    """
    api = ApiServer(profile.namespace)
    engine = _Pods(profile, api)
    try:
        tls = _credentials(profile, api)
        existing = api.find("daskclusters", profile.name)
        if existing is None:
            engine.create()
        pod = _scheduler(profile, api)
        address = _address(profile, api, pod)
        engine.client = client = _client(address, tls)
        if existing is None:
            publish(client, _shape(profile))
    except BaseException:
        engine.close()
        raise
    return Cluster(client, engine, name=name)


class _Pods:
    """Pods of a `DaskCluster`."""

    kind = "kubernetes"

    def __init__(self, profile: Kubernetes, api: ApiServer) -> None:
        self._profile = profile
        self._api = api
        self._owned: list[tuple[str, str]] = []
        self.client: Client | None = None

    def create(self) -> None:
        for each in made.objects(self._profile):
            own = (each["kind"].lower() + "s", each["metadata"]["name"])
            self._owned.append(
                own
            )  # before it is there: an answer that does not come does not mean that it is not made
            try:
                self._api.create(each)
            except Refused:
                self._owned.remove(own)
                raise

    def scale(self, n: int) -> None:
        """Of the default group. Pods that are too many end what they run; those with the fewest tasks, then the fewest bytes, go first."""
        group = made.default_group(self._profile)
        self._api.delete("daskautoscalers", self._profile.name)
        found = self._api.list("deployments", f"dask.org/workergroup-name={group}")
        there = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
        for each in self._expendable(there, len(there) - n):
            self._api.delete("deployments", each)
        # The operator compares this with the pods that there are. None is left for it to stop: it would ask the scheduler in plain HTTP.
        if not self._api.patch("daskworkergroups", group, {"spec": {"worker": {"replicas": n}}}):
            raise ClusterError(
                "scale", n, f"there is no group of workers {group}", "Is the cluster still there?"
            )

    def _expendable(self, there: list[str], n: int) -> list[str]:
        if n <= 0 or self.client is None:
            return []
        known: dict[str, tuple[int, int]] = self.client.run_on_scheduler(_load)
        nothing = (-1, 0)  # it has not come yet
        return sorted(there, key=lambda each: known.get(each, nothing))[:n]

    def adapt(self, minimum: int, maximum: int) -> None:
        """Let the operator's autoscaler follow the work in the default group."""
        cluster = self._api.find("daskclusters", self._profile.name) or {}
        if not made.has_door(cluster):
            raise ClusterError(
                "adapt",
                f"{minimum}..{maximum}",
                "the scheduler of this cluster has no door for the operator's autoscaler",
                "Start it with maximum=, or apply deploy/kubernetes/autoscaled.",
            )
        wanted = made.autoscaler(self._profile, minimum, maximum)
        if not self._api.patch("daskautoscalers", self._profile.name, {"spec": wanted["spec"]}):
            self._api.create(wanted)

    def job_script(self) -> str:
        return str(yaml.safe_dump_all(made.objects(self._profile), sort_keys=False))

    def jobs(self) -> tuple[BatchJob, ...]:
        workers = f"dask.org/cluster-name={self._profile.name},dask.org/component=worker"
        return tuple(as_job(pod) for pod in self._api.list("pods", workers))

    def close(self) -> None:
        """Delete what was created here: the pods are theirs, and go with them."""
        try:
            while self._owned:
                kind, name = self._owned[-1]
                try:
                    self._api.delete(kind, name)
                except ClusterError as error:  # the rest is deleted all the same
                    _log.error("%s %s was left in %s: %s", kind, name, self._profile.namespace, error)
                self._owned.pop()
        finally:
            self._api.close()


def _load(dask_scheduler: Any) -> dict[str, tuple[int, int]]:
    """Tasks and bytes of each worker by its name; runs on the scheduler."""
    return {str(each.name): (len(each.processing), each.nbytes) for each in dask_scheduler.workers.values()}


def _credentials(profile: Kubernetes, api: ApiServer) -> Security:
    """Credentials of the profile's files, else of the Secret that the pods have."""
    if profile.tls_ca_file and profile.tls_cert and profile.tls_key:
        return security.from_files(
            security.Credentials(profile.tls_ca_file, profile.tls_cert, profile.tls_key)
        )
    found = api.find("secrets", profile.tls_secret)
    data: Mapping[str, str] = {} if found is None else found.get("data", {})
    missing = [key for key in ("ca.crt", "tls.crt", "tls.key") if key not in data]
    if missing:
        raise ClusterError(
            "tls_secret",
            f"{profile.namespace}/{profile.tls_secret}",
            "there is no such Secret" if found is None else f"it has no {', '.join(missing)}",
            "deploy/kubernetes/README.md says how it is made; or name another, and this client's tls_ca_file, tls_cert and tls_key.",
        )
    text = {key: base64.b64decode(data[key]).decode("ascii") for key in ("ca.crt", "tls.crt", "tls.key")}
    return Security(
        require_encryption=True,
        tls_ca_file=text["ca.crt"],
        tls_client_cert=text["tls.crt"],
        tls_client_key=text["tls.key"],
    )


def _scheduler(profile: Kubernetes, api: ApiServer) -> Mapping[str, Any]:
    """Wait for the scheduler's pod; says why where it does not come."""
    began = time.monotonic()
    labels = f"dask.org/cluster-name={profile.name},dask.org/component=scheduler"
    why = "the operator has made no pod for it"
    while (waited := time.monotonic() - began) < STARTED:
        pods = api.list("pods", labels)
        for pod in pods:
            if is_ready(pod):
                return pod
            why = as_job(pod).reason or "it is not ready"
            if stuck(pod):
                break
        if not pods and waited > ACTED and not (api.find("daskclusters", profile.name) or {}).get("status"):
            why = f"the Dask operator has not taken it up in {ACTED:g} s: it does not run, or does not watch this namespace"
            break
        if any(stuck(pod) for pod in pods):
            break
        time.sleep(LOOK)
    raise ClusterError(
        "kubernetes",
        f"{profile.namespace}/{profile.name}",
        f"the scheduler does not start: {why}",
        f"See kubectl -n {profile.namespace} describe pods -l {labels}.",
    )


def _address(profile: Kubernetes, api: ApiServer, pod: Mapping[str, Any]) -> str:
    """The scheduler's address: its service inside the cluster, a tunnel that the API server makes outside."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return f"tls://{profile.name}-scheduler.{profile.namespace}.svc:{made.COMM}"
    return f"tls://127.0.0.1:{api.forward(pod, made.COMM)}"


def _client(address: str, tls: Security) -> Client:
    try:
        client = Client(address, timeout=ANSWER, security=tls)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            "kubernetes",
            address,
            f"the scheduler does not answer ({error})",
            "It speaks TLS with the credentials of the Secret alone: has that been changed since it started?",
        ) from error
    try:
        refuse_other_versions(client)
        install(client)
    except BaseException:
        client.close()
        raise
    return client


def _shape(profile: Kubernetes) -> Shape:
    cores, memory, share = made.fits_share(profile)
    most = (profile.n_workers if profile.maximum is None else profile.maximum) + profile.fits_workers
    worker = plan(Node(cores, memory), cores=None, memory=None, fits_share=share)
    return Shape("kubernetes", worker.threads, worker.fits_mb, most)
