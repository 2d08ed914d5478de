"""The real executable, and draws and studies to give it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tdmx_dask.cli.main import main

TDMX = str(Path(sys.executable).with_name("tdmx"))
STUDY = """
name: small
n: 2048
fu: 0.98
population:
  model: 1C
  parameters: {CL: "10 * (CCr / 80)", Vc: 20}
  covariates: {CCr: {unit: mL/min}}
  bsv: {CL: {cv: 0.3}}
scenarios: [{name: low, covariates: {CCr: 40}}, {name: high, covariates: {CCr: 120}}]
regimens: [1 g q8h inf 30min, 1 g q8h inf 3h]
targets: fT>MIC >= 50%
mic: 0.5..16
distributions: {organism: example, text: "1:0.5, 4:0.5", illustrative: true}
"""


@pytest.fixture
def tdmx(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in an empty folder of its own."""

    def call(*arguments: str, cwd: Path = tmp_path, **env: str) -> subprocess.CompletedProcess[str]:
        plain = {
            key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "TERM")
        }
        return subprocess.run(
            [TDMX, *arguments],
            cwd=cwd,
            env={**plain, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in this process, for what it refuses: Python's own start takes ten times as long."""
    monkeypatch.chdir(tmp_path)
    for key in ("COLUMNS", "NO_COLOR", "TERM"):
        monkeypatch.delenv(key, raising=False)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = main(list(arguments))
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return call


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A small study."""
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def draws_csv(tmp_path: Path) -> Path:
    """Draws of a two-compartment model as CSV."""
    rng = np.random.default_rng(1)
    columns = {"CL": 5 * np.exp(0.3 * rng.normal(size=500)), "Vc": np.full(500, 30.0), "Q1": 2.0, "Vp1": 20.0}
    table = np.column_stack([np.broadcast_to(values, 500) for values in columns.values()])
    file = tmp_path / "draws.csv"
    np.savetxt(file, table, delimiter=",", header=",".join(columns), comments="", fmt="%.17g")
    return file
