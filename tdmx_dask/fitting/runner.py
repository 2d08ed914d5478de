"""Where batches of chains run: the seam between a fit and the machines. `local` is the plain form, `futures` the distributed one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.task import Batch, ChainResult

__all__ = ["Done", "Runner"]

Done = Callable[[list[ChainResult] | BaseException], None]
"""Called once a batch, from any thread, with its results or with what it raised (`errors.FitCancelled` where it was cancelled)."""


class Runner(Protocol):
    """Runs batches and says when they are done; no method blocks on a fit."""

    @property
    def slots(self) -> int:
        """Chains that can run at once at the moment, at least 1."""
        ...

    def submit(
        self,
        batch: Batch,
        *,
        name: str,
        memory_mb: float,
        priority: int,
        retries: int,
        emit: Emit,
        done: Done,
    ) -> str:
        """Queue a batch; return its ticket.

        Parameters
        ----------
        batch : what to run
        name : of the fit, for keys and messages
        memory_mb : that it may need, MB (10^6 bytes)
        priority : higher runs first
        retries : times that a worker which died, or a child that was killed from outside, is replaced
        emit : called with each event, from any thread
        done : called once, from any thread

        Raises
        ------
        ClusterError
            No worker can ever hold `memory_mb`: names what is asked and what there is.
        """
        ...

    def cancel(self, tickets: Sequence[str]) -> None:
        """Cancel batches; their processes are gone within a second, and `done` is called with `FitCancelled`."""
        ...

    def close(self) -> None:
        """Cancel what runs, and end what was started here."""
        ...
