"""The objects of a cluster on Kubernetes: what `start_kubernetes` creates and `deploy/kubernetes` shows.

Pure: a profile in, plain mappings out. The scheduler, its default group of workers (for kernels) and their service are one `DaskCluster`
of the Dask operator; workers for fits are a `DaskWorkerGroup`; a `DaskAutoscaler` follows the work. Every pod obeys the pod security
standard `restricted`, asks for what it may use at most (requests = limits), and speaks TLS alone; scheduler and workers serve HTTP on
loopback of their pod, where probes and port-forwarding reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tdmx_dask.clusters.profile import Kubernetes

__all__ = [
    "COMM", "DASHBOARD", "DOOR",
    "autoscaler", "default_group", "fits_group", "fits_share", "has_door", "manifest", "objects",
]  # fmt: skip

GROUP = "kubernetes.dask.org/v1"
COMM, DASHBOARD, DOOR = 8786, 8787, 8788
"""Ports of the scheduler: for workers and clients; the dashboard, on loopback; for the operator, where an autoscaler asks for it."""
WORKER, NANNY, WORKER_HTTP = 8789, 8790, 8791
"""Ports of a worker: for the scheduler and other workers; of its nanny; its HTTP, on loopback."""

USER = 10001
"""That owns the processes in the image of `deploy/docker`."""

TLS = "/tls"
SCRATCH = "/scratch"
SCRATCH_SIZE = "8Gi"

KERNELS_SHARE, FITS_SHARE, BOTH_SHARE = 0.1, 0.8, 0.5
"""Of a pod's memory that the processes of fits may use: in the group for kernels, in that for fits, and where one group does both."""

DURATIONS = '{"tdmx-fit": "10m", "tdmx-job": "1m"}'
"""Of tasks by their name, as the scheduler is told."""

LONGEST_TASK = 600
"""Seconds that a pod for fits is given to end what it runs, once it is told to go."""


def objects(profile: Kubernetes) -> tuple[dict[str, Any], ...]:
    """All that a profile asks for: the cluster, workers for fits if any, an autoscaler if a maximum is given."""
    parts = [manifest(profile)]
    if profile.fits_workers:
        parts.append(fits_group(profile))
    if profile.maximum is not None:
        parts.append(autoscaler(profile, profile.minimum, profile.maximum))
    return tuple(parts)


def manifest(profile: Kubernetes) -> dict[str, Any]:
    """The `DaskCluster`: a scheduler with its service, and the workers of the default group."""
    share, grace = (KERNELS_SHARE, 60) if profile.fits_workers else (BOTH_SHARE, LONGEST_TASK)
    return {
        "apiVersion": GROUP,
        "kind": "DaskCluster",
        "metadata": _metadata(profile, profile.name),
        "spec": {
            "scheduler": {"spec": _scheduler(profile), "service": _service(profile)},
            "worker": {
                "replicas": profile.n_workers,
                "spec": _worker(profile, profile.cores, profile.memory, share, grace=grace),
            },
        },
    }


def fits_group(profile: Kubernetes) -> dict[str, Any]:
    """The `DaskWorkerGroup` for fits: most of a pod's memory is for their processes, and a pod that must go may end what it runs."""
    return {
        "apiVersion": GROUP,
        "kind": "DaskWorkerGroup",
        "metadata": _metadata(profile, f"{profile.name}-fits"),
        "spec": {
            "cluster": profile.name,
            "worker": {
                "replicas": profile.fits_workers,
                "spec": _worker(
                    profile, profile.fits_cores, profile.fits_memory, FITS_SHARE, grace=LONGEST_TASK
                ),
            },
        },
    }


def autoscaler(profile: Kubernetes, minimum: int, maximum: int) -> dict[str, Any]:
    """The `DaskAutoscaler` of the default group."""
    return {
        "apiVersion": GROUP,
        "kind": "DaskAutoscaler",
        "metadata": _metadata(profile, profile.name),
        "spec": {"cluster": profile.name, "minimum": minimum, "maximum": maximum},
    }


def default_group(profile: Kubernetes) -> str:
    """Name that the operator gives to the group of workers of the `DaskCluster`."""
    return f"{profile.name}-default"


def has_door(cluster: Mapping[str, Any]) -> bool:
    """Whether the operator's autoscaler can ask the scheduler of this `DaskCluster`."""
    ports = cluster.get("spec", {}).get("scheduler", {}).get("service", {}).get("ports", ())
    return any(port.get("name") == "http-dashboard" for port in ports)


def fits_share(profile: Kubernetes) -> tuple[int, int, float]:
    """Of the group that runs fits: cores, bytes of a pod, and the fraction of them that is for their processes."""
    if profile.fits_workers:
        return profile.fits_cores, profile.fits_memory, FITS_SHARE
    return profile.cores, profile.memory, BOTH_SHARE


def _metadata(profile: Kubernetes, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": profile.namespace,
        "labels": {"app.kubernetes.io/name": "tdmx-dask", "app.kubernetes.io/instance": profile.name},
    }


def _service(profile: Kubernetes) -> dict[str, Any]:
    """The service of the scheduler. The operator looks up the port that it asks by the name `http-dashboard`.

    Its schema of a target port takes a name alone, no number.
    """
    ports = [{"name": "tcp-comm", "protocol": "TCP", "port": COMM, "targetPort": "tcp-comm"}]
    if profile.maximum is not None:
        ports.append({"name": "http-dashboard", "protocol": "TCP", "port": DOOR, "targetPort": "door"})
    return {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": profile.name, "dask.org/component": "scheduler"},
        "ports": ports,
    }


