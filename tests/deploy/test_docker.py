"""deploy/docker: the Dockerfile is linted, the compose file is valid and obeys our rules, what they run runs."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import dask.config
import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tdmx_dask as tdmx
from tests.deploy.policy import DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads(
    (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text(
        encoding="utf-8"
    )
)


def lint(dockerfile: Path) -> tuple[int, str]:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "info", dockerfile], capture_output=True, text=True
    )
    return done.returncode, done.stdout


def test_dockerfile__lint() -> None:
    assert lint(FOLDER / "Dockerfile") == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("FROM ${BASE} AS bare", "FROM python:latest AS bare", "DL3007"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /scratch", "WORKDIR scratch", "DL3000"),
        ("COPY config config", "ADD config config", "DL3020"),
        ('CMD ["python", "-m", "distributed', 'CMD python -m "distributed', "DL3025"),
    ],
)
def test_dockerfile__lint_can_fail(old: str, new: str, rule: str, tmp_path: Path) -> None:
    assert old in DOCKERFILE
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace(old, new), encoding="utf-8")
    code, said = lint(tmp_path / "Dockerfile")
    assert code != 0
    assert rule in said


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)\n", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_dockerfile__final_stages_hold_no_tools_and_no_root() -> None:
    made = stages()
    assert list(made)[-1] == "engine"  # what docker build makes unless told otherwise
    for name in ("engine", "notebook"):
        assert "pip" not in made[name]
        assert "HEALTHCHECK" in made[name]
        assert f"FROM bare AS {name}" in DOCKERFILE
    assert re.search(r"^USER 10001:10001$", made["bare"], re.MULTILINE)
    assert not re.search(r"apt|gcc|build-essential|curl", DOCKERFILE)
    assert re.fullmatch(
        r"docker\.io/library/python:3\.13\.\d+-slim-\w+", DOCKERFILE.split("ARG BASE=")[1].split()[0]
    )


def test_versions__are_one() -> None:
    assert f"ARG VERSION={tdmx.__version__}\n" in DOCKERFILE
    images = [each["image"] for each in COMPOSE["services"].values()]
    assert {each.rsplit(":")[-1] for each in images} == {tdmx.__version__}


def test_context__holds_what_is_copied_and_little_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert sorted(let_in) == sorted(copied)
    assert all((ROOT / each).exists() for each in copied)
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]
    for needed in (*built["wheel"]["packages"], *built["wheel"]["force-include"]):
        assert any(fnmatch.fnmatch(needed, each) for each in let_in)


def test_constraints__pin_everything_that_we_need() -> None:
    text = (FOLDER / "constraints.txt").read_text(encoding="utf-8")
    pins = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["io"],
        *project["project"]["optional-dependencies"].get("kubernetes", ()),
        *project["build-system"]["requires"],
        "jupyterlab",
        "jupyter-server-proxy",
    ]
    for each in map(Requirement, wanted):
        version = pins.get(canonicalize_name(each.name))
        assert version is not None, each
        assert each.specifier.contains(version), each


def complaints(compose: Mapping[str, Any]) -> list[str]:
    """What is wrong with a compose file."""
    found = [
        f"{name}: {line}"
        for name, service in compose["services"].items()
        for line in _of_service(service, compose)
    ]
    if not compose["networks"]["inside"].get("internal"):
        found.append("inside: is not internal")
    return found


def _of_service(service: Mapping[str, Any], compose: Mapping[str, Any]) -> Iterator[str]:
    if service.get("user") != "10001:10001":
        yield "may run as root"
    if service.get("read_only") is not True:
        yield "its root can be written"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "keeps capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"] or service.get("privileged"):
        yield "may gain privileges"
    if set(service.get("deploy", {}).get("resources", {}).get("limits", ())) < {"cpus", "memory", "pids"}:
        yield "has no limits"
    if not re.search(r":\d+\.\d+\.\d+$", service["image"]) or service.get("pull_policy") != "never":
        yield "its image is not ours"
    for port in service.get("ports", ()):
        if port.get("host_ip") != "127.0.0.1":
            yield "is reached from outside"
    for volume in service.get("volumes", ()):
        if volume["type"] != "volume" or (volume.get("source") or "tls") not in compose["volumes"]:
            yield "sees a folder of the machine"
        if (
            volume["target"] == "/tls"
            and not volume.get("read_only")
            and service.get("network_mode") != "none"
        ):
            yield "may change the credentials"
    if service.get("network_mode", "service:scheduler") not in ("none", "service:scheduler"):
        yield "shares a network"
    words = json.dumps(service)
    if "tcp://" in words or "0.0.0.0" in words:  # noqa: S104
        yield "speaks plain tcp"
    environment = {
        key: value for key, value in service.get("environment", {}).items() if key.startswith("DASK_")
    }
    if service.get("network_mode") != "none":
        config = dask.config.merge(DEFAULTS, dask.config.collect(paths=[], env=environment))
        roles = [f"{role}.{part}" for role in ("scheduler", "worker", "client") for part in ("cert", "key")]
        tls = [dask.config.get(f"distributed.comm.tls.{each}", config=config) for each in ("ca-file", *roles)]
        if dask.config.get("distributed.comm.require-encryption", config=config) is not True or None in tls:
            yield "does not insist on TLS"


def test_compose__is_valid_and_obeys_our_rules() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)
    assert complaints(COMPOSE) == []
    assert set(COMPOSE["services"]) == {"credentials", "scheduler", "worker", "notebook"}


def test_compose__schema_can_refuse() -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["worker"]["read_olny"] = True
    with pytest.raises(jsonschema.ValidationError, match="read_olny"):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda each: each.update(user="0:0"), "may run as root"),
        (lambda each: each.pop("read_only"), "can be written"),
        (lambda each: each.update(cap_add=["SYS_PTRACE"]), "keeps capabilities"),
        (lambda each: each.pop("security_opt"), "gain privileges"),
        (lambda each: each["deploy"]["resources"]["limits"].pop("memory"), "has no limits"),
        (lambda each: each.pop("pull_policy"), "not ours"),
        (lambda each: each.update(ports=[{"target": 8787, "published": "8787"}]), "reached from outside"),
        (lambda each: each["volumes"].append({"type": "bind", "source": "/", "target": "/host"}), "folder of the machine"),
        (lambda each: each["volumes"][0].pop("read_only"), "change the credentials"),
        (lambda each: each.update(network_mode="host"), "shares a network"),
        (lambda each: each["command"].append("tcp://scheduler:8786"), "plain tcp"),
        (lambda each: each["environment"].pop("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"), "insist on TLS"),
    ],
)  # fmt: skip
def test_compose__rule_can_be_broken(change: Callable[[Any], object], said: str) -> None:
    broken = copy.deepcopy(COMPOSE)
    change(broken["services"]["worker"])
    assert any(said in line for line in complaints(broken)), complaints(broken)


def test_compose__credentials_are_made_once(tmp_path: Path) -> None:
    """The one-shot service's own command, with its folder elsewhere."""
    folder = tmp_path / "tls"
    script = COMPOSE["services"]["credentials"]["command"][2].replace("/tls", str(folder))
    keys = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], check=True)
        keys.append((folder / "key.pem").read_text(encoding="ascii"))
    assert keys[0] == keys[1]
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"ca.pem": 0o600, "cert.pem": 0o600, "key.pem": 0o600}


def test_image__speaks_tls_or_nothing(tmp_path: Path) -> None:
    """What the image runs when nobody gave it credentials."""
    command = json.loads(DOCKERFILE.rsplit("CMD ", 1)[1])
    words = [each.replace("8786", "0").replace("8787", "0") for each in command[1:]]
    done = subprocess.run(
        [sys.executable, *words, "--host", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "TLS" in done.stderr
