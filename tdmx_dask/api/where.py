"""Where a question is answered: here, on threads, in processes, or on a cluster. Chosen by measured work, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tdmx_dask.analysis import execute
from tdmx_dask.analysis.plan import Block, Plan
from tdmx_dask.analysis.tally import Tally
from tdmx_dask.api.clusters import cluster, join
from tdmx_dask.api.question import Question
from tdmx_dask.domain.units import whole
from tdmx_dask.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.api.curve import Curve
    from tdmx_dask.clusters.cluster import Cluster

Shown = tuple[Any, float]

__all__ = ["Place", "choose"]

RUNS = ("auto", "direct", "threads", "processes", "distributed")


class Place:
    """A way to run the blocks of a plan.

    Attributes
    ----------
    mode : direct, threads, processes or distributed
    n_workers : threads of the machine or the cluster; 0 for a direct call
    seconds : of one core that the work was measured to take, 0 where it was not worth measuring
    """

    def __init__(
        self,
        mode: execute.Mode,
        n_workers: int,
        seconds: float,
        cluster: Cluster | None = None,
        shown: Shown | None = None,
    ) -> None:
        self.mode = mode
        self.n_workers = n_workers
        self.seconds = seconds
        self._cluster = cluster
        self._shown = shown
        self._curve: Curve | None = None

    @property
    def attrs(self) -> dict[str, Any]:
        """What a result says of where it was made."""
        return {"run_mode": self.mode, "n_workers": max(1, self.n_workers), "measured_seconds": self.seconds}

    def cut(self, plan: Plan, chunk_size: int | None) -> tuple[Block, ...]:
        """Cut a plan into tasks for this place."""
        if chunk_size is not None:
            chunk_size = whole("chunk_size", chunk_size, "the number of draws of a task")
        return execute.cut(plan, self.seconds, self.n_workers, chunk_size)

    def run(
        self,
        kind: execute.Kind,
        question: Question,
        tally: Tally,
        take: Callable[[int, Any], None],
        done: Callable[[], None],
    ) -> None:
        """Run all open blocks; hand each result to `take`, then call `done`.

        Raises
        ------
        RuntimeError
            A block was not taken: no result is better than a wrong one.
        """
        plan, inputs = question.plan, question.inputs
        if self.mode == "direct":
            execute.run_direct(kind, plan, inputs, tally, take, done)
        elif self.mode == "threads":
            execute.run_threads(kind, plan, inputs, tally, take, done, self.n_workers)
        elif self.mode == "processes":
            from tdmx_dask.jobs.apart import Beside
            from tdmx_dask.kernels.counts import ROWS

            with Beside(self.n_workers) as beside:
                execute.run_threads(
                    kind, plan, inputs, tally, take, done, self.n_workers, wrap=beside, rows=ROWS
                )
        else:
            from tdmx_dask.clusters.run import run_blocks
            from tdmx_dask.jobs.apart import apart

            assert self._cluster is not None  # noqa: S101
            curve = self._told(question)

            def both(index: int, part: Any) -> None:
                take(index, part)
                done()
                if curve is not None:
                    curve.say(tally)

            blocks = ((i, block, inputs.values(block)) for i, block in tally.open_blocks())
            total = sum(1 for _ in tally.open_blocks())
            try:
                run_blocks(
                    self._cluster.client, apart(execute.TASKS[kind]), plan, blocks, both, name=execute.TASK_NAMES[kind],
                    total=total, seconds=self.seconds / max(1, len(tally.blocks)), threads=self.n_workers,
                )  # fmt: skip
            except BaseException:
                if curve is not None:
                    curve.drop()
                raise
        left = sum(1 for _ in tally.open_blocks())
        if left:
            raise RuntimeError(f"{left} of {len(tally.blocks)} blocks were not counted (run={self.mode})")

    def tell(self, result: xr.Dataset) -> None:
        """Show a PTA on the page of the cluster, where it ran on one."""
        if self._curve is not None:
            self._curve.end(result)

    def _told(self, question: Question) -> Curve | None:
        if self._shown is not None and self._cluster is not None:
            from tdmx_dask.api.curve import Curve

            self._curve = Curve(self._cluster.client, question, *self._shown)
        return self._curve


@contextmanager
def choose(
    question: Question, *, on: object, run: str, n_workers: int | None, shown: Shown | None = None
) -> Iterator[Place]:
    """Decide where to run, and close what was started for it.

    `shown` : kind and level of the interval, where the PTA is shown on the page of the cluster while it grows
    """
    if run not in RUNS:
        raise InputError(
            "run", run, f"a run is one of {', '.join(RUNS)}", "Leave it out to choose by measured work."
        )
    if n_workers is not None:
        n_workers = whole("n_workers", n_workers, "the number of workers", fix="Leave it out for one a core.")
    if on is not None and run not in ("auto", "distributed"):
        raise InputError("run", run, "a cluster was given with on=", "Leave one of the two out.")
    seconds = 0.0 if run == "direct" else execute.measure(question.plan, question.inputs)
    if on is not None or run == "distributed":
        joined = cluster("local", n_workers=n_workers, threads_per_worker=1) if on is None else join(on)
        try:
            yield Place("distributed", joined.expected_threads, seconds, joined, shown)
        finally:
            if on is None or joined is not on:
                joined.close()
        return
    cores = _cores() if n_workers is None else n_workers
    if run == "direct" or (run == "auto" and (seconds < execute.SMALL_WORK or cores == 1)):
        yield Place("direct", 0, seconds)
    elif run == "processes" or (run == "auto" and seconds >= execute.LARGE_WORK):
        yield Place("processes", cores, seconds)
    else:
        yield Place("threads", cores, seconds)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
