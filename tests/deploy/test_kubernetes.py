"""deploy/kubernetes: is what the API server and the operator will take, obeys our rules, and its commands run."""

from __future__ import annotations

import copy
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask_kubernetes
import jsonschema
import kubernetes_validate
import pytest
import yaml

import tdmx_dask as tdmx
from tdmx_dask.clusters import manifest
from tdmx_dask.clusters.profile import Kubernetes
from tests.deploy.policy import complaints

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
CRDS = Path(dask_kubernetes.__file__).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
RELEASES = ("1.30", "1.33", kubernetes_validate.latest_version())

SHOWN = Kubernetes(
    namespace="tdmx",
    image=f"tdmx-dask:{tdmx.__version__}",
    fits_workers=2,
    fits_memory=16 * 2**30,
    service_account="tdmx",
)
"""The profile that deploy/kubernetes shows."""

Thing = dict[str, Any]


def read(*paths: Path) -> list[Thing]:
    return [
        thing for path in paths for thing in yaml.safe_load_all(path.read_text(encoding="utf-8")) if thing
    ]


def named(*folders: str) -> list[Thing]:
    """What the kustomizations of these folders name, as their files say it."""
    paths = []
    for folder in folders:
        (listed,) = read(FOLDER / folder / "kustomization.yaml")
        paths += [FOLDER / folder / each for each in listed["resources"] if each.endswith(".yaml")]
    return read(*paths)


def label(thing: Thing) -> str:
    return f"{thing['kind']}-{thing['metadata']['name']}"


THINGS = named("fixed", "autoscaled")
OURS = [thing for thing in THINGS if thing["apiVersion"] == manifest.GROUP]
CORE = [thing for thing in THINGS if thing["apiVersion"] != manifest.GROUP]