def _scheduler(profile: Kubernetes) -> dict[str, Any]:
    door = ["--preload", "tdmx_dask.clusters.operator"] if profile.maximum is not None else []
    container = _container(
        profile,
        "scheduler",
        command=["python", "-m", "distributed.cli.dask_scheduler"],
        args=[
            "--protocol",
            "tls",
            "--port",
            str(COMM),
            "--dashboard-address",
            f"127.0.0.1:{DASHBOARD}",
            *door,
        ],
        resources=_resources(1, 2 * 2**30),
    )
    # Nobody knows yet how long they take: without these Dask takes them for half a second, and asks for too few workers.
    container["env"].append(
        {"name": "DASK_DISTRIBUTED__SCHEDULER__DEFAULT_TASK_DURATIONS", "value": DURATIONS}
    )
    container["ports"] = [{"name": "tcp-comm", "containerPort": COMM, "protocol": "TCP"}]
    if door:
        container["ports"].append({"name": "door", "containerPort": DOOR, "protocol": "TCP"})
        container["env"].append({"name": "TDMX_DOOR_CLUSTER", "value": profile.name})
    container["startupProbe"] = _probe(DASHBOARD, period=2, failures=60)
    container["readinessProbe"] = _probe(DASHBOARD, period=10, failures=3)
    container["livenessProbe"] = _probe(DASHBOARD, period=30, failures=6)
    return _pod(profile, container, grace=30)


def _worker(profile: Kubernetes, cores: int, memory: int, share: float, *, grace: int) -> dict[str, Any]:
    """A pod of one worker, which finds the pod's limits by itself. The operator adds the variable DASK_WORKER_NAME."""
    container = _container(
        profile,
        "worker",
        command=["python", "-m", "tdmx_dask.clusters.worker"],
        args=[
            f"tls://{profile.name}-scheduler:{COMM}",
            *("--name", "$(DASK_WORKER_NAME)"),
            *("--worker-port", str(WORKER), "--nanny-port", str(NANNY)),
            *("--dashboard-address", f"127.0.0.1:{WORKER_HTTP}"),
            *("--fits-share", str(share), "--memory", "auto", "--cores", "auto", "--scratch", SCRATCH),
        ],
        resources=_resources(cores, memory),
    )
    # Without it the operator would set one that begins with tcp.
    container["env"].append(
        {"name": "DASK_SCHEDULER_ADDRESS", "value": f"tls://{profile.name}-scheduler:{COMM}"}
    )
    container["lifecycle"] = {"preStop": {"exec": {"command": ["python", "-m", "tdmx_dask.clusters.drain"]}}}
    container["ports"] = [
        {"name": "worker", "containerPort": WORKER, "protocol": "TCP"},
        {"name": "nanny", "containerPort": NANNY, "protocol": "TCP"},
    ]
    container["startupProbe"] = _probe(WORKER_HTTP, period=5, failures=60)
    container["readinessProbe"] = _probe(WORKER_HTTP, period=15, failures=3)
    # A kernel may hold the interpreter for long: only minutes of silence mean that it hangs.
    container["livenessProbe"] = _probe(WORKER_HTTP, period=30, failures=10)
    return _pod(profile, container, grace=grace)


def _pod(profile: Kubernetes, container: dict[str, Any], *, grace: int) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": True,  # so that something reaps the children of a child that was killed
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tls", "secret": {"secretName": profile.tls_secret, "defaultMode": 0o400}},
            {"name": "scratch", "emptyDir": {"sizeLimit": SCRATCH_SIZE}},
        ],
    }
    if profile.service_account is not None:
        pod["serviceAccountName"] = profile.service_account
    if profile.image_pull_secret is not None:
        pod["imagePullSecrets"] = [{"name": profile.image_pull_secret}]
    if profile.node_selector:
        pod["nodeSelector"] = dict(profile.node_selector)
    return pod


def _container(
    profile: Kubernetes, name: str, *, command: list[str], args: list[str], resources: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "image": profile.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "args": args,
        "env": [{"name": key, "value": value} for key, value in _environment().items()],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tls", "mountPath": TLS, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH},
        ],
    }


def _environment() -> dict[str, str]:
    """Dask's configuration. A worker is a server, a client of the scheduler and of other workers: the same key for every role."""
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    roles = {
        f"{tls}{role}__{part}": f"{TLS}/tls.{file}"
        for role in ("SCHEDULER", "WORKER", "CLIENT")
        for part, file in (("CERT", "crt"), ("KEY", "key"))
    }
    return {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls",
        f"{tls}CA_FILE": f"{TLS}/ca.crt",
        **roles,
        "DASK_TEMPORARY_DIRECTORY": SCRATCH,
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
    }


def _resources(cores: int, memory: int) -> dict[str, Any]:
    """Requests = limits: the pod is never squeezed out by others, and what it may use is what the scheduler is told."""
    amounts = {"cpu": str(cores), "memory": _binary(memory), "ephemeral-storage": SCRATCH_SIZE}
    return {"requests": amounts, "limits": dict(amounts)}


def _binary(amount: int) -> str:
    for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)


def _probe(port: int, *, period: int, failures: int) -> dict[str, Any]:
    """A probe from inside: HTTP is on loopback, where the node cannot reach it."""
    return {
        "exec": {"command": ["python", "-m", "tdmx_dask.clusters.health", str(port)]},
        "periodSeconds": period,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }
