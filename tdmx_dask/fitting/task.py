"""What an engine is asked for, what it answers, and what it says meanwhile: plain frozen nouns that cross machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.errors import InputError
from tdmx_dask.fitting.program import Program

__all__ = [
    "ANEW",
    "APPROXIMATIONS",
    "STATS",
    "Approximation",
    "Batch",
    "ChainEvent",
    "ChainResult",
    "ChainTask",
    "Sampling",
    "Start",
    "chain_seed",
    "overtaken",
]

Floats = NDArray[np.float64]
Approximation = Literal["mode", "laplace", "pathfinder", "advi"]
APPROXIMATIONS: tuple[Approximation, ...] = ("mode", "laplace", "pathfinder", "advi")

ANEW = ("starting", "retrying")
"""Phases in which a chain begins anew, whatever it did before."""

STATS = ("lp__", "accept_stat__", "stepsize__", "treedepth__", "n_leapfrog__", "divergent__", "energy__")
"""The sampler's columns, in CmdStan's order."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of NUTS.

    Parameters
    ----------
    warmup, draws : iterations, >= 0 and >= 1
    adapt_delta : wanted acceptance, in (0, 1)
    max_treedepth : >= 1
    metric : shape of the mass matrix
    """

    warmup: int = 1000
    draws: int = 1000
    adapt_delta: float = 0.8
    max_treedepth: int = 10
    metric: Literal["diag_e", "dense_e", "unit_e"] = "diag_e"

    def __post_init__(self) -> None:
        for name, value, least in (("iter_warmup", self.warmup, 0), ("iter_sampling", self.draws, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**7:
                raise InputError(
                    name, value, f"a whole number of iterations, {least} to 10,000,000", "For example 1000."
                )
        depth = self.max_treedepth
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= 20:
            raise InputError("max_treedepth", depth, "a whole number, 1 to 20", "Stan's default is 10.")
        if not isinstance(self.adapt_delta, int | float) or not 0 < self.adapt_delta < 1:
            raise InputError(
                "adapt_delta",
                self.adapt_delta,
                "an acceptance is a fraction, 0 < adapt_delta < 1",
                "For example 0.9.",
            )
        if self.metric not in ("diag_e", "dense_e", "unit_e"):
            raise InputError(
                "metric", self.metric, "it is diag_e, dense_e or unit_e", "Stan's default is diag_e."
            )


@dataclass(frozen=True, slots=True)
class Start:
    """Where a chain starts, or stands at its end.

    Parameters
    ----------
    position : name -> value (a number, or nested lists) of the program's parameters, on their constrained scale; variables that are
        no parameters are ignored; empty: random
    inv_metric : (n,) for diag_e, (n, n) for dense_e, n unconstrained parameters; None: the identity
    step_size : > 0; None: the engine's default
    """

    position: Mapping[str, Any] = field(default_factory=dict)
    inv_metric: Floats | None = None
    step_size: float | None = None


@dataclass(frozen=True, slots=True)
class ChainTask:
    """One run of one chain.

    Parameters
    ----------
    program, data : what is fitted; data as JSON text
    seed : of the fit, 0 .. 2^64 - 1
    chain : from 0
    round : 0 begins with warm-up; a later one continues from the end of the one before, with its metric and step size
    attempt : of this chain; another init (and stream) each
    sampling : settings; `warmup` is 0 where `adapt` is false
    start : where it starts
    adapt : whether metric and step size are adapted during warm-up
    threads : of the chain, for programs with reduce_sum
    executable : path of a compiled CmdStan program on the worker; None for stanli
    approximate : an approximation instead of NUTS; `sampling.draws` draws of it
    fit : name of the fit, for events
    """

    program: Program
    data: str
    seed: int
    chain: int
    round: int = 0
    attempt: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    start: Start = field(default_factory=Start)
    adapt: bool = True
    threads: int = 1
    executable: str | None = None
    approximate: Approximation | None = None
    fit: str = ""

    @property
    def engine_seed(self) -> int:
        """The engine's seed, 1 .. 2^31 - 1, of this chain, round and attempt."""
        return chain_seed(self.seed, self.chain, self.round, self.attempt)


def chain_seed(seed: int, chain: int, round: int, attempt: int) -> int:  # noqa: A002
    """Derive the seed of one engine call; chains, rounds and attempts get streams of their own."""
    entropy = [seed & 0xFFFFFFFF, seed >> 32, chain, round, attempt]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] % (2**31 - 1)) + 1


@dataclass(frozen=True, slots=True)
class Batch:
    """Chains of one fit that run in one task: one after another, or `parallel` at a time.

    How chains are batched changes no draw.

    Parameters
    ----------
    tasks : chains of it
    parallel : that run at once, >= 1
    engine : that runs them
    chains : of the whole fit, for whoever shows how far it is; 0: not known
    """

    tasks: tuple[ChainTask, ...]
    parallel: int = 1
    engine: str = "stanli"
    chains: int = 0


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """How far one chain is.

    Parameters
    ----------
    fit : name of the fit
    chain, round, attempt : of the task
    phase : starting, warmup, sampling, done, failed, retrying
    iteration, total : of the task, warm-up included
    divergences : after warm-up, so far
    step_size : once adapted
    seconds : since the task began
    text : what there is to say (why a chain is tried again)
    summary : of the draws so far, as `kernels.running.packed` writes it, for R-hat and ESS of all chains; empty where nothing is new
    """

    fit: str
    chain: int
    round: int
    attempt: int
    phase: Literal["starting", "warmup", "sampling", "done", "failed", "retrying"]
    iteration: int
    total: int
    divergences: int = 0
    step_size: float | None = None
    seconds: float = 0.0
    text: str = ""
    summary: str = ""


class Said(Protocol):
    """What orders events of a chain; fields of `ChainEvent`."""

    @property
    def round(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def iteration(self) -> int: ...


def overtaken(event: Said, last: Said) -> bool:
    """Whether an event of a chain is older than the last that came: they may overtake each other on their way."""
    return event.phase not in ANEW and _order(event) < _order(last)


def _order(event: Said) -> tuple[int, int, int, bool]:
    return event.attempt, event.round, event.iteration, event.phase in ("done", "failed")


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Draws of one task.

    Parameters
    ----------
    task_chain, task_round, attempt : of which
    names : columns as CmdStan names them: ``CL``, ``theta[1]``, ``omega[1,2]``
    draws : (draw, column)
    stats : (draw, `STATS`); for an approximation the columns that it has, others NaN; ``lp__`` always
    end : where the chain stands: position, adapted metric and step size
    seconds_warmup, seconds_sampling : of the engine
    peak_mb : largest resident memory of the child, MB (10^6 bytes)
    engine : name and version
    approximation : which, or None for NUTS
    info : further figures of an approximation (elbo, k-hat, log densities of the approximation)
    log : lines worth keeping: attempts and why, warnings of the engine
    """

    task_chain: int
    task_round: int
    attempt: int
    names: tuple[str, ...]
    draws: Floats
    stats: Floats
    end: Start
    seconds_warmup: float
    seconds_sampling: float
    peak_mb: float
    engine: str
    approximation: Approximation | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    @property
    def divergences(self) -> int:
        """Divergent transitions."""
        return int(np.nansum(self.stats[:, STATS.index("divergent__")]))