def kustomized(folder: str) -> list[Thing]:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl, which renders kustomizations")
    command = ["kubectl", "kustomize", str(FOLDER / folder)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [thing for thing in yaml.safe_load_all(text) if thing]


def closed(schema: Any) -> Any:
    """A schema that refuses what it does not name, as the API server would silently drop it."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if (
        isinstance(schema.get("properties"), dict)
        and schema.get("type") == "object"
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        made.setdefault("additionalProperties", False)
    return made


def schema_of(kind: str) -> Mapping[str, Any]:
    (crd,) = read(CRDS / f"{kind.lower()}.yaml")
    schema = closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    # The API server knows these itself.
    schema["properties"] |= {
        "apiVersion": {"const": manifest.GROUP},
        "kind": {"const": kind},
        "metadata": {"type": "object"},
    }
    return schema


SCHEMAS = {kind: schema_of(kind) for kind in ("DaskCluster", "DaskWorkerGroup", "DaskAutoscaler")}


def pods_of_operator() -> list[Thing]:
    """The Deployments that the operator itself makes of our objects."""
    from dask_kubernetes.operator.controller import controller

    cluster, group = manifest.manifest(SHOWN), manifest.fits_group(SHOWN)
    labels, spec = cluster["metadata"]["labels"], cluster["spec"]
    made = [controller.build_scheduler_deployment_spec("tdmx", spec["scheduler"]["spec"], {}, labels)]
    for name, worker in (("tdmx-default", spec["worker"]), ("tdmx-fits", group["spec"]["worker"])):
        made.append(
            controller.build_worker_deployment_spec(
                name, "tdmx", "tdmx", "0123456789", worker["spec"], {}, labels
            )
        )
    return made


@pytest.mark.parametrize("thing", CORE, ids=label)
@pytest.mark.parametrize("release", RELEASES)
def test_core_object__is_valid(thing: Thing, release: str) -> None:
    kubernetes_validate.validate(thing, release, strict=True)


@pytest.mark.parametrize("thing", OURS, ids=label)
def test_object_of_the_operator__is_valid(thing: Thing) -> None:
    jsonschema.validate(thing, SCHEMAS[thing["kind"]])


@pytest.mark.parametrize("thing", THINGS, ids=label)
def test_object__obeys_our_rules(thing: Thing) -> None:
    assert complaints(thing) == []


def test_object__every_file_is_named() -> None:
    files = {path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert len(read(*files)) == len(THINGS) > 12


@pytest.mark.parametrize("thing", pods_of_operator(), ids=label)
def test_pod_of_the_operator__is_valid_and_obeys(thing: Thing) -> None:
    kubernetes_validate.validate(thing, RELEASES[-1], strict=True)
    assert complaints(thing) == []


def test_kustomization__fixed_is_its_files() -> None:
    fixed = named("fixed")
    assert sorted(kustomized("fixed"), key=label) == sorted(fixed, key=label)


def test_kustomization__autoscaled_is_the_manifest_of_a_maximum() -> None:
    import dataclasses

    profile = dataclasses.replace(SHOWN, maximum=20)
    things = {label(thing): thing for thing in kustomized("autoscaled")}
    for thing in manifest.objects(profile):
        assert things[label(thing)] == thing
        jsonschema.validate(thing, SCHEMAS[thing["kind"]])
        assert complaints(thing) == []
    assert manifest.has_door(things["DaskCluster-tdmx"])
    assert len(things) == len(THINGS)


def test_files__are_what_start_kubernetes_creates() -> None:
    shown = {label(thing): thing for thing in named("fixed")}
    created = manifest.objects(SHOWN)
    assert [label(thing) for thing in created] == ["DaskCluster-tdmx", "DaskWorkerGroup-tdmx-fits"]
    for thing in created:
        assert shown[label(thing)] == thing
    assert not manifest.has_door(created[0])


@pytest.mark.parametrize(
    "profile",
    [
        Kubernetes(),
        Kubernetes(
            image_pull_secret="registry",  # noqa: S106
            node_selector={"pool": "fits"},
            maximum=3,
            memory=1500 * 10**6,
        ),
    ],
    ids=["default", "everything"],
)
def test_manifest__of_any_profile_is_valid(profile: Kubernetes) -> None:
    for thing in manifest.objects(profile):
        jsonschema.validate(thing, SCHEMAS[thing["kind"]])


def test_network__ports_are_those_of_the_pods() -> None:
    """Nothing reaches a port that no container has, and no port of HTTP on loopback is let through but the operator's door."""
    let_in = {
        port["port"]
        for thing in CORE
        if thing["kind"] == "NetworkPolicy"
        for rule in thing["spec"].get("ingress", ())
        for port in rule["ports"]
    }
    assert let_in == {manifest.COMM, manifest.DOOR, manifest.WORKER, manifest.NANNY}


def _worker(thing: Thing) -> Thing:
    container: Thing = thing["spec"]["worker"]["spec"]["containers"][0]
    return container


def _set(path: str, value: Any) -> Callable[[Thing], None]:
    """A change at a path of the worker's pod."""

    def change(thing: Thing) -> None:
        place = thing["spec"]["worker"]["spec"]
        *way, last = (int(each) if each.isdecimal() else each for each in path.split("/"))
        for each in way:
            place = place[each]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return change


def _add_env(name: str, value: str) -> Callable[[Thing], None]:
    return lambda thing: _worker(thing)["env"].append({"name": name, "value": value})


def _without_env(name: str) -> Callable[[Thing], None]:
    def change(thing: Thing) -> None:
        _worker(thing)["env"][:] = [each for each in _worker(thing)["env"] if each["name"] != name]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("containers/0/resources/limits/memory", "5Gi"), "requests are not limits"),
        (_set("containers/0/resources", {}), "requests are not limits"),
        (_set("securityContext/runAsNonRoot", False), "may run as root"),
        (_set("securityContext/runAsUser", 0), "may run as root"),
        (_set("securityContext/seccompProfile", KeyError), "seccomp"),
        (_set("automountServiceAccountToken", True), "token"),
        (_set("hostNetwork", True), "shares something with its node"),
        (_set("volumes/1", {"name": "scratch", "hostPath": {"path": "/data"}}), "neither secret, scratch nor claim"),
        (_set("volumes/0/secret/defaultMode", 0o644), "can be read by others"),
        (_set("volumes/1/emptyDir", {}), "has no limit"),
        (_set("terminationGracePeriodSeconds", 0), "killed at once"),
        (_set("containers/0/securityContext/readOnlyRootFilesystem", False), "root can be written"),
        (_set("containers/0/securityContext/allowPrivilegeEscalation", KeyError), "gain privileges"),
        (_set("containers/0/securityContext/capabilities/add", ["NET_ADMIN"]), "keeps capabilities"),
        (_set("containers/0/securityContext/privileged", True), "is privileged"),
        (_set("containers/0/image", "tdmx-dask:latest"), "not pinned"),
        (_set("containers/0/image", "registry:5000/tdmx-dask"), "not pinned"),
        (_set("containers/0/livenessProbe", KeyError), "no livenessProbe"),
        (_set("containers/0/readinessProbe", {"httpGet": {"port": 8791}}), "no readinessProbe from inside"),
        (_set("containers/0/startupProbe/exec/command/3", "8787"), "not served on loopback"),
        (_set("containers/0/args/0", "tcp://tdmx-scheduler:8786"), "plain tcp"),
        (_set("containers/0/args/8", "0.0.0.0:8791"), "listens everywhere"),
        (_add_env("DASK_DISTRIBUTED__COMM__TLS__CAFILE", "/tls/ca.crt"), "no setting distributed.comm.tls.cafile"),
        (_without_env("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"), "does not insist on TLS"),
        (_without_env("DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY"), "no credentials for every role"),
        (_set("containers/0/volumeMounts/0/mountPath", "/other"), "no credentials for every role"),
    ],
)  # fmt: skip
def test_rule__can_be_broken(change: Callable[[Thing], None], said: str) -> None:
    thing = copy.deepcopy(manifest.manifest(SHOWN))
    assert complaints(thing) == []
    change(thing)
    assert any(said in line for line in complaints(thing)), complaints(thing)


