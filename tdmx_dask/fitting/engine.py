"""The protocol of an engine. It is called inside a child process, so it may block, crash or be killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tdmx_dask.errors import FitError
from tdmx_dask.fitting.task import ChainEvent, ChainResult, ChainTask

__all__ = ["ChildKilled", "Emit", "Engine", "InitialisationFailed"]

Emit = Callable[[ChainEvent], None]


class ChildKilled(FitError):  # noqa: N818  (a process was killed; the fit did nothing wrong)
    """The process of a chain was killed from outside (memory ran out, or somebody ended it); run again, it gives the same draws."""


class InitialisationFailed(FitError):  # noqa: N818  (says what happened, as FitCancelled does)
    """No finite log density where a chain was to start; another attempt may do better."""


class Engine(Protocol):
    """Runs chains, one after another.

    Attributes
    ----------
    name : stanli or cmdstan
    """

    name: str

    def version(self) -> str:
        """Name and version, as a result records it: ``stanli 0.24.0``."""
        ...

    def run(self, tasks: Sequence[ChainTask], emit: Emit) -> list[ChainResult]:
        """Run tasks of the same program and data in turn; says at most two events a second each, and the first and the last.

        Raises
        ------
        FitError
            It does not compile, the data do not fit it, no chain can be initialised, the engine crashed: with the program, seed,
            command where there is one, and the last lines of the console.
        """
        ...
