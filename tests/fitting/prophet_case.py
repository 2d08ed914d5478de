"""A real CmdStan executable with its source: the model in prophet's wheel, and simulated data for it."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np

from tdmx_dask.fitting.program import Program, read_program
from tdmx_dask.fitting.task import ChainTask, Sampling

_SPEC = importlib.util.find_spec("prophet")
assert _SPEC is not None
assert _SPEC.origin is not None
FOLDER = Path(_SPEC.origin).parent / "stan_model"
EXECUTABLE = FOLDER / "prophet_model.bin"
CMDSTAN = next(FOLDER.glob("cmdstan-*"))
PARAMETERS = ("k", "m", *(f"delta[{i}]" for i in range(1, 6)), "sigma_obs", "beta[1]")


def prophet_program() -> Program:
    return read_program(FOLDER / "prophet.stan")


def prophet_data(**changes) -> str:
    """A straight line with noise and one regressor; T=60, K=1, S=5."""
    random = np.random.default_rng(1)
    n, n_changes = 60, 5
    t = np.linspace(0, 1, n)
    x = random.normal(size=n)
    y = 0.3 + 0.5 * t + 0.3 * x + 0.1 * random.normal(size=n)
    data = {"T": n, "K": 1, "t": t.tolist(), "cap": [0.0] * n, "y": y.tolist(), "S": n_changes}
    data |= {"t_change": np.linspace(0, 0.8, n_changes + 2)[1:-1].tolist(), "X": x[:, None].tolist()}
    data |= {"sigmas": [1.0], "tau": 0.05, "trend_indicator": 0, "s_a": [1.0], "s_m": [0.0]}
    return json.dumps(data | changes)


def prophet_task(**changes) -> ChainTask:
    given = {"seed": 11, "chain": 0, "executable": os.fspath(EXECUTABLE), "sampling": Sampling(300, 200)}
    return ChainTask(prophet_program(), changes.pop("data", prophet_data()), **(given | changes))


def script(path: Path, text: str) -> str:
    """An executable that is a shell script; `$REAL` is the real one, and questions (`info`) go to it."""
    path.write_text(f'#!/bin/bash\nREAL="{EXECUTABLE}"\n[ "$1" = info ] && exec "$REAL" info\n{text}\n')
    path.chmod(0o755)
    return os.fspath(path)
