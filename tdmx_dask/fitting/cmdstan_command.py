"""What CmdStan is told: the arguments of a task, and the files that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.executable import Executable
from tdmx_dask.fitting.task import ChainTask, chain_seed

__all__ = ["DATA", "METRIC", "MODE", "OUTPUT", "PATHS", "arguments", "write_inputs"]

DATA, INIT, START_METRIC = "data.json", "init.json", "start_metric.json"
OUTPUT, METRIC, MODE = "output.csv", "output_metric.json", "mode.csv"
PATHS = 4
"""Single-path Pathfinders of one approximation; each gives as many draws as are asked for, resampled by their smoothed weights."""

_DATA_STREAM = 2**32 - 1
_SAVES_METRIC = (2, 34)
_COUNTS_BY_ID = (2, 35)


def write_inputs(task: ChainTask, folder: Path) -> None:
    """Write data, starting values and metric beside each other.

    Raises
    ------
    FitError
        A later round has nowhere to go on from.
    """
    (folder / DATA).write_text(task.data or "{}", encoding="utf-8")
    if task.start.position:
        (folder / INIT).write_text(json.dumps(_plain(task.start.position)), encoding="utf-8")
    elif task.round:
        raise FitError(
            "start",
            "empty",
            f"round {task.round} of chain {task.chain} goes on from the end of the one before, and that is not known",
            "Tuples and complex numbers among the parameters cannot be continued; sample in one round.",
        )
    if task.start.inv_metric is not None:
        metric = {"inv_metric": np.asarray(task.start.inv_metric).tolist()}
        (folder / START_METRIC).write_text(json.dumps(metric), encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def arguments(task: ChainTask, executable: Executable, method: str, refresh: int) -> list[str]:
    """Arguments of one call, without the program.

    Parameters
    ----------
    task : what is asked for
    executable : which program; older releases know fewer arguments
    method : sample, optimize, laplace, pathfinder or variational
    refresh : iterations between two lines of progress
    """
    given = [f"method={method}", *_METHODS[method](task, executable)]
    seed, identity = _stream(task, executable)
    given += ["data", f"file={DATA}"]
    if task.start.position:
        given += [f"init={INIT}"]
    given += ["random", f"seed={seed}", f"id={identity}"]
    given += [
        "output",
        f"file={MODE if method == 'optimize' else OUTPUT}",
        "sig_figs=18",
        f"refresh={refresh}",
    ]
    if executable.threaded:
        given += [f"num_threads={task.threads}"]
    return given


def _stream(task: ChainTask, executable: Executable) -> tuple[int, int]:
    """Seed and id of CmdStan.

    The seed also feeds `transformed data`, which all chains of a fit must share; so it is the fit's, and the id tells the chains apart.
    Generators before 2.35 have room for few ids: there a chain has a seed of its own.
    """
    if executable.release[:2] >= _COUNTS_BY_ID:
        return chain_seed(task.seed, _DATA_STREAM, 0, 0), task.engine_seed
    return task.engine_seed, 1


def _sample(task: ChainTask, executable: Executable) -> list[str]:
    sampling, start = task.sampling, task.start
    adapts = task.adapt and sampling.warmup > 0
    given = [f"num_samples={sampling.draws}", f"num_warmup={sampling.warmup}", "save_warmup=0"]
    given += ["adapt", f"engaged={int(adapts)}", f"delta={sampling.adapt_delta!r}"]
    if adapts and executable.release[:2] >= _SAVES_METRIC:
        given += ["save_metric=1"]
    given += [
        "algorithm=hmc",
        "engine=nuts",
        f"max_depth={sampling.max_treedepth}",
        f"metric={sampling.metric}",
    ]
    if start.inv_metric is not None and sampling.metric != "unit_e":
        given += [f"metric_file={START_METRIC}"]
    if start.step_size is not None:
        given += [f"stepsize={float(start.step_size)!r}"]
    return given


def _optimize(_task: ChainTask, _executable: Executable) -> list[str]:
    return ["jacobian=1"]


def _laplace(task: ChainTask, _executable: Executable) -> list[str]:
    return [f"mode={MODE}", "jacobian=1", f"draws={task.sampling.draws}"]


def _pathfinder(task: ChainTask, _executable: Executable) -> list[str]:
    # CmdStan would resample by itself and keep k-hat to itself unless it is bad; so its draws are taken before that.
    return [f"num_paths={PATHS}", f"num_draws={task.sampling.draws}", "psis_resample=0", "calculate_lp=1"]


def _variational(task: ChainTask, _executable: Executable) -> list[str]:
    return ["algorithm=meanfield", f"output_samples={task.sampling.draws}"]


_METHODS = {
    "sample": _sample,
    "optimize": _optimize,
    "laplace": _laplace,
    "pathfinder": _pathfinder,
    "variational": _variational,
}
