"""What every object of ours on Kubernetes has to obey: each rule yields complaints, an empty list is good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dask.config
import distributed  # noqa: F401  brings Dask's defaults of distributed

Pod = Mapping[str, Any]

BESIDE_DASKS = {"scheduler-address", "worker-name", "temporary-directory"}
"""Keys that Dask reads and its defaults do not name (or, the last, name by None)."""


DEFAULTS = dask.config.merge(*dask.config.defaults)


def pods(thing: Mapping[str, Any]) -> Iterator[tuple[str, Pod]]:
    """Pod specifications of an object."""
    kind, spec = thing["kind"], thing.get("spec", {})
    name = f"{kind}/{thing['metadata']['name']}"
    if kind == "DaskCluster":
        yield f"{name}/scheduler", spec["scheduler"]["spec"]
    if kind in ("DaskCluster", "DaskWorkerGroup"):
        yield f"{name}/worker", spec["worker"]["spec"]
    if kind == "Deployment":
        yield name, spec["template"]["spec"]


def complaints(thing: Mapping[str, Any]) -> list[str]:
    """What is wrong with an object."""
    found = [f"{name}: {line}" for name, pod in pods(thing) for line in _of_pod(pod)]
    return found + [f"{thing['kind']}/{thing['metadata']['name']}: {line}" for line in _of_object(thing)]


def _of_pod(pod: Pod) -> Iterator[str]:
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "is given a token of the API server"
    if any(pod.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares something with its node"
    for volume in pod.get("volumes", ()):
        if not set(volume) & {"secret", "emptyDir", "persistentVolumeClaim", "configMap", "projected"}:
            yield f"volume {volume['name']} is neither secret, scratch nor claim"
        if "secret" in volume and volume["secret"].get("defaultMode") != 0o400:
            yield f"secret {volume['name']} can be read by others"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"scratch {volume['name']} has no limit"
    if not pod.get("terminationGracePeriodSeconds"):
        yield "is killed at once"
    for container in pod["containers"]:
        yield from _of_container(container)


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    resources = container.get("resources", {})
    if set(resources.get("limits", ())) < {"cpu", "memory"} or resources["requests"] != resources["limits"]:
        yield "requests are not limits"
    security = container.get("securityContext", {})
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root can be written"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"] or "add" in security["capabilities"]:
        yield "keeps capabilities"
    if security.get("privileged"):
        yield "is privileged"
    if not re.search(r":[\w][\w.-]*$|@sha256:[0-9a-f]{64}$", container["image"].rsplit("/")[-1]) or container[
        "image"
    ].endswith(":latest"):
        yield "its image is not pinned"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        command = container.get(probe, {}).get("exec", {}).get("command")
        if not command:
            yield f"has no {probe} from inside"
        elif f"127.0.0.1:{command[-1]}" not in container["args"]:
            yield f"{probe} asks port {command[-1]}, which is not served on loopback"
    words = [*container.get("command", ()), *container.get("args", ())]
    words += [each.get("value", "") for each in container.get("env", ())]
    if any("tcp://" in word for word in words):
        yield "speaks plain tcp"
    if any(re.search(r"0\.0\.0\.0|\[::\]", word) for word in words):
        yield "listens everywhere"
    yield from _of_environment(container)


def _of_environment(container: Mapping[str, Any]) -> Iterator[str]:
    """Names must be those of Dask's configuration: one that is misspelt is silently ignored, and TLS with it."""
    given = {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}
    for key in _leaves(dask.config.collect_env(dict.fromkeys(given, "some"))):
        if (
            dask.config.get(key, default=KeyError, config=DEFAULTS) is KeyError
            and key.replace("_", "-") not in BESIDE_DASKS
        ):
            yield f"Dask has no setting {key}"
    config = dask.config.merge(DEFAULTS, dask.config.collect(paths=[], env=given))
    if dask.config.get("distributed.comm.require-encryption", config=config) is not True:
        yield "does not insist on TLS"
    mounted = {each["mountPath"] for each in container.get("volumeMounts", ())}
    roles = [f"{role}.{part}" for role in ("scheduler", "worker", "client") for part in ("cert", "key")]
    paths = [dask.config.get(f"distributed.comm.tls.{each}", config=config) for each in ("ca-file", *roles)]
    if any(path is None or path.rsplit("/", 1)[0] not in mounted for path in paths):
        yield "has no credentials for every role"


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _of_object(thing: Mapping[str, Any]) -> Iterator[str]:
    if thing["kind"] == "Namespace":
        if thing["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "does not enforce the standard for pods"
    elif thing["kind"] not in ("Deployment",) and thing["metadata"].get("namespace") != "tdmx":
        yield "is in another namespace"
    if thing["kind"] in ("Role", "ClusterRole"):
        for rule in thing["rules"]:
            if "*" in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]:
                yield "gives rights to everything"
            if "secrets" in rule["resources"] and not rule.get("resourceNames"):
                yield "reads every secret"
    if thing["kind"] == "ServiceAccount" and thing.get("automountServiceAccountToken") is not False:
        yield "gives its token away"
    if thing["kind"] == "DaskCluster" and thing["spec"]["scheduler"]["service"]["type"] != "ClusterIP":
        yield "is reached from outside"
    if thing["kind"] == "NetworkPolicy":
        for rule in thing["spec"].get("ingress", ()):
            if not rule.get("from") or not rule.get("ports"):
                yield "lets everybody in"
