"""What is submitted to each batch scheduler, with every option: compared with scripts that were read by a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tdmx_dask.clusters.jobqueue import script
from tdmx_dask.clusters.profile import Jobs, read

GOLDEN = Path(__file__).parent / "job_scripts"
MEMORY = 10**10 + 1
"""Bytes; no whole number of any unit."""

EVERY: dict[str, Any] = {
    "cores": 6,
    "memory": MEMORY,
    "walltime": "01:30:30",
    "longest_task": "5 min",
    "fits_share": 0.25,
    "job_name": "study",
    "interface": "ib0",
    "python": "/opt/tdmx/bin/python",
    "shared_folder": "/shared/tdmx",
    "local_directory": "$TMPDIR/tdmx",
    "prologue": ["module load gcc", "ulimit -c 0"],
    "start_timeout": 90,
}
OWN: dict[str, dict[str, Any]] = {
    "slurm": {
        "queue": "short",
        "account": "pk",
        "directives": ["--qos=low"],
        "directives_skip": ["-J"],
    },
    "pbs": {"queue": "short", "account": "pk", "directives": ["-m n"], "directives_skip": ["-N"]},
    "sge": {
        "queue": "short",
        "account": "pk",
        "directives": ["-pe smp 6"],
        "resource_spec": "mem_free=10G",
        "directives_skip": ["-j y"],
    },
    "lsf": {"queue": "short", "account": "pk", "directives": ["-x"], "directives_skip": ["-J"]},
    "htcondor": {
        "directives": ['+Group = "pk"'],
        "disk": 3 * 10**9 + 1,
        "directives_skip": ["Stream", "no-such-directive"],
    },
}


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """LSF's unit of memory is read from its own settings, where there are any."""
    monkeypatch.delenv("LSF_ENVDIR", raising=False)


def made(kind: str, folder: Path, **options: Any) -> str:
    """A script without the folder of this test."""
    found, profile = read("site", {"kind": kind, "log_directory": str(folder), **options})
    assert isinstance(profile, Jobs)
    return script(found, profile).replace(str(folder), "/logs")


@pytest.mark.parametrize("kind", OWN)
def test_script__as_read_by_a_person(kind: str, tmp_path: Path) -> None:
    found = made(kind, tmp_path / "logs", **{**EVERY, **OWN[kind]})
    assert found.strip() == (GOLDEN / f"{kind}.txt").read_text().strip()


def test_script__credentials_of_the_profile_are_named(tmp_path: Path) -> None:
    files = {"tls_ca_file": "/k/ca.pem", "tls_cert": "/k/cert.pem", "tls_key": "/k/key.pem"}
    found = made("slurm", tmp_path, **files)
    assert "--tls-ca-file /k/ca.pem --tls-cert /k/cert.pem --tls-key /k/key.pem" in found


ASKED = {
    "slurm": (r"--mem=(\d+)M", 2**20),
    "pbs": (r"mem=(\d+)MB", 2**20),
    "lsf": (r"-M (\d+)", 1000),
    "htcondor": (r"MY.DaskWorkerMemory = (\d+)", 1),
}


@pytest.mark.parametrize("kind", ASKED)
def test_memory__a_job_asks_for_no_less_than_its_worker_plans_with(kind: str, tmp_path: Path) -> None:
    pattern, unit = ASKED[kind]
    found = made(kind, tmp_path, memory=MEMORY)
    asked, planned = re.search(pattern, found), re.search(r" --memory (\d+) ", found)
    assert asked is not None
    assert planned is not None
    size = int(asked[1]) * unit
    if kind == "htcondor":  # which is asked for MiB, rounded down
        size = size // 2**20 * 2**20
    assert int(planned[1]) == MEMORY <= size < MEMORY + 2**20


@pytest.mark.parametrize(
    ("kind", "seconds", "words"),
    [
        ("slurm", 59.5, "-t 00:01:00"),
        ("slurm", 100 * 3600, "-t 100:00:00"),
        ("pbs", 3661, "walltime=01:01:01"),
        ("sge", 3661, "h_rt=01:01:01"),
        ("lsf", 3661, "-W 01:02"),
        ("lsf", 30, "-W 00:01"),
    ],
)
def test_walltime__in_the_words_of_each(kind: str, seconds: float, words: str, tmp_path: Path) -> None:
    assert f"{words}\n" in made(kind, tmp_path, walltime=seconds, longest_task=10)
