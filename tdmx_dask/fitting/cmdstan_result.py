"""What CmdStan wrote, as the result of a task: draws and statistics apart, where the chain stands, how far an approximation goes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.cmdstan_command import METRIC
from tdmx_dask.fitting.console import Ended, own_peak_mb
from tdmx_dask.fitting.csv_output import Output, column_names, read_metric
from tdmx_dask.fitting.declaration import parameter_names
from tdmx_dask.fitting.position import position_of
from tdmx_dask.fitting.task import STATS, ChainResult, ChainTask, Start
from tdmx_dask.kernels.pareto import pareto_smoothed

__all__ = ["Heard", "approximate_result", "chain_result"]

Floats = NDArray[np.float64]
_WORTH = re.compile(
    r"Exception: .*|(?!If this|but if).*[Ww]arning.*|.*may not have converged.*|.*(?:PSIS|Pareto).*"
)
_MOST = 10
_ELBO = re.compile(r"^\s+\d+\s+(-?[\d.]+(?:e[+-]?\d+)?)\s+[\d.]+")
_PATH_ELBO = re.compile(r"Path \[(\d+)\] :Best Iter: \[\d+\] ELBO \((\S+)\)")
_DENSITIES = {
    "laplace": ("log_p__", "log_q__"),
    "pathfinder": ("lp__", "lp_approx__"),
    "advi": ("log_p__", "log_g__"),
}
_PSIS_STREAM = 0x50534953


class Heard:
    """What the calls of a task said, took and needed.

    Parameters
    ----------
    engine : name and version
    folder : that they ran in
    """

    def __init__(self, engine: str, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.log: list[str] = []
        self.lines: tuple[str, ...] = ()
        self.seconds = 0.0
        self.peak_mb = 0.0

    def add(self, ended: Ended, seconds: float) -> None:
        """Take note of one call."""
        self.lines = ended.lines
        self.seconds += seconds
        self.peak_mb = max(self.peak_mb, ended.peak_mb)
        said = Counter(line.strip() for line in ended.lines if _WORTH.fullmatch(line.strip()))
        self.log += [f"{line} ({n} times)" if n > 1 else line for line, n in said.most_common(_MOST)]


def chain_result(task: ChainTask, output: Output, heard: Heard) -> ChainResult:
    """The result of NUTS.

    Parameters
    ----------
    task : what was asked for
    output : of method sample, its draws alone
    heard : what the call said
    """
    names, draws, stats = _parted(output)
    inv_metric, step_size = task.start.inv_metric, task.start.step_size
    if task.adapt and task.sampling.warmup:
        exact = read_metric(heard.folder / METRIC)
        inv_metric = exact[1] if exact else output.inv_metric
    if task.sampling.metric == "unit_e":
        inv_metric = None
    steps = stats[:, STATS.index("stepsize__")]
    if task.adapt or step_size is None:
        step_size = float(steps[-1])
    return _result(
        task,
        heard,
        names=names,
        draws=draws,
        stats=stats,
        end=Start(_position(task, names, draws[-1]), inv_metric, step_size),
        seconds_warmup=output.seconds.get("Warm-up", 0.0),
        seconds_sampling=output.seconds.get("Sampling", heard.seconds),
    )


def approximate_result(task: ChainTask, output: Output, mode: Output | None, heard: Heard) -> ChainResult:
    """The result of an approximation, with the k-hat of its importance ratios.

    Parameters
    ----------
    task : what was asked for
    output : of its method
    mode : of method optimize, where there was such a call
    heard : what the calls said

    Notes
    -----
    Draws of Laplace and ADVI are those of the approximation; `info` has ``log_q``, its log density at each, so that they can be weighed.
    Those of Pathfinder are resampled with replacement by their smoothed weights, as CmdStan does it. k-hat of ADVI: Yao, Vehtari, Simpson,
    Gelman 2018, International Conference on Machine Learning 80:5581.
    """
    kind = task.approximate
    assert kind is not None  # noqa: S101  (asked by the caller)
    info: dict[str, Any] = {}
    chosen = np.arange(len(output.rows))
    log_p = output.rows[:, output.header.index("lp__")] if "lp__" in output.header else None
    first = None
    if kind in _DENSITIES:
        if kind == "advi":
            first, chosen = output.rows[0], chosen[1:]
        p, q = (output.rows[chosen, output.header.index(name)] for name in _DENSITIES[kind])
        weight, khat = pareto_smoothed(p - q)
        info["khat"] = khat
        if kind == "pathfinder":
            random = np.random.default_rng([_PSIS_STREAM, task.engine_seed])
            picked = random.choice(len(p), size=task.sampling.draws, p=np.exp(weight) / np.exp(weight).sum())
            chosen, p, q = chosen[picked], p[picked], q[picked]
        info["log_q"] = q
        log_p = p
        info.update(_elbo(kind, heard.lines))
    names, draws, stats = _parted(output, chosen)
    stats[:, 0] = np.nan if log_p is None else log_p
    if mode is not None:
        at = _parted(mode)
        end = Start(_position(task, at[0], at[1][0]))
        info["mode_lp"] = float(mode.rows[0, mode.header.index("lp__")])
    else:
        where = draws[0] if first is None else first[[not each.endswith("__") for each in output.header]]
        end = Start(_position(task, names, where))
    return _result(task, heard, names=names, draws=draws, stats=stats, end=end, info=info)


def _elbo(kind: str, lines: Sequence[str]) -> dict[str, float]:
    """The evidence lower bound that the console names last, or of the best path."""
    if kind == "advi":
        found = [float(each[1]) for each in map(_ELBO.match, lines) if each]
        return {"elbo": found[-1]} if found else {}
    paths = [float(each[2]) for each in map(_PATH_ELBO.search, lines) if each]
    return {"elbo": max(paths)} if paths else {}


def _parted(output: Output, rows: NDArray[np.intp] | None = None) -> tuple[tuple[str, ...], Floats, Floats]:
    """Names, draws and statistics of a file; a statistic that it has not is NaN."""
    values = output.rows if rows is None else output.rows[rows]
    ours = [position for position, name in enumerate(output.header) if not name.endswith("__")]
    names = column_names([output.header[position] for position in ours])
    stats = np.full((len(values), len(STATS)), np.nan)
    for column, name in enumerate(STATS):
        if name in output.header:
            stats[:, column] = values[:, output.header.index(name)]
    return names, np.ascontiguousarray(values[:, ours]), stats


def _position(task: ChainTask, names: Sequence[str], values: Floats) -> dict[str, Any]:
    """Values of the parameters alone; empty where one is no plain array."""
    parameters = set(parameter_names(task.program.code))
    stems = [name.partition("[")[0] for name in names]
    if any(
        stem.partition(":")[0].partition(".")[0] in parameters and stem not in parameters for stem in stems
    ):
        return {}
    ours = [position for position, stem in enumerate(stems) if stem in parameters]
    return position_of([names[position] for position in ours], values[ours])


def _result(
    task: ChainTask,
    heard: Heard,
    *,
    names: tuple[str, ...],
    draws: Floats,
    stats: Floats,
    end: Start,
    seconds_warmup: float = 0.0,
    seconds_sampling: float | None = None,
    info: Mapping[str, Any] | None = None,
) -> ChainResult:
    if not names:
        raise FitError(
            "program", task.program.name, "it has no parameters and no quantities", "Add what is to be drawn."
        )
    return ChainResult(
        task_chain=task.chain,
        task_round=task.round,
        attempt=task.attempt,
        names=names,
        draws=draws,
        stats=stats,
        end=end,
        seconds_warmup=seconds_warmup,
        seconds_sampling=heard.seconds if seconds_sampling is None else seconds_sampling,
        peak_mb=heard.peak_mb + own_peak_mb(),
        engine=heard.engine,
        approximation=task.approximate,
        info=info or {},
        log=tuple(heard.log),
    )
