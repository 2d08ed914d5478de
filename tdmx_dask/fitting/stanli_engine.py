"""The embedded engine: stanli, which interprets Stan programs without a C++ compiler."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import stanli
from numpy.typing import NDArray

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.engine import Emit, InitialisationFailed
from tdmx_dask.fitting.position import position_of
from tdmx_dask.fitting.progress import Progress
from tdmx_dask.fitting.so_far import WATCHED
from tdmx_dask.fitting.task import ChainResult, ChainTask, Start, chain_seed
from tdmx_dask.fitting.translation import known_translation, remember_translation

__all__ = ["SEGMENT", "StanliEngine", "prepared", "start_vector", "translated"]

SEGMENT = 250
"""Draws between two looks at a chain; part of what a seed means, so it never depends on time."""

_DATA_STREAM = 2**32 - 1

Floats = NDArray[np.float64]


class _Model(stanli.Model):
    """A model whose transformed data stay what they are.

    stanli builds a model anew for each run's seed when its transformed data draw random numbers; then chains, and segments of a chain,
    would be fitted to different data.
    """

    def _adopt(self, m: Any, seed: int, threads_per_chain: int) -> None:
        super()._adopt(m, seed, threads_per_chain)
        self.columns: list[str] = self._column_names()[0]
        wanted = {name: at for at, name in enumerate(self.columns)}
        self.parameter_columns = [wanted[name] for name in self.constrained_names]

    def _prepare_run(self, seed: int, threads_per_chain: int) -> None:  # noqa: ARG002
        super()._prepare_run(self._seed, threads_per_chain)


@dataclass
class _Draws:
    """Segments of a chain, and where it stands."""

    parts: list[Floats] = field(default_factory=list)
    stats: list[Floats] = field(default_factory=list)
    inv_metric: Floats | None = None
    step_size: float | None = None
    position: dict[str, Any] = field(default_factory=dict)


class StanliEngine:
    """Runs chains by stanli, in fixed segments."""

    name = "stanli"

    def __init__(self) -> None:
        self._held: tuple[tuple[str, str, int, int], Any, list[str]] | None = None

    def version(self) -> str:
        """Name and version."""
        return f"stanli {stanli.__version__}"

    def run(self, tasks: Sequence[ChainTask], emit: Emit) -> list[ChainResult]:
        """Run tasks in turn, as `Engine.run` says."""
        return [self._run(task, emit) for task in tasks]

    def _run(self, task: ChainTask, emit: Emit) -> ChainResult:
        progress = Progress(task, emit)
        progress.say("starting")
        model, log = self._model(task)
        if task.approximate is not None:
            from tdmx_dask.fitting.approximation import approximated

            return approximated(model, task, progress, engine=self.version(), log=log)
        draws = self._sampled(model, task, progress, log)
        stats = np.concatenate(draws.stats)
        progress.say("done", progress.total, draws.step_size)
        return ChainResult(
            task_chain=task.chain,
            task_round=task.round,
            attempt=task.attempt,
            names=tuple(model.columns),
            draws=np.concatenate(draws.parts),
            stats=stats,
            end=Start(draws.position, draws.inv_metric, draws.step_size),
            seconds_warmup=progress.seconds_warmup,
            seconds_sampling=progress.seconds_sampling,
            peak_mb=0.0,
            engine=self.version(),
            log=tuple(log),
        )

    def _model(self, task: ChainTask) -> tuple[Any, list[str]]:
        key = (task.program.code, task.data, task.seed, task.threads)
        if self._held is None or self._held[0] != key:
            self._held = (key, *prepared(task))
        return self._held[1], list(self._held[2])

    def _sampled(self, model: Any, task: ChainTask, progress: Progress, log: list[str]) -> _Draws:
        start = start_vector(model, task)
        try:
            return _segments(model, task, progress, start, SEGMENT, log)
        except _NowhereToGoOnError as error:
            log.append(f"chain {task.chain} was sampled in one piece: {error}")
            return _segments(model, task, progress, start, task.sampling.draws, log)


class _NowhereToGoOnError(Exception):
    """No draw of a segment can be brought back to the unconstrained scale."""


def _segments(
    model: Any, task: ChainTask, progress: Progress, start: Floats | None, length: int, log: list[str]
) -> _Draws:
    """Warm-up and the first segment in one call; each next one from where the last ended, with a stream of its own."""
    sampling, found = task.sampling, _Draws()
    inits, done = start, 0
    progress.draws.clear()
    found.inv_metric, found.step_size = task.start.inv_metric, task.start.step_size
    while done < sampling.draws:
        first, n = done == 0, min(length, sampling.draws - done)
        fit = _one_call(
            model,
            task,
            progress.console(done, sampling.warmup if first else 0),
            seed=task.engine_seed if first else chain_seed(task.engine_seed, done, 0, 0),
            warmup=sampling.warmup if first else 0,
            samples=n,
            inits=inits,
            inv_metric=None if sampling.metric == "unit_e" else found.inv_metric,
            step_size=found.step_size,
            adapt_engaged=task.adapt and first,
        )
        found.parts.append(fit.draws()[0])
        found.stats.append(fit.sampler_stats[0])
        watched = found.parts[-1][:, model.parameter_columns[:WATCHED]]
        progress.draws.add(np.column_stack([found.stats[-1][:, 0], watched]))
        step_size = float(fit.step_size[0])
        found.inv_metric, found.step_size = fit.inv_metric[0], step_size if np.isfinite(step_size) else None
        done += n
        progress.divergences += int(fit.divergences[0])
        progress.pause("sampling", sampling.warmup + done, found.step_size)
        inits, found.position = _stand(model, found.parts[-1], log)
        if inits is None and done < sampling.draws:
            raise _NowhereToGoOnError("its draws lie on the edge of their support")
    return found


def _one_call(model: Any, task: ChainTask, console: Any, **settings: Any) -> Any:
    try:
        with contextlib.redirect_stdout(console):
            return model.sample(
                chains=1,
                delta=task.sampling.adapt_delta,
                max_depth=task.sampling.max_treedepth,
                metric=task.sampling.metric,
                threads_per_chain=task.threads,
                parallel_chains=1,
                refresh=max(1, (task.sampling.warmup + task.sampling.draws) // 100),
                **settings,
            )
    except (RuntimeError, ValueError) as error:
        raise translated(error, task) from error


def _stand(model: Any, draws: Floats, log: list[str]) -> tuple[Floats | None, dict[str, Any]]:
    """The last draw that lies inside its support, on both scales."""
    parameters = model.constrained_names
    for back in range(1, len(draws) + 1):
        position = position_of(parameters, draws[-back, model.parameter_columns])
        with contextlib.suppress(ValueError):
            vector = model.unconstrain(position)
            if np.isfinite(vector).all():
                if back > 1:
                    log.append(f"the chain goes on from {back - 1} draws before, inside the support")
                return vector, position
    return None, {}


def prepared(task: ChainTask) -> tuple[Any, list[str]]:
    """Compile a program and bind its data; return the model and stanli's warnings.

    Raises
    ------
    FitError
        It does not compile (with the line and stanc's message), or the data do not fit (with the variable).
    """
    try:
        mir = known_translation(task.program.digest)
        if mir is None:
            mir = stanli.stan_to_mir(task.program.code)
            remember_translation(task.program.digest, mir)
    except (RuntimeError, OSError) as error:
        said = str(error).replace("in 'string',", f"in {task.program.name}.stan,")
        lines = " | ".join(line.rstrip() for line in said.splitlines() if line.strip(" -|")).rstrip(".")
        raise FitError(
            "program", task.program.name, f"it does not compile: {lines}", "Correct the program."
        ) from error
    seed = chain_seed(task.seed, _DATA_STREAM, 0, 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = _Model(mir=mir, data=task.data, seed=seed, threads_per_chain=task.threads)
        except (RuntimeError, OSError, ValueError) as error:
            raise _unfit(str(error), task) from error
    return model, [str(warning.message) for warning in caught]


_VARIABLE = re.compile(r"unknown data variable (\w+)|variable name=(\w+)|MIR check: (\w+)\b")


def _unfit(said: str, task: ChainTask) -> FitError:
    """The error of data that cannot be bound."""
    message = " ".join(said.split())
    if found := _VARIABLE.search(said):
        name = next(group for group in found.groups() if group)
        missing = "is missing" if found[1] else "does not fit"
        return FitError(
            f"data of {task.program.name}", name, f"it {missing} ({message})", "Compare the data block."
        )
    if "JSON" in said:
        return FitError(
            f"data of {task.program.name}", "JSON", f"they cannot be read ({message})", "Give a JSON object."
        )
    return FitError(
        "program", task.program.name, f"it cannot be prepared with these data: {message}", "Check both."
    )


def translated(error: Exception, task: ChainTask) -> FitError:
    """Our error for what stanli says of a run."""
    message = " ".join(str(error).removeprefix("1 of 1 chains failed; first: chain 1: ").split())
    who = f"chain {task.chain} (seed {task.seed})"
    if "initialization failed" in message:
        return InitialisationFailed(
            "program",
            task.program.name,
            f"{who} cannot be started: {message.removeprefix('initialization failed: ')}",
            "Give priors or inits that the model can be evaluated at.",
        )
    return FitError(
        "program", task.program.name, f"{who} failed: {message}", "Check the program and the settings."
    )


def start_vector(model: Any, task: ChainTask) -> Floats | None:
    """Where a task starts on the unconstrained scale; None: at random.

    Raises
    ------
    FitError
        A parameter has no value, or one outside its support.
    """
    given = task.start.position
    if not given:
        return None
    wanted = dict.fromkeys(name.partition("[")[0] for name in model.constrained_names)
    try:
        vector: Floats = model.unconstrain({name: given[name] for name in wanted})
    except KeyError as error:
        raise FitError(
            "start",
            error.args[0],
            "it is a parameter of the program and has no starting value",
            "Give all or none.",
        ) from error
    except ValueError as error:
        raise FitError(
            "start", task.program.name, str(error), "Give starting values inside the support."
        ) from error
    return vector
