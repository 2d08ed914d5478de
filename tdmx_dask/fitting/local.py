"""Batches on this machine: threads that wait for child processes; no Dask."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tdmx_dask.errors import ClusterError, FitCancelled
from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.runner import Done
from tdmx_dask.fitting.task import Batch, ChainEvent, ChainResult

__all__ = ["LocalRunner"]

RunBatch = Callable[[Batch, Emit, threading.Event | None], list[ChainResult]]


@dataclass(slots=True, eq=False)
class _Ticket:
    """A batch that waits or runs."""

    number: str
    batch: Batch
    name: str
    memory_mb: float
    retries: int
    emit: Emit
    done: Done
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def width(self) -> int:
        """Cores that it takes."""
        return max(1, min(self.batch.parallel, len(self.batch.tasks))) * self.batch.tasks[0].threads


class LocalRunner:
    """Runs as many chains at once as there are cores, and no more than memory holds; a `Runner`.

    Parameters
    ----------
    slots : chains at once; None: one a core that this process may use
    memory_mb : that all together may ask for; None: what is available on the machine or in the job now
    run : what runs a batch and blocks meanwhile; None: `children.run_batch`
    """

    def __init__(
        self, slots: int | None = None, *, memory_mb: float | None = None, run: RunBatch | None = None
    ) -> None:
        self._slots = slots if slots is not None else _cores()
        self._memory = memory_mb if memory_mb is not None else _available_mb()
        self._run = run
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._waiting: list[tuple[int, int, _Ticket]] = []
        self._running: dict[str, _Ticket] = {}
        self._open = True

    @property
    def slots(self) -> int:
        """Chains at once."""
        return self._slots

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
        """Queue a batch, as `Runner.submit` says.

        Raises
        ------
        ClusterError
            The machine has less memory than is asked for.
        """
        if memory_mb > self._memory:
            raise ClusterError(
                "memory_mb",
                f"{memory_mb:.0f}",
                f"fit {name} asks for {memory_mb:.0f} MB, and this machine has {self._memory:.0f} MB for fits",
                "Ask for fewer draws, or run it on a cluster with on=.",
            )
        number = next(self._count)
        ticket = _Ticket(str(number), batch, name, memory_mb, retries, emit, done)
        with self._lock:
            heapq.heappush(self._waiting, (-priority, number, ticket))
        self._start()
        return ticket.number

    def cancel(self, tickets: Sequence[str]) -> None:
        """Cancel batches, as `Runner.cancel` says."""
        chosen = set(tickets)
        with self._lock:
            dropped = [entry for entry in self._waiting if entry[2].number in chosen]
            self._waiting = [entry for entry in self._waiting if entry[2].number not in chosen]
            heapq.heapify(self._waiting)
            for number in chosen & self._running.keys():
                self._running[number].cancelled.set()
        for _, _, ticket in dropped:
            ticket.done(FitCancelled("fit", ticket.name, "it was cancelled"))

    def close(self) -> None:
        """Cancel what waits and runs."""
        with self._lock:
            self._open = False
            everything = [entry[2].number for entry in self._waiting] + list(self._running)
        self.cancel(everything)

    def _start(self) -> None:
        """Start what has a core and memory; the first in the queue waits for its share, and none overtakes it."""
        with self._lock:
            while self._open and self._waiting:
                ticket = self._waiting[0][2]
                used = sum(each.width for each in self._running.values())
                asked = sum(each.memory_mb for each in self._running.values())
                room = used + ticket.width <= self._slots and asked + ticket.memory_mb <= self._memory
                if self._running and not room:
                    return
                heapq.heappop(self._waiting)
                self._running[ticket.number] = ticket
                threading.Thread(
                    target=self._work, args=(ticket,), name=f"tdmx-fit-{ticket.name}", daemon=True
                ).start()

    def _work(self, ticket: _Ticket) -> None:
        outcome: list[ChainResult] | BaseException
        try:
            outcome = self._tried(ticket)
        except BaseException as error:
            outcome = error
        with self._lock:
            del self._running[ticket.number]
        self._start()
        ticket.done(outcome)

    def _tried(self, ticket: _Ticket) -> list[ChainResult]:
        """Run a batch; a child that was killed from outside is replaced."""
        from tdmx_dask.fitting.children import ChildKilled, run_batch

        run = self._run or run_batch
        for left in range(ticket.retries, -1, -1):
            try:
                return run(ticket.batch, ticket.emit, ticket.cancelled)
            except ChildKilled as error:
                if not left or ticket.cancelled.is_set():
                    raise
                for task in ticket.batch.tasks:
                    total = task.sampling.warmup + task.sampling.draws
                    event = ChainEvent(task.fit, task.chain, task.round, task.attempt, "retrying", 0, total)
                    ticket.emit(replace(event, text=f"{error.rule}; it runs again"))
        raise AssertionError("unreachable")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _available_mb() -> float:
    import psutil

    return float(psutil.virtual_memory().available) / 1e6
