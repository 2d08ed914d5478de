"""One SLURM for all tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdmx_dask.clusters import jobqueue, keeper
from tests.slurm.controller import Slurm, until, why_not


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A real SLURM; its commands are on the path of this process."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, Slurm(Path(tempfile.mkdtemp(prefix="ts-"))) as started:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        patch.setattr(keeper, "ASK", 1.0)  # one user, one machine: nobody minds
        patch.setitem(jobqueue.ADAPT, "wait_count", 4)
        patch.setitem(jobqueue.ADAPT, "target_duration", "5s")
        yield started


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that login node and nodes see; here they are one machine."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def options(slurm: Slurm, shared: Path) -> dict[str, Any]:
    """What a job asks for."""
    return {
        "interface": "lo",
        "queue": "main",
        "cores": 1,
        "memory": "1 GiB",
        "walltime": "00:10:00",
        "longest_task": 60,
        "dashboard_port": 0,
        "shared_folder": str(shared),
        "log_directory": str(shared / "logs"),
    }


@pytest.fixture(autouse=True)
def _empty_queue(slurm: Slurm, request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves an empty queue, but for the cluster that several share."""
    before = set(slurm.jobs())
    yield
    until(lambda: set(slurm.jobs()) <= before or "two" in request.fixturenames, 15, "an empty queue")
