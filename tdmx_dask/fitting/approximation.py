"""Approximations of a posterior on stanli: its mode, and a Gaussian around it.

Both live on the unconstrained scale, with the Jacobian (CmdStan's ``jacobian=1``): the mode is that of the density that NUTS samples.
An approximation may be far from the posterior without a sign of it, so each draw carries its log density under both, from which
Pareto-smoothed importance sampling tells: k-hat in `ChainResult.info`.

References
----------
Vehtari, Simpson, Gelman, Yao, Gabry (2024), Pareto smoothed importance sampling, JMLR 25(72): k-hat above 0.7 is not to be trusted.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.position import position_of
from tdmx_dask.fitting.progress import Progress
from tdmx_dask.fitting.stanli_engine import start_vector, translated
from tdmx_dask.fitting.task import STATS, ChainResult, ChainTask, Start
from tdmx_dask.kernels.pareto import pareto_smoothed

__all__ = ["approximated"]

Floats = NDArray[np.float64]

_STILL = 1e-300
"""A step so small that adding it changes no position but 0, and that by 1e-300: NUTS then evaluates where it is put."""
_STEP = 0.02
_FIRST_STEP = 1e-4
_TRIES = 10
_ROUNDING = 1e-6


def approximated(
    model: Any, task: ChainTask, progress: Progress, *, engine: str, log: list[str]
) -> ChainResult:
    """Run the approximation that a task asks for.

    Parameters
    ----------
    model : stanli's, with data
    task : `approximate` is set; `sampling.draws` draws of a Gaussian, one row of a mode
    progress : told before and after
    engine : name and version
    log : lines so far

    Returns
    -------
    ``info`` holds ``mode_lp``, and of a Gaussian ``log_q``, (draw,), its log density at each draw, and ``khat``, which above 0.7 says
    that it is not to be trusted; ``lp__`` is the log density of the posterior, up to a constant. ``end`` is the mode, with the
    Gaussian's covariance as inverse metric, from which NUTS may start.

    Raises
    ------
    InitialisationFailed
        No finite density where the search starts.
    FitError
        The method is not stanli's; there is no mode; the density is not curved like a maximum there.
    """
    method = task.approximate
    if method not in ("mode", "laplace"):
        raise FitError(
            "method",
            method,
            "only CmdStan has it, stanli does not",
            "Give engine='cmdstan', or method='laplace'.",
        )
    began = time.perf_counter()
    mode, columns, density = _mode(model, task)
    found_mode = time.perf_counter()
    progress.pause("warmup", task.sampling.warmup)
    log = [*log, "the mode is that of the density on the unconstrained scale, with the Jacobian"]
    end = Start(position_of(model.constrained_names, columns[model.parameter_columns]))
    info: dict[str, Any] = {"mode_lp": density}
    log_p = np.array([density])
    draws = columns[np.newaxis]
    if method == "laplace":
        gaussian = _Gaussian(model, mode, task)
        points, log_p, info["log_q"], outside = gaussian.draws(task.sampling.draws)
        info["khat"] = _khat(log_p - info["log_q"])
        draws = _constrained(model, points, task)
        end = Start(end.position, gaussian.inv_metric(task.sampling.metric))
        if outside:
            log.append(
                f"{outside} draws of the Gaussian fell where the posterior has no density and were replaced"
            )
    stats = np.full((len(draws), len(STATS)), np.nan)
    stats[:, STATS.index("lp__")] = log_p
    progress.say("done", progress.total)
    return ChainResult(
        task_chain=task.chain,
        task_round=task.round,
        attempt=task.attempt,
        names=tuple(model.columns),
        draws=draws,
        stats=stats,
        end=end,
        seconds_warmup=found_mode - began,
        seconds_sampling=time.perf_counter() - found_mode,
        peak_mb=0.0,
        engine=engine,
        approximation=method,
        info=info,
        log=tuple(log),
    )


def _khat(log_ratio: Floats) -> float:
    """k-hat; 0 where the two densities are the same but for rounding, which has no tail."""
    return 0.0 if np.ptp(log_ratio) < _ROUNDING else pareto_smoothed(log_ratio)[1]


def _mode(model: Any, task: ChainTask) -> tuple[Floats, Floats, float]:
    """The mode on the unconstrained scale, all columns there, and its log density."""
    try:
        found = model.optimize(seed=task.engine_seed, init=start_vector(model, task))
    except RuntimeError as error:
        said = str(error).removeprefix("optimize failed: ")
        said = said.replace("Error evaluating initial BFGS point", "initialization failed: no finite density")
        said = said.replace(
            "L-BFGS did not converge", "initialization failed: L-BFGS did not converge"
        )  # elsewhere it may
        raise translated(RuntimeError(said), task) from error
    mode = np.asarray(found.unconstrained)
    if mode.size == 0:
        raise FitError(
            "program",
            task.program.name,
            "it has no parameters, so there is nothing to maximise",
            "Give method='nuts'.",
        )
    return mode, np.array(list(found.values()), dtype=np.float64), float(found.lp)


class _Gaussian:
    """A Gaussian whose precision is the curvature of the log density at the mode."""

    def __init__(self, model: Any, mode: Floats, task: ChainTask) -> None:
        self.model, self.mode, self.task = model, mode, task
        try:
            precision = -_hessian(model, mode)
            self.factor = np.linalg.cholesky(precision)
            self.spread = np.linalg.inv(self.factor).T
        except (RuntimeError, np.linalg.LinAlgError) as error:
            raise FitError(
                "program",
                task.program.name,
                "the density is not curved like a maximum at its mode, so no Gaussian fits there",
                "Give method='nuts', or firmer priors.",
            ) from error

    @property
    def covariance(self) -> Floats:
        """(n, n), of the unconstrained parameters."""
        covariance: Floats = self.spread @ self.spread.T
        return covariance

    def inv_metric(self, metric: str) -> Floats | None:
        """As NUTS takes it."""
        if metric == "unit_e":
            return None
        return self.covariance if metric == "dense_e" else np.diag(self.covariance).copy()

    def draws(self, n: int) -> tuple[Floats, Floats, Floats, int]:
        """Points (n, parameter) where the posterior has a density; both log densities there; how many points had none."""
        random = np.random.Generator(np.random.Philox(self.task.engine_seed))
        constant = np.log(np.diag(self.factor)).sum() - 0.5 * self.mode.size * np.log(2 * np.pi)
        points, log_p, log_g = np.empty((n, self.mode.size)), np.empty(n), np.empty(n)
        kept = outside = 0
        while kept < n:
            z = random.standard_normal(self.mode.size)
            point = self.mode + self.spread @ z
            try:
                density = self.model.log_prob_grad(point)[0]
            except RuntimeError:
                density = -np.inf
            if np.isfinite(density):
                points[kept], log_p[kept], log_g[kept] = point, density, constant - 0.5 * z @ z
                kept += 1
            else:
                outside += 1
            if outside > _TRIES * n:
                raise FitError(
                    "program",
                    self.task.program.name,
                    "the Gaussian lies outside the posterior",
                    "Give method='nuts'.",
                )
        return points, log_p, log_g, outside


def _hessian(model: Any, mode: Floats) -> Floats:
    """Central differences of the gradient, fourth order, with steps of 0.02 posterior SDs.

    References
    ----------
    Fornberg (1988), Mathematics of Computation 51, 699-706, table 1 (first derivative, order 4).
    """

    def gradient(at: int, by: float) -> Floats:
        point = mode.copy()
        point[at] += by
        found: Floats = model.log_prob_grad(point)[1]
        return found

    hessian = np.empty((mode.size, mode.size))
    for at in range(mode.size):
        step = _FIRST_STEP * max(1.0, abs(mode[at]))
        for _ in range(2):  # to the scale of the parameter
            curved = -(gradient(at, step)[at] - gradient(at, -step)[at]) / (2 * step)
            step = _STEP / np.sqrt(curved) if np.isfinite(curved) and curved > 0 else step
        near = gradient(at, step) - gradient(at, -step)
        far = gradient(at, 2 * step) - gradient(at, -2 * step)
        hessian[at] = (8 * near - far) / (12 * step)
    symmetric: Floats = (hessian + hessian.T) / 2
    return symmetric


def _constrained(model: Any, points: Floats, task: ChainTask) -> Floats:
    """All columns at points of the unconstrained scale; generated quantities draw from streams of their own.

    stanli has no call for it. A chain of one NUTS transition with a step of 1e-300 stays where it starts: its position moves by less
    than half a unit in the last place unless a coordinate is 0, and by 1e-300 there.
    """
    try:
        fit = model.sample(
            chains=len(points),
            seed=task.engine_seed,
            warmup=0,
            samples=1,
            inits=points,
            adapt_engaged=False,
            step_size=_STILL,
            max_depth=1,
            parallel_chains=1,
            threads_per_chain=task.threads,
            refresh=0,
        )
    except RuntimeError as error:
        raise translated(error, task) from error
    columns: Floats = fit.draws()[:, 0]
    return columns