def test_rule__of_objects_can_be_broken() -> None:
    broken = [
        ("Namespace", lambda thing: thing["metadata"].pop("labels"), "standard for pods"),
        ("Role", lambda thing: thing["rules"][0]["verbs"].append("*"), "rights to everything"),
        ("Role", lambda thing: thing["rules"][-1].pop("resourceNames"), "every secret"),
        ("ServiceAccount", lambda thing: thing.pop("automountServiceAccountToken"), "token"),
        (
            "DaskCluster",
            lambda thing: thing["spec"]["scheduler"]["service"].update(type="LoadBalancer"),
            "outside",
        ),
        ("DaskAutoscaler", lambda thing: thing["metadata"].update(namespace="default"), "another namespace"),
    ]
    for kind, change, said in broken:
        thing = copy.deepcopy(next(each for each in THINGS if each["kind"] == kind))
        change(thing)  # type: ignore[no-untyped-call]
        assert any(said in line for line in complaints(thing)), kind
    policy = copy.deepcopy(next(each for each in THINGS if label(each) == "NetworkPolicy-scheduler"))
    policy["spec"]["ingress"][0]["from"] = []
    assert any("lets everybody in" in line for line in complaints(policy))


def test_schema__can_refuse() -> None:
    for path, value in (
        ("containers/0/imagePullPolice", "Always"),
        ("containers/0/image", 3),
        ("securityContext/seccomp", {}),
    ):
        thing = copy.deepcopy(manifest.manifest(SHOWN))
        _set(path, value)(thing)
        with pytest.raises(jsonschema.ValidationError, match=r"unexpected|not of type"):
            jsonschema.validate(thing, SCHEMAS["DaskCluster"])
    scaler = manifest.autoscaler(SHOWN, 0, 2)
    scaler["spec"]["maximum"] = "2"
    with pytest.raises(jsonschema.ValidationError, match="not of type 'integer'"):
        jsonschema.validate(scaler, SCHEMAS["DaskAutoscaler"])
    policy = copy.deepcopy(next(each for each in CORE if each["kind"] == "NetworkPolicy"))
    policy["spec"]["podSelektor"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="podSelektor"):
        kubernetes_validate.validate(policy, RELEASES[-1], strict=True)
